"""Which task runs next, and what becomes of it. Pure: time, records and what is wrong come from outside."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import tzinfo
from typing import Any

from vlad.clock import NS_PER_S
from vlad.maintenance.job import Verdict
from vlad.maintenance.schedule import Moment, Schedule, parse, placed_ns
from vlad.maintenance.settings import MaintenanceSettings
from vlad.maintenance.store import Record
from vlad.maintenance.task_settings import PRIORITIES, TaskSettings

_FIRST_RETRY_S = 600.0
_LONGEST_RETRY_S = 6 * 3600.0


@dataclass(frozen=True, slots=True)
class Pick:
    """What is to run now. `ordered`: by hand, and not because it is due."""

    name: str
    ordered: bool = False


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run came to its end."""

    verdict: Verdict
    summary: str
    rows: tuple[dict[str, Any], ...] = ()
    took_s: float = 0.0


class Agenda:
    """All tasks, what is remembered of each, and who asked for what."""

    def __init__(
        self,
        names: Iterable[str],
        settings: MaintenanceSettings,
        started_ns: int,
        now: Moment,
        zone: tzinfo | None = None,
    ) -> None:
        """`started_ns`: of this process, on the monotonic clock; `now`: when the tasks became known.

        `zone` None: this computer's.
        """
        self.settings: dict[str, TaskSettings] = {name: settings.of(name) for name in names}
        self.records = {name: Record(name, now) for name in self.settings}
        self.orders: dict[str, dict[str, Any]] = {}
        """What is to be run by hand, and with what parameters."""
        self._schedules: dict[str, Schedule] = {
            name: parse(task.schedule) for name, task in self.settings.items()
        }
        self._interval_ns = round(settings.warning_interval_s * NS_PER_S)
        self._started_ns = started_ns
        self._zone = zone
        self._alerts: set[str] = set()
        self._warned: set[str] = set()

    def recall(self, records: Mapping[str, Record]) -> list[str]:
        """Take what the disk knows, but of tasks that ran since; those of which it knows something else."""
        for name, record in self.records.items():
            if record.tried is None:
                self.records[name] = records.get(name, record)
        return [name for name, record in self.records.items() if record != records.get(name)]

    def warn(self, alerts: set[str]) -> None:
        """What health is alarmed about now, by the alerts' ids: a new one is a reason to look."""
        if alerts - self._alerts:
            self._warned.update(name for name, schedule in self._schedules.items() if schedule.on_warning)
        if not alerts:
            self._warned.clear()
        self._alerts = alerts

    def due_ns(self, name: str, now: Moment) -> int | None:
        """From when on it may run by itself, on the wall clock; None: it is not by itself."""
        record = self.records[name]
        due_ns = self._schedules[name].due_ns(self._placed_ns(record.done, now), self._zone)
        if name in self._warned:
            tried_ns = self._placed_ns(record.tried, now) if record.tried else None
            warned_ns = now.wall_ns if tried_ns is None else tried_ns + self._interval_ns
            due_ns = warned_ns if due_ns is None else min(due_ns, warned_ns)
        if due_ns is None or record.tried is None:
            return due_ns
        return max(due_ns, self._placed_ns(record.tried, now) + _pause_ns(record))

    def pick(self, now: Moment, *, armed: bool) -> Pick | None:
        """What was ordered first; then what is due, by priority, and of the same the one longest due."""
        for name in self.orders:
            if not self.waits(name, armed=armed):
                return Pick(name, ordered=True)
        due = [
            (-PRIORITIES.index(task.priority), due_ns, name)
            for name, task in self.settings.items()
            if (due_ns := self.due_ns(name, now)) is not None
            and due_ns <= now.wall_ns
            and not self.waits(name, armed=armed)
        ]
        return Pick(min(due)[2]) if due else None

    def waits(self, name: str, *, armed: bool) -> bool:
        """Whether it may not run because the robot is armed."""
        return armed and self.settings[name].only_disarmed

    def begin(self, pick: Pick, now: Moment) -> Record:
        """It is about to run: what to remember, in case that nobody is there at its end."""
        self._warned.discard(pick.name)
        record = self.records[pick.name]
        self.records[pick.name] = replace(record, tried=now, unfinished=record.unfinished + 1)
        return self.records[pick.name]

    def end(self, name: str, ending: Ending, now: Moment) -> Record:
        """It is done, or failed and is to be tried again after a pause."""
        record = self.records[name]
        assert record.tried is not None
        failed = ending.verdict == "failed"
        self.records[name] = replace(
            record,
            done=record.done if failed else record.tried,
            failures=record.failures + 1 if failed else 0,
            unfinished=0,
            verdict=ending.verdict,
            summary=ending.summary,
            rows=ending.rows,
            ended_wall_ns=now.wall_ns,
            took_s=round(ending.took_s, 3),
        )
        return self.records[name]

    def put_back(self, name: str) -> Record:
        """It was ended before it was done, and is as due as before."""
        self.records[name] = replace(self.records[name], unfinished=0)
        return self.records[name]

    def _placed_ns(self, then: Moment, now: Moment) -> int:
        return placed_ns(then, now, self._started_ns)


def _pause_ns(record: Record) -> int:
    """Before it is tried again. That vlad was ended while it ran is its failure from the second time on."""
    failures = record.failures + max(0, record.unfinished - 1)
    if not failures:
        return 0
    pause_s = min(_FIRST_RETRY_S * 2.0 ** min(failures - 1, 30), _LONGEST_RETRY_S)
    return round(pause_s * NS_PER_S)
