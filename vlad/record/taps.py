"""Where the loop leaves what is to be recorded: a reference in a bounded queue, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from vlad.clock import Tick
from vlad.messages import Chunk, Command, CompressedImage, Image, Mode, PointCloud, Sample
from vlad.queues import DropOldest
from vlad.safety.kernel import Verdict

_WAITING = 8_192
_WAITING_PICTURES = 16
_STOPS = (Mode.STOPPING, Mode.ESTOP)
_PICTURES = (Image, CompressedImage, PointCloud)


class RecordError(Exception):
    """What an operator asks of the black box cannot be done; the message says why."""


class Turn(NamedTuple):
    """One turn of the safety tick: when, what it judged, what it sent. A tuple costs the loop least."""

    now_ns: int
    tick: Tick
    verdict: Verdict
    command: Command | None
    task: str

    @property
    def stop(self) -> str:
        """Why this turn began to stop the robot; empty: it did not."""
        return next((change.cause for change in self.verdict.transitions if change.after in _STOPS), "")


@dataclass(frozen=True, slots=True)
class Order:
    """What an operator wants: mark, start or stop."""

    what: str
    text: str
    now_ns: int


Event: TypeAlias = dict[str, Any]
Item: TypeAlias = Sample | Turn | Chunk | Event | Order


class Taps:
    """One thread puts, the recorder's takes. `skipped` counts the pictures beyond the rate that is wanted."""

    def __init__(self, picture_hz: float) -> None:
        self.items: DropOldest[Item] = DropOldest(_WAITING)
        self.pictures: DropOldest[Sample] = DropOldest(_WAITING_PICTURES)
        self.skipped = 0
        self._period_ns = round(1e9 / picture_hz)
        self._due_ns: dict[str, int] = {}

    def sample(self, sample: Sample) -> None:
        """A sensor sample. Pictures and point clouds are large: only some, and few of them wait at a time."""
        if not isinstance(sample.data, _PICTURES):
            self.items.put(sample)
            return
        due_ns = self._due_ns.get(sample.topic, 0)
        if sample.received_ns < due_ns - self._period_ns // 2:
            self.skipped += 1
            return
        # Half a period of slack, made up for later, so that a jittering camera at the limit loses no frame.
        self._due_ns[sample.topic] = max(due_ns, sample.received_ns) + self._period_ns
        self.pictures.put(sample)
