"""Schedules: at their time of the day, once, whatever the wall clock does."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlad.clock import NS_PER_S, FakeClock
from vlad.maintenance.schedule import Moment, Schedule, parse, placed_ns

HOUR_S = 3_600.0
DAY_S = 24 * HOUR_S
YEAR_S = 365 * DAY_S
BERLIN = ZoneInfo("Europe/Berlin")
ZONES = st.sampled_from(
    [ZoneInfo("UTC"), BERLIN, ZoneInfo("America/New_York"), ZoneInfo("Australia/Lord_Howe")]
)
PERIODS = {"daily 03:00": DAY_S, "weekly sun 02:30": 7 * DAY_S, "monthly 31 05:00": 31 * DAY_S}


class Computer:
    """A clock, the boots of a computer, and one task on it."""

    def __init__(self, schedule: Schedule, zone: ZoneInfo, clock: FakeClock | None = None) -> None:
        self.schedule, self.zone = schedule, zone
        self.clock = clock or FakeClock()
        self.boot = 0
        self.started_ns = self.clock.now_ns()
        self.done = self.moment()
        self.runs: list[tuple[int, float]] = []
        """The boot, and the true time of each, in seconds."""
        self.true_s = 0.0

    def moment(self) -> Moment:
        return Moment(self.clock.wall_ns(), self.clock.now_ns(), str(self.boot))

    def due(self) -> bool:
        now = self.moment()
        after_ns = placed_ns(self.done, now, self.started_ns)
        due_ns = self.schedule.due_ns(after_ns, self.zone)
        return due_ns is not None and due_ns <= now.wall_ns

    def look(self) -> None:
        if self.due():
            self.runs.append((self.boot, self.true_s))
            self.done = self.moment()
            assert not self.due(), "done, and due again at once"

    def live(self, seconds: float, step_s: float = 900.0) -> None:
        end_s = self.true_s + seconds
        while self.true_s < end_s:
            self.clock.advance(step_s)
            self.true_s += step_s
            self.look()

    def restart(self) -> None:
        """Of the daemon alone."""
        self.started_ns = self.clock.now_ns()
        self.look()

    def off(self, seconds: float) -> None:
        """Of the computer; its wall clock goes on."""
        self.true_s += seconds
        self.clock = FakeClock(now_ns=5 * NS_PER_S, wall_ns=self.clock.wall_ns() + round(seconds * NS_PER_S))
        self.boot += 1
        self.started_ns = self.clock.now_ns()
        self.look()


def at(zone: ZoneInfo, *when: int) -> FakeClock:
    return FakeClock(wall_ns=round(datetime(*when, tzinfo=zone).timestamp() * NS_PER_S))  # type: ignore[misc]


def local(computer: Computer) -> datetime:
    return datetime.fromtimestamp(computer.clock.wall_ns() / NS_PER_S, computer.zone)


@pytest.mark.parametrize(
    ("text", "after", "then"),
    [
        ("daily 03:00", (2026, 11, 20, 3, 0), (2026, 11, 21, 3, 0)),
        ("daily 03:00", (2026, 11, 20, 20, 0), (2026, 11, 21, 3, 0)),
        ("weekly sun 04:00", (2026, 11, 15, 4, 0), (2026, 11, 22, 4, 0)),
        ("monthly 1 05:00", (2026, 11, 1, 5, 0), (2026, 12, 1, 5, 0)),
        ("monthly 31 05:00", (2027, 1, 31, 5, 0), (2027, 2, 28, 5, 0)),
        ("daily 03:00, daily 15:00", (2026, 11, 20, 3, 0), (2026, 11, 20, 15, 0)),
        ("weekly mon 04:00, monthly 1 05:00", (2026, 11, 24, 4, 0), (2026, 11, 30, 4, 0)),
    ],
)
def test_the_next_time_is_the_one_that_a_person_expects(
    text: str, after: tuple[int, ...], then: tuple[int, ...]
) -> None:
    due_ns = parse(text).due_ns(at(BERLIN, *after).wall_ns(), BERLIN)
    assert due_ns == at(BERLIN, *then).wall_ns()


@pytest.mark.parametrize(
    "text",
    ["", "daily", "daily 25:00", "daily 3", "weekly 04:00", "weekly someday 04:00", "monthly 0 05:00",
     "monthly 32 05:00", "hourly", "off, daily 03:00", "daily 03:00,", "monthly -1 05:00"],
)  # fmt: skip
def test_what_is_no_schedule_is_refused_with_what_may_stand_there(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no schedule; write|is no time of the day"):
        parse(text)


def test_warnings_go_with_times_and_off_is_never() -> None:
    assert parse("Daily 03:00, warning").on_warning
    assert parse("warning") == Schedule((), True)
    assert parse("off").due_ns(0, BERLIN) is None


@pytest.mark.parametrize("text", ["daily 02:30", "daily 03:00", "daily 02:00"])
@pytest.mark.parametrize("began", [(2026, 3, 20), (2026, 10, 20)])
def test_once_on_each_day_when_the_clocks_change(text: str, began: tuple[int, int, int]) -> None:
    computer = Computer(parse(text), BERLIN, at(BERLIN, *began, 12))
    days = []
    for _ in range(14 * 96):
        before = len(computer.runs)
        computer.live(900)
        if len(computer.runs) > before:
            days.append(local(computer).date())
    first = datetime(*began).date()
    assert days == [first + timedelta(days=number) for number in range(1, 15)]


@given(st.sampled_from(sorted(PERIODS)), ZONES, st.data())
def test_no_jump_of_the_wall_clock_repeats_or_loses_it(
    text: str, zone: ZoneInfo, data: st.DataObject
) -> None:
    period_s = PERIODS[text]
    computer = Computer(parse(text), zone)
    jumps = st.one_of(
        st.sampled_from([-YEAR_S, YEAR_S, -10 * YEAR_S, -HOUR_S, HOUR_S, -60.0, -1.0, -period_s, period_s]),
        st.floats(-YEAR_S, YEAR_S),
    )
    for _ in range(data.draw(st.integers(1, 12))):
        computer.live(data.draw(st.floats(0, 0.4)) * period_s, step_s=period_s / 48)
        computer.clock.jump_wall(data.draw(jumps))
        if data.draw(st.booleans()):
            computer.restart()
        computer.look()
    computer.live(1.3 * period_s + 3 * HOUR_S, step_s=period_s / 48)
    times = [0.0, *(when for _, when in computer.runs)]
    assert computer.runs, "lost"
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert min(gaps) >= 28 / 31 * period_s / 4 - 1, "repeated"
    assert max([*gaps, computer.true_s - times[-1]]) <= 1.3 * period_s + 3 * HOUR_S, "lost"


@given(st.floats(0.1, 900), ZONES)
def test_what_was_missed_while_the_computer_was_off_is_done_once(days: float, zone: ZoneInfo) -> None:
    computer = Computer(parse("daily 03:00"), zone, at(zone, 2026, 5, 5, 4))
    computer.off(days * DAY_S)
    assert len(computer.runs) == (1 if days * 24 > 23 else 0)
    computer.live(HOUR_S)
    assert len(computer.runs) <= 1


def test_a_computer_that_is_on_in_the_evening_only_does_it_every_evening() -> None:
    computer = Computer(parse("daily 03:00"), BERLIN, at(BERLIN, 2026, 5, 5, 18))
    for _ in range(10):
        computer.live(3 * HOUR_S)
        computer.off(21 * HOUR_S)
    assert len(computer.runs) == 10


def test_a_clock_that_was_set_back_while_the_computer_was_off_delays_it_by_a_period_at_most() -> None:
    computer = Computer(parse("daily 03:00"), BERLIN, at(BERLIN, 2026, 5, 5, 18))
    computer.live(2 * DAY_S)
    assert len(computer.runs) == 2
    computer.clock.jump_wall(-YEAR_S)
    computer.off(60)
    computer.live(1.25 * DAY_S + HOUR_S)
    assert len(computer.runs) == 3


def test_a_computer_without_a_clock_of_its_own_does_what_it_missed_once_it_was_told_the_time() -> None:
    computer = Computer(parse("daily 03:00"), BERLIN, at(BERLIN, 2026, 5, 5, 18))
    computer.clock.jump_wall(-10 * YEAR_S)
    computer.off(12 * HOUR_S)
    computer.live(900)
    assert not computer.runs
    computer.clock.jump_wall(10 * YEAR_S)
    computer.look()
    assert len(computer.runs) == 1
    computer.live(6 * HOUR_S)
    assert len(computer.runs) == 1
