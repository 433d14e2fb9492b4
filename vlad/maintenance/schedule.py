"""When a task is due. Pure: the clocks come with the question.

Two clocks are kept of each run. The wall clock says at what time of the day something shall be done. How
long ago it was done says the monotonic clock, for as long as the computer was not started again: so it makes
no difference to where the wall clock jumps meanwhile. Of a run before that only the wall clock tells, and it
counts, but for a time after the start of this process.

Hence, as long as the computer runs, whatever the wall clock does, and with DST: between two runs that were
due there is at least a quarter of the period, and at most a period and a quarter (and an hour, for DST). What
was missed while the computer was off is done once.
"""

from __future__ import annotations

import calendar
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, tzinfo
from typing import Literal, TypeAlias

from vlad.clock import NS_PER_S

Every: TypeAlias = Literal["daily", "weekly", "monthly"]

_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAYS: dict[Every, int] = {"daily": 1, "weekly": 7, "monthly": 28}
_USAGE = '"daily 03:00", "weekly sun 04:00", "monthly 1 05:00", "warning", or several with commas, or "off"'


@dataclass(frozen=True, slots=True)
class Moment:
    """When something was: on the wall clock, on the monotonic clock, and in which run of the computer."""

    wall_ns: int
    now_ns: int
    boot: str


@dataclass(frozen=True, slots=True)
class Slot:
    """A time that comes again and again. `day`: of the week from 0, Monday, or of the month from 1; in a
    month that is too short for it, its last.
    """

    every: Every
    at: time
    day: int = 0

    def next_ns(self, after_ns: int, zone: tzinfo | None) -> int:
        """The first one that is at least a quarter of the period after that, on the wall clock."""
        earliest_s = after_ns / NS_PER_S + _DAYS[self.every] * 86_400 / 4
        first = datetime.fromtimestamp(earliest_s, zone).date() - timedelta(days=1)
        moments = (self._moment_s(day, zone) for day in self._days(first))
        return round(next(moment for moment in moments if moment >= earliest_s) * NS_PER_S)

    def _days(self, first: date) -> Iterator[date]:
        """Those that it falls on, from `first` on."""
        day = first
        while True:
            last = calendar.monthrange(day.year, day.month)[1]
            match self.every:
                case "daily":
                    falls = True
                case "weekly":
                    falls = day.weekday() == self.day
                case "monthly":
                    falls = day.day == min(self.day, last)
            if falls:
                yield day
            day += timedelta(days=1)

    def _moment_s(self, day: date, zone: tzinfo | None) -> float:
        """A time that DST leaves out is an hour later, of one that comes twice it is the first."""
        return datetime.combine(day, self.at, zone).timestamp()


@dataclass(frozen=True, slots=True)
class Schedule:
    """When a task is due by itself; without slots and warnings: never."""

    slots: tuple[Slot, ...] = ()
    on_warning: bool = False

    def due_ns(self, after_ns: int, zone: tzinfo | None) -> int | None:
        """The wall clock's time from which on it is due, if it was last done at `after_ns`."""
        return min((slot.next_ns(after_ns, zone) for slot in self.slots), default=None)


def placed_ns(then: Moment, now: Moment, started_ns: int) -> int:
    """When `then` was, as the wall clock of now counts. `started_ns`: this process, monotonic."""
    if then.boot == now.boot:
        return now.wall_ns - (now.now_ns - then.now_ns)
    return min(then.wall_ns, now.wall_ns - (now.now_ns - started_ns))


def parse(text: str) -> Schedule:
    """What a schedule in the settings means; ValueError that says what may stand there."""
    words = [part.split() for part in text.lower().split(",")]
    if words == [["off"]]:
        return Schedule()
    slots = tuple(_slot(part, text) for part in words if part != ["warning"])
    return Schedule(slots, ["warning"] in words)


def _slot(words: list[str], text: str) -> Slot:
    match words:
        case ["daily", at]:
            return Slot("daily", _time(at, text))
        case ["weekly", day, at] if day in _WEEKDAYS:
            return Slot("weekly", _time(at, text), _WEEKDAYS.index(day))
        case ["monthly", day, at] if day.isdecimal() and 1 <= int(day) <= 31:
            return Slot("monthly", _time(at, text), int(day))
    raise ValueError(f"{text!r} is no schedule; write {_USAGE}")


def _time(text: str, whole: str) -> time:
    try:
        return datetime.strptime(text, "%H:%M").time()
    except ValueError:
        raise ValueError(f"{whole!r}: {text!r} is no time of the day, such as 03:00") from None
