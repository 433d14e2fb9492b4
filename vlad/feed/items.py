"""What the feed tells beside the sensors' messages, and how that is sent: plain values in a fixed order.

Packing is for the daemon's loop, and cheap; whatever costs time is left to those who read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from vlad.clock import Tick
from vlad.messages import Chunk, Command, CommandMode, Kind, Level, Mode, Sample

if TYPE_CHECKING:
    from vlad.safety.kernel import Verdict

FEED_SOCKET, PICTURES_SOCKET = "feed.sock", "pictures.sock"
FEED, PICTURE = b"feed", b"sensor/"
"""What the messages of the two begin with; the topic follows on the second."""
SENSOR, TICK, CHUNK, EVENT = b"sensor", b"tick", b"chunk", b"event"
"""What a row begins with."""
PICTURES = frozenset(("image", "compressed_image", "point_cloud"))
"""The types of signals that go to pictures.sock."""
FEED_QUEUE = 200
"""Messages that wait for a slow process, on either side: those of ten seconds."""
PICTURE_QUEUE = 4
"""Pictures that do so, and in the daemon two more of each camera: they are megabytes each."""
_STOPS = (Mode.STOPPING, Mode.ESTOP)


class FaultSeen(NamedTuple):
    """A fault that acts; `reaction` is the number of its Reaction."""

    id: str
    subject: str
    detail: str
    level: Level
    reaction: int


class Turn(NamedTuple):
    """One turn of the safety tick: when it was, what it judged, what it sent.

    `stop` is why it began to stop the robot; empty: it did not. `fed` is how many rows went before it on
    feed.sock, `shown` how many pictures on the other: who gets them all can tell what was lost on the way.
    """

    now_ns: int
    mode: Mode
    level: Level
    early: bool
    missed: int
    late_ns: int
    task: str
    faults: tuple[FaultSeen, ...]
    stop: str
    command: Command | None
    fed: int
    shown: int


Event: TypeAlias = dict[str, Any]
Item: TypeAlias = Sample | Turn | Chunk | Event


def turn_row(
    now_ns: int, tick: Tick, verdict: Verdict, command: Command | None, task: str
) -> tuple[Any, ...]:
    faults = verdict.faults and [
        (acting.fault.id, acting.subject, acting.detail, acting.fault.level, acting.fault.reaction)
        for acting in verdict.faults
    ]
    stops = [change.cause for change in verdict.transitions if change.after in _STOPS]
    sent = command and (
        command.seq, command.stamp_ns, command.ttl_ms, command.mode, command.kind, command.names,
        command.values.tobytes(), command.source_stamp_ns,
    )  # fmt: skip
    return (
        now_ns, verdict.mode, verdict.level, tick.early, tick.missed, tick.late_ns, task,
        faults, stops[0] if stops else "", sent,
    )  # fmt: skip


def turn_of(row: list[Any]) -> Turn:
    now_ns, mode, level, early, missed, late_ns, task, faults, stop, sent, fed, shown = row
    seen = tuple(FaultSeen(name, what, detail, Level(bad), does) for name, what, detail, bad, does in faults)
    command = None
    if sent is not None:
        seq, stamp_ns, ttl_ms, how, kind, names, values, source_ns = sent
        command = Command(
            seq, stamp_ns, ttl_ms, CommandMode(how), Kind(kind), tuple(names),
            np.frombuffer(values, np.float32), source_ns,
        )  # fmt: skip
    return Turn(
        now_ns, Mode(mode), Level(level), early, missed, late_ns, task, seen, stop, command, fed, shown
    )


def chunk_row(made: Chunk) -> tuple[Any, ...]:
    """Without `doubts`: those are for the safety kernel."""
    return (
        made.seq, made.stamp_ns, made.ready_ns, made.step_ns, made.kind, made.names,
        np.ascontiguousarray(made.actions, np.float32).tobytes(), made.instruction, made.inference_ns,
        made.collision, made.uncertainty,
    )  # fmt: skip


def chunk_of(row: list[Any]) -> Chunk:
    seq, stamp_ns, ready_ns, step_ns, kind, names, actions, *rest = row
    shaped = np.frombuffer(actions, np.float32).reshape(-1, len(names))
    return Chunk(seq, stamp_ns, ready_ns, step_ns, Kind(kind), tuple(names), shaped, *rest)
