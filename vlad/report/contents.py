"""What stands in a report: read from the database, sorted out, and nothing drawn yet."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlad.messages import Level
from vlad.record import history
from vlad.record.history import Minute

Row = dict[str, Any]

_NOTED = (
    "start", "stop", "fault", "alert", "alert_over", "task", "task_result", "maintenance", "calibration",
    "act", "mode", "model", "part_failed",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class FaultRow:
    """All times that one fault began."""

    id: str
    level: str
    count: int
    last_ns: int
    subjects: tuple[str, ...]
    hint: str


@dataclass(frozen=True, slots=True)
class AlertRow:
    """`lasted_s` is None where nothing tells of its end."""

    wall_ns: int
    component: str
    level: str
    text: str
    lasted_s: float | None


@dataclass(frozen=True, slots=True)
class Contents:
    """Of the time from `since_ns` to `until_ns`, wall clock."""

    since_ns: int
    until_ns: int
    path: Path
    robot: str
    minutes: list[Minute]
    events: list[Row]
    sums: dict[str, float]
    """What was counted in this time."""
    totals: dict[str, float]
    """What was counted since the first start."""

    def of(self, *kinds: str) -> list[Row]:
        """The events of these kinds, oldest first."""
        return [event for event in self.events if event["kind"] in kinds]

    def faults(self) -> list[FaultRow]:
        """The most frequent first."""
        found: defaultdict[str, list[Row]] = defaultdict(list)
        for event in self.of("fault"):
            found[str(event["data"].get("fault", "-"))].append(event)
        rows = [_fault(name, events) for name, events in found.items()]
        return sorted(rows, key=lambda row: (-row.count, row.id))

    def alerts(self) -> list[AlertRow]:
        """The newest first."""
        over = {
            str(event["data"].get("id")): event["data"].get("lasted_s") for event in self.of("alert_over")
        }
        return [
            AlertRow(
                event["wall_ns"],
                str(event["data"].get("component", "-")),
                event["level"],
                event["text"],
                _number(over.get(str(event["data"].get("id")))),
            )
            for event in reversed(self.of("alert"))
        ]


def read(path: Path, since_ns: int, until_ns: int) -> Contents:
    """All of it; sqlite3.Error where the database cannot be read."""
    minutes = sorted(history.minutes(path, since_ns, until_ns), key=lambda minute: minute.wall_ns)
    events = history.events(path, since_ns, until_ns, _NOTED)
    starts = history.newest_events(path, 1, 0, ("start",))
    robot = str(starts[0]["data"].get("robot", "")) if starts else ""
    totals = history.totals(path)
    return Contents(since_ns, until_ns, path, robot, minutes, events, sum_up(minutes, totals), totals)


def sum_up(minutes: Iterable[Minute], totals: Mapping[str, float]) -> dict[str, float]:
    """By how much each of the totals grew in these minutes."""
    sums = dict.fromkeys((name for name in totals if "/" not in name and name != "counted_since_s"), 0.0)
    for minute in minutes:
        for name in sums.keys() & minute.values.keys():
            sums[name] += minute.values[name]
    return sums


def _fault(name: str, events: list[Row]) -> FaultRow:
    worst = max((Level[event["level"]] for event in events), default=Level.SAFE)
    subjects = dict.fromkeys(str(event["data"].get("subject", "")) for event in events)
    hint = str(events[-1]["data"].get("hint", ""))
    last_ns = events[-1]["wall_ns"]
    return FaultRow(name, worst.name, len(events), last_ns, tuple(filter(None, subjects)), hint)


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None
