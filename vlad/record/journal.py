"""What of the safety tick goes into the event log: each change of mode, each fault that begins or is over."""

from __future__ import annotations

from collections import Counter

from vlad.clock import NS_PER_S, Clock
from vlad.messages import Level
from vlad.record.events import EventLog
from vlad.safety.kernel import Verdict
from vlad.safety.ladder import Transition, describe
from vlad.safety.reaction import ActiveFault


class Journal:
    """Compares each verdict with the one before. `raised` counts by its id how often each fault began."""

    def __init__(self, events: EventLog, clock: Clock) -> None:
        self.raised: Counter[str] = Counter()
        self._events = events
        self._clock = clock
        self._acting: dict[tuple[str, str], ActiveFault] = {}

    def keep(self, verdict: Verdict) -> tuple[ActiveFault, ...]:
        """Write down what is new in it; the faults that are."""
        began = self._compare(verdict.faults) if verdict.faults or self._acting else ()
        for change in verdict.transitions:
            self._mode(change, verdict.level)
        return began

    def _compare(self, faults: tuple[ActiveFault, ...]) -> tuple[ActiveFault, ...]:
        before = self._acting
        self._acting = {(fault.fault.id, fault.subject): fault for fault in faults}
        began = tuple(fault for key, fault in self._acting.items() if key not in before)
        for fault in began:
            row = fault.fault
            self.raised[row.id] += 1
            self._events.put(
                "fault", row.level, describe(fault),
                fault=row.id, subject=fault.subject, detail=fault.detail, severity=fault.severity,
                reaction=str(row.reaction), hint=row.hint,
            )  # fmt: skip
        now_ns = self._clock.now_ns()
        for (name, subject), fault in before.items():
            if (name, subject) not in self._acting:
                lasted_s = round((now_ns - fault.since_ns) / NS_PER_S, 3)
                self._events.put(
                    "fault_over", Level.SAFE, f"over: {name}: {subject} after {lasted_s:g} s",
                    fault=name, subject=subject, lasted_s=lasted_s,
                )  # fmt: skip
        return began

    def _mode(self, change: Transition, level: Level) -> None:
        self._events.put(
            "mode", level, f"{change.before.value} -> {change.after.value}: {change.cause}",
            before=change.before.value, after=change.after.value, cause=change.cause,
        )  # fmt: skip
