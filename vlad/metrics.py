"""What is counted for Prometheus: at each turn of the safety tick and at each chunk, in about a microsecond.

`metrics_report.py` adds what other parts count; `dashboard/metrics.py` gives it all names, units and help.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np

from vlad.clock import NS_PER_S, Tick
from vlad.messages import Chunk, CommandMode, Mode
from vlad.safety.kernel import Verdict
from vlad.statistics import Histogram

_US, _MS = 1_000, 1_000_000
_LATENESS_NS = tuple(value * _US for value in (50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 50_000))
_SECONDS_NS = tuple(value * _MS for value in (1, 2, 5, 10, 20, 35, 50, 75, 100, 150, 200, 300, 500, 1_000))
"""For inferences, and for how old an observation is: from the fastest policies to what stops the robot."""
_PACE_NS = 10 * NS_PER_S
_PACE_CHUNKS = 1_024
_STOPPING = (Mode.STOPPING, Mode.STOPPED, Mode.ESTOP)
_CATEGORIES = {CommandMode.HOLD: "2", CommandMode.STOP1: "1", CommandMode.STOP0: "0"}


class Pace:
    """How evenly chunks came in the last ten seconds, and how much of that time was spent on them."""

    def __init__(self, now_ns: int) -> None:
        self._began_ns = now_ns
        self._chunks: deque[tuple[int, int, int]] = deque(maxlen=_PACE_CHUNKS)

    def add(self, ready_ns: int, took_ns: int, actions: int) -> None:
        """A chunk of so many actions was ready at `ready_ns`, after `took_ns` of inference."""
        self._chunks.append((ready_ns, took_ns, actions))

    def report(self, now_ns: int) -> dict[str, Any]:
        """`jitter_s`, the standard deviation of the time between two chunks, is null for fewer than three."""
        from_ns = max(now_ns - _PACE_NS, self._began_ns)
        if len(self._chunks) == _PACE_CHUNKS:
            from_ns = max(from_ns, self._chunks[0][0])
        recent = [chunk for chunk in self._chunks if chunk[0] > from_ns]
        span_ns = max(1, now_ns - from_ns)
        apart_ns = np.diff([ready_ns for ready_ns, _, _ in recent])
        return {
            "jitter_s": float(np.std(apart_ns)) / NS_PER_S if len(apart_ns) > 1 else None,
            "utilization": min(1.0, sum(took_ns for _, took_ns, _ in recent) / span_ns),
            "actions_per_s": sum(actions for _, _, actions in recent) * NS_PER_S / span_ns,
        }


class Metrics:
    """Counts since the start; on the loop's thread."""

    def __init__(self, now_ns: int) -> None:
        self.lateness_ns = Histogram(_LATENESS_NS)
        self.inference_ns = Histogram(_SECONDS_NS)
        self.age_ns = Histogram(_SECONDS_NS)
        """How old the observation was that first moved a motor."""
        self.pace = Pace(now_ns)
        self.actions = 0
        """Steps of the chunks that the policy made."""
        self.commands = dict.fromkeys(CommandMode, 0)
        self.stops = dict.fromkeys(_CATEGORIES.values(), 0)
        """By category; one that becomes a harder one counts once in each."""
        self.changes = dict.fromkeys(Mode, 0)
        """How often each mode was entered."""
        self._source_ns = 0
        self._commanded = CommandMode.STOP0
        self._category: str | None = _CATEGORIES[CommandMode.STOP0]

    def turn(self, tick: Tick, verdict: Verdict, sent_ns: int) -> None:
        """A turn of the safety tick, whose command was sent at `sent_ns`."""
        if not tick.early:
            self.lateness_ns.add(tick.late_ns)
        commanded = verdict.command_mode
        self.commands[commanded] += 1
        if verdict.source_stamp_ns > self._source_ns:
            self._source_ns = verdict.source_stamp_ns
            self.age_ns.add(sent_ns - verdict.source_stamp_ns)
        if verdict.transitions or commanded is not self._commanded:
            self._change(verdict)

    def chunk(self, chunk: Chunk, took_ns: int) -> None:
        """The policy that drives made a chunk, in `took_ns`."""
        self.inference_ns.add(took_ns)
        self.actions += len(chunk.actions)
        self.pace.add(chunk.ready_ns, took_ns, len(chunk.actions))

    def _change(self, verdict: Verdict) -> None:
        for change in verdict.transitions:
            self.changes[change.after] += 1
        category = _CATEGORIES.get(verdict.command_mode) if verdict.mode in _STOPPING else None
        if category is not None and category != self._category:
            self.stops[category] += 1
        self._commanded, self._category = verdict.command_mode, category
