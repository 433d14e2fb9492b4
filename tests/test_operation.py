"""What is counted of the use of a robot, on a kernel that drives one on paper."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.record.test_journal import Log
from tests.safety.rig import ROVER_SIGNALS, Rig, arm, rover, settings
from vlad.clock import FakeClock
from vlad.messages import EStop, Kind, Level, TaskResult
from vlad.operation import Operation, unclean_ends
from vlad.record.journal import Journal
from vlad.robot import Robot

S = 10**9


class Used:
    """A rig whose every tick is counted."""

    def __init__(
        self, robot: Robot | None = None, *values: float, signals: dict[str, Any] | None = None
    ) -> None:
        self.rig = Rig(robot, settings(signals) if signals else None).driving(*values)
        self.journal = Journal(Log(), FakeClock())
        topic = self.rig.robot.feedback
        self.operation = Operation(
            self.rig.robot, self.rig.now_ns, lambda: self.rig.samples.get(topic) if topic else None
        )
        self.tick()

    def tick(self, count: int = 1) -> dict[str, float]:
        for _ in range(count):
            verdict = self.rig.tick()
            self.operation.turn(self.rig.now_ns, verdict, self.journal.keep(verdict))
        return self.operation.totals()


def test_a_drive_counts_its_time_its_way_and_its_level() -> None:
    totals = Used().tick(1_000)
    assert totals["uptime_s"] == pytest.approx(10.01)
    assert totals["level_safe_s"] == pytest.approx(10.01)
    assert totals["armed_s"] == pytest.approx(10.01)
    assert totals["moving_s"] == pytest.approx(10.0, abs=0.2)
    speed = abs(Used().rig.velocity[0])
    assert speed > 0.1
    assert totals["distance_m"] == pytest.approx(10.0 * speed, rel=0.05)
    assert totals["joint_travel_rad"] == 0.0


def test_an_arm_counts_the_ways_of_all_its_joints() -> None:
    used = Used(arm(Kind.JOINT_VELOCITY), 0.02, -0.01)
    totals = used.tick(300)
    assert totals["distance_m"] == 0.0
    assert totals["joint_travel_rad"] == 0.0, "slower than what counts as moving"
    used.rig.wanted = [0.2, -0.1]
    used.tick(100)
    before = used.operation.totals()["joint_travel_rad"]
    after = used.tick(100)["joint_travel_rad"]
    assert after - before == pytest.approx(0.3, rel=0.15)


def test_without_feedback_the_way_is_what_was_commanded() -> None:
    camera = {"camera": ROVER_SIGNALS["camera"]}
    axes = {name: {"velocity": 1.0, "acceleration": 4.0} for name in ("j0", "j1")}
    robot = arm(Kind.JOINT_VELOCITY, feedback="", axes=axes)
    totals = Used(robot, 0.2, -0.1, signals=camera).tick(200)
    assert totals["joint_travel_rad"] == pytest.approx(0.6, rel=0.15)
    assert totals["moving_s"] == pytest.approx(2.0, abs=0.2)


def test_a_robot_that_rests_goes_no_way() -> None:
    used = Used()
    used.rig.wanted = [0.0, 0.0]
    used.tick(300)
    before = used.operation.totals()
    after = used.tick(300)
    assert after["distance_m"] == before["distance_m"]
    assert after["moving_s"] == before["moving_s"]


def test_feedback_that_was_gone_for_long_adds_no_way_for_that_time() -> None:
    used = Used()
    used.tick(100)
    before = used.operation.totals()["distance_m"]
    used.rig.silent.add("odometry")
    used.tick(300)
    used.rig.silent.clear()
    used.tick(1)
    assert used.operation.totals()["distance_m"] - before < 0.2


def test_a_pressed_button_is_one_intervention_one_estop_and_one_stop() -> None:
    used = Used()
    used.rig.data["estop"] = EStop(True)
    used.tick(50)
    used.rig.data["estop"] = EStop(False)
    totals = used.tick(50)
    assert totals["interventions"] == totals["estops"] == totals["stops_category_1"] == 1
    assert totals["fault/estop_pressed"] == 1
    assert totals["errors"] >= 1
    assert totals["level_emergency_s"] > 0


def test_an_operators_estop_counts_and_another_while_it_stands_does_not() -> None:
    used = Used()
    used.rig.kernel.estop("by alice")
    used.tick(20)
    used.rig.data["estop"] = EStop(True)
    totals = used.tick(20)
    assert totals["interventions"] == totals["estops"] == 1


def test_a_camera_that_fails_is_a_stop_and_an_error_and_no_intervention() -> None:
    used = Used()
    used.rig.silent.add("camera")
    totals = used.tick(200)
    assert totals["stops_category_2"] == 1
    assert totals["fault/signal_stale"] == 1
    assert totals["errors"] == 1
    assert totals.get("interventions", 0) == 0


def test_disarming_ends_work_in_order() -> None:
    used = Used()
    used.rig.kernel.disarm("by alice")
    totals = used.tick(300)
    assert used.rig.kernel.mode == "disarmed"
    assert not any(name.startswith(("stops", "interventions", "faults")) for name in totals)


def test_faults_of_a_robot_that_is_not_armed_are_not_counted() -> None:
    used = Used()
    used.rig.kernel.disarm("by alice")
    used.tick(300)
    used.rig.data["estop"] = EStop(True)
    totals = used.tick(50)
    assert totals.get("faults", 0) == totals.get("interventions", 0) == totals.get("estops", 0) == 0


def test_each_result_of_a_task_counts_once_also_where_it_is_repeated() -> None:
    operation = Operation(rover(), 0, lambda: None)
    for at_ns in range(0, 20 * S, S // 2):
        assert operation.task_ended(TaskResult("go", True), at_ns) == (at_ns == 0)
    assert operation.task_ended(TaskResult("go", False), 20 * S)
    assert operation.task_ended(TaskResult("go", True), 20 * S + 1)
    assert operation.task_ended(TaskResult("go", True), 25 * S), "it was told to do it again"
    assert (operation.counts["tasks_done"], operation.counts["tasks_failed"]) == (3, 1)


def test_ends_without_a_word_are_what_is_missing() -> None:
    assert unclean_ends({}) == 0
    assert unclean_ends({"starts": 1.0}) == 0
    assert unclean_ends({"starts": 5.0, "clean_ends": 2.0}) == 2


def test_no_measurement_however_odd_spoils_the_sums() -> None:
    used = Used()
    used.rig.obeys = False
    for velocity in ((np.nan, 0.0), (np.inf, 0.0), (1e30, 0.0)):
        used.rig.velocity = np.array(velocity)
        used.tick(30)
    totals = used.operation.totals()
    assert all(np.isfinite(value) for value in totals.values())
    assert totals["distance_m"] < 10
    assert all(level.name.lower() in "".join(totals) for level in Level)
