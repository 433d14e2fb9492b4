"""The `motion` part of the status: how the robot moves, beside its limits, and what the policy plans."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from vlad.clock import NS_PER_S
from vlad.messages import Chunk, Power
from vlad.robot import Robot
from vlad.safety.motion import Feedback, Motion, Vector

if TYPE_CHECKING:
    from vlad.daemon import Daemon

_MOST_ROWS = 12
Row = dict[str, Any]


class MotionReport:
    """Lists are in the order of `names`; null: not measured, or no such limit."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._go_by(daemon.robot)

    def report(self, now_ns: int) -> Row:
        daemon = self._daemon
        if daemon.robot is not self._robot:
            self._go_by(daemon.robot)
        motion = self._measured(now_ns)
        chunk = daemon.watchdog.chunk
        return {
            **self._limits,
            "velocity": _listed(motion.velocity),
            "position": _listed(motion.position),
            "watts": self._watts(now_ns),
            "chunk": None if chunk is None else _chunk(chunk, now_ns),
        }

    def _go_by(self, robot: Robot) -> None:
        self._robot = robot
        self._feedback = Feedback(robot)
        axes = robot.axes
        self._limits = {
            "names": list(axes),
            "velocity_limits": [axis.velocity for axis in axes.values()],
            "lower": [axis.lower for axis in axes.values()],
            "upper": [axis.upper for axis in axes.values()],
        }
        signals = self._daemon.settings.signals.items()
        self._power = next((topic for topic, known in signals if known.type == "power"), "")

    def _measured(self, now_ns: int) -> Motion:
        """Nothing where the newest sample is stale."""
        daemon, topic = self._daemon, self._robot.feedback
        sample = daemon.ingest.latest[topic].peek() if topic else None
        if sample is None or now_ns - sample.stamp_ns > daemon.settings.signals[topic].max_age_s * NS_PER_S:
            return Motion()
        return self._feedback.read(sample)

    def _watts(self, now_ns: int) -> float | None:
        """What the robot draws, as a signal of the type power says."""
        topic = self._power
        sample = self._daemon.ingest.latest[topic].peek() if topic else None
        if sample is None or not isinstance(sample.data, Power) or not math.isfinite(sample.data.watts):
            return None
        fresh_ns = self._daemon.settings.signals[topic].max_age_s * NS_PER_S
        return round(sample.data.watts, 1) if now_ns - sample.stamp_ns <= fresh_ns else None


def _listed(values: Vector | None) -> list[float] | None:
    return None if values is None else np.round(values.astype(np.float64), 4).tolist()


def _chunk(chunk: Chunk, now_ns: int) -> Row:
    """At most a dozen of its rows, and when [s] each is due, from now on; it is as the policy said it."""
    every = -(-len(chunk.actions) // _MOST_ROWS)
    rows = np.round(chunk.actions[::every].astype(np.float64), 4).tolist()
    first_s, step_s = (chunk.stamp_ns - now_ns) / NS_PER_S, chunk.step_ns / NS_PER_S
    due_s = [round(first_s + (every * number + 1) * step_s, 3) for number in range(len(rows))]
    return {
        "seq": chunk.seq,
        "kind": chunk.kind.value,
        "names": list(chunk.names),
        "due_s": due_s,
        "rows": rows,
    }
