"""What runs next: by hand first, then by priority; and what becomes of what failed or was broken off."""

from __future__ import annotations

from datetime import UTC

import pytest

from vlad.clock import NS_PER_S, FakeClock
from vlad.maintenance.agenda import Agenda, Ending, Pick
from vlad.maintenance.schedule import Moment
from vlad.maintenance.settings import MaintenanceSettings

HOUR_S = 3_600.0
DAY_S = 24 * HOUR_S
OK, FAILED = Ending("ok", "done"), Ending("failed", "no disk")
NAMES = ("backup", "clean_up", "health_check", "vacuum")
SETTINGS = {
    "backup": {"schedule": "daily 03:00", "priority": "high"},
    "clean_up": {"schedule": "daily 02:00"},
    "health_check": {"schedule": "warning", "priority": "critical"},
    "vacuum": {"schedule": "daily 02:30", "only_disarmed": True},
}


class Robot:
    """An agenda, and the clock that it is asked with."""

    def __init__(self, names: tuple[str, ...] = NAMES) -> None:
        self.clock = FakeClock()
        settings = MaintenanceSettings.model_validate(SETTINGS)
        self.agenda = Agenda(names, settings, self.clock.now_ns(), self.now(), UTC)

    def now(self) -> Moment:
        return Moment(self.clock.wall_ns(), self.clock.now_ns(), "boot")

    def pick(self, armed: bool = False) -> str | None:
        pick = self.agenda.pick(self.now(), armed=armed)
        return None if pick is None else pick.name

    def run(self, ending: Ending = OK) -> str | None:
        name = self.pick()
        if name is not None:
            self.agenda.begin(Pick(name), self.now())
            self.agenda.end(name, ending, self.now())
        return name

    def run_all(self) -> list[str]:
        ran = []
        while (name := self.run()) is not None:
            ran.append(name)
        return ran


def test_a_new_robot_has_nothing_to_do_at_once() -> None:
    assert Robot().pick() is None


def test_the_highest_priority_runs_first_then_what_is_due_for_longest() -> None:
    robot = Robot()
    robot.clock.advance(2 * DAY_S)
    assert robot.run_all() == ["backup", "clean_up", "vacuum"]
    assert robot.run() is None, "each once, however often it was missed"


def test_what_was_ordered_runs_before_what_is_due() -> None:
    robot = Robot()
    robot.clock.advance(2 * DAY_S)
    robot.agenda.orders["vacuum"] = {"deep": True}
    assert robot.agenda.pick(robot.now(), armed=False) == Pick("vacuum", ordered=True)


def test_while_armed_only_those_run_that_may() -> None:
    robot = Robot()
    robot.clock.advance(2 * DAY_S)
    robot.agenda.orders["vacuum"] = {}
    assert robot.pick(armed=True) == "backup"
    assert robot.pick(armed=False) == "vacuum"


def test_what_failed_is_tried_again_after_growing_pauses_until_it_is_done() -> None:
    robot = Robot(("backup",))
    robot.clock.advance(2 * DAY_S)
    pauses_s = []
    for _ in range(9):
        assert robot.run(FAILED) == "backup"
        waited_s = 0
        while robot.pick() is None:
            robot.clock.advance(60)
            waited_s += 60
        pauses_s.append(waited_s)
    assert pauses_s == [600, 1200, 2400, 4800, 9600, 19200, 21600, 21600, 21600]
    assert robot.agenda.records["backup"].failures == 9
    assert robot.run() == "backup"
    assert robot.agenda.records["backup"].failures == 0
    assert robot.pick() is None


def test_a_jump_of_the_wall_clock_changes_no_pause() -> None:
    robot = Robot()
    robot.clock.advance(2 * DAY_S)
    robot.run(FAILED)
    robot.run_all()
    for jump_s in (-365 * DAY_S, 2 * 365 * DAY_S):
        robot.clock.jump_wall(jump_s)
        assert robot.pick() is None
    robot.clock.advance(601)
    assert robot.pick() == "backup"


def test_what_was_broken_off_runs_again_at_once_but_from_the_second_time_on_after_a_pause() -> None:
    robot = Robot()
    robot.clock.advance(2 * DAY_S)
    robot.agenda.begin(Pick("backup"), robot.now())
    assert robot.pick() == "backup"
    robot.agenda.begin(Pick("backup"), robot.now())
    assert robot.pick() != "backup"
    robot.clock.advance(601)
    assert robot.pick() == "backup"


def test_what_was_put_back_for_an_armed_robot_is_as_due_as_before() -> None:
    robot = Robot()
    robot.clock.advance(2 * DAY_S)
    for _ in range(5):
        robot.agenda.begin(Pick("backup"), robot.now())
        robot.agenda.put_back("backup")
    assert robot.pick() == "backup"
    assert robot.agenda.records["backup"].failures == 0


def test_an_alert_runs_what_runs_on_a_warning_once_and_not_again_before_the_interval() -> None:
    robot = Robot()
    robot.agenda.warn({"a"})
    assert robot.run() == "health_check"
    robot.agenda.warn({"a"})
    assert robot.run() is None, "the same alert"
    robot.agenda.warn({"a", "b"})
    assert robot.run() is None, "too soon"
    robot.clock.advance(6 * HOUR_S + 1)
    assert robot.pick() == "health_check"


def test_an_alert_that_is_over_before_the_interval_is_no_reason_any_more() -> None:
    robot = Robot()
    robot.agenda.warn({"a"})
    robot.run()
    robot.agenda.warn({"b"})
    robot.agenda.warn(set())
    robot.clock.advance(6 * HOUR_S + 1)
    assert robot.pick() is None


def test_what_is_remembered_of_a_task_that_is_gone_is_left_alone() -> None:
    robot = Robot()
    known = dict(robot.agenda.records)
    agenda = Agenda(["backup"], MaintenanceSettings(), 0, robot.now(), UTC)
    assert agenda.recall(known) == []
    assert list(agenda.records) == ["backup"]


@pytest.mark.parametrize("name", ["backup", "vacuum"])
def test_the_next_time_is_after_now_when_it_is_done(name: str) -> None:
    robot = Robot()
    robot.clock.advance(2 * DAY_S)
    robot.run_all()
    due_ns = robot.agenda.due_ns(name, robot.now())
    assert due_ns is not None
    assert 0 < due_ns - robot.clock.wall_ns() < 1.25 * DAY_S * NS_PER_S
