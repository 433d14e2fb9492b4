"""Another kernel takes over for other settings: only while disarmed, and nothing comes on by it."""

from __future__ import annotations

import pytest

from tests.safety.rig import ROVER_SIGNALS, Rig, odometry, rover, settings
from tests.safety.signal_rig import SignalRig
from vlad.messages import CommandMode, Mode


def replace(rig: Rig, **safety: float) -> None:
    rig.kernel = rig.kernel.replaced(rig.robot, settings(safety=safety))


def test_it_may_only_while_disarmed() -> None:
    rig = Rig()
    assert not rig.kernel.replaceable
    rig.tick()
    assert rig.kernel.replaceable
    rig.armed()
    assert not rig.kernel.replaceable


def test_it_may_not_while_an_emergency_stop_is_latched_or_was_just_called() -> None:
    rig = Rig()
    rig.tick(2)
    rig.kernel.estop("test")
    assert rig.kernel.mode is Mode.DISARMED
    assert not rig.kernel.replaceable
    rig.tick()
    assert not rig.kernel.replaceable


def test_it_may_not_while_a_fault_waits_for_a_reset() -> None:
    rig = Rig().armed()
    rig.silent = {"laser"}
    rig.tick(60)
    rig.kernel.disarm("test")
    rig.silent = set()
    rig.tick(200)
    assert rig.verdict is not None
    assert rig.kernel.mode is Mode.DISARMED
    assert not rig.kernel.replaceable
    assert rig.kernel.reset(rig.sense()) == ()
    assert rig.kernel.replaceable


def test_the_robot_stays_disarmed_and_no_change_of_mode_is_told() -> None:
    rig = Rig()
    rig.tick(10)
    before = len(rig.causes)
    replace(rig)
    verdict = rig.tick()
    assert verdict.mode is Mode.DISARMED
    assert len(rig.causes) == before


def test_a_change_of_mode_that_was_not_told_yet_is_told() -> None:
    rig = Rig(estop="before")
    rig.tick(30)
    assert rig.kernel.reset(rig.sense()) == ()
    replace(rig)
    assert rig.kernel.mode is Mode.DISARMED
    assert rig.tick().transitions[-1].after is Mode.DISARMED


@pytest.mark.parametrize(("estop", "mode"), [("before", CommandMode.STOP0), (None, CommandMode.HOLD)])
def test_what_is_off_stays_off(estop: str | None, mode: CommandMode) -> None:
    rig = Rig(estop=estop)
    rig.tick(30)
    rig.kernel.reset(rig.sense())
    assert rig.tick().command_mode is mode
    replace(rig)
    assert rig.tick().command_mode is mode


def test_the_new_limits_hold() -> None:
    rig = Rig()
    rig.tick(10)
    slow = rover().model_copy(update={"axes": {name: axis.model_copy(update={"velocity": 0.2})
                                               for name, axis in rover().axes.items()}})  # fmt: skip
    rig.kernel = rig.kernel.replaced(slow, rig.settings)
    rig.driving(0.25, 0.0)
    assert rig.verdict is not None
    assert rig.verdict.values[0] == pytest.approx(0.2)


def test_what_is_known_of_backups_is_found_in_the_same_place() -> None:
    rig = Rig()
    rig.tick(10)
    topics, estimates = rig.kernel.sources.topics, rig.kernel.sources.estimates
    replace(rig)
    assert rig.kernel.sources.topics is topics
    assert rig.kernel.sources.estimates is estimates


def test_a_backup_that_is_none_any_more_stands_in_for_nothing() -> None:
    spare = {**ROVER_SIGNALS["odometry"], "required": False}
    backed = {**ROVER_SIGNALS["odometry"], "backups": ["odometry_2"]}
    rig = Rig(set_up=settings({**ROVER_SIGNALS, "odometry": backed, "odometry_2": spare}))
    rig.data["odometry_2"] = odometry()
    rig.tick(10)
    rig.silent = {"odometry"}
    rig.tick(20)
    assert rig.ids() == {"signal_replaced"}
    rig.kernel = rig.kernel.replaced(rig.robot, settings({**ROVER_SIGNALS, "odometry_2": spare}))
    rig.tick()
    assert rig.ids() == {"signal_stale"}
    assert {refusal.subject for refusal in rig.kernel.arm(rig.sense())} == {"odometry"}


def test_an_estimate_of_the_last_moment_before_stands_for_nothing() -> None:
    imu = {"type": "imu", "max_age_s": 0.1}
    imus = {"imu": imu, "imu_b": {**imu, "required": False}}
    rig = SignalRig({**imus, "imu": {**imu, "estimate_s": 0.5}})
    rig.data["imu_b"] = rig.data["imu"]
    rig.armed()
    rig.silent = {"imu"}
    rig.tick(15)
    rig.kernel.disarm("test")
    while rig.tick().mode is not Mode.DISARMED:
        pass
    assert rig.kernel.replaceable
    assert list(rig.kernel.sources.estimates) == ["imu"]
    rig.kernel = rig.kernel.replaced(rig.robot, SignalRig(imus).settings)
    rig.tick()
    assert rig.ids() == {"signal_stale"}


def test_time_and_the_task_go_on() -> None:
    rig = Rig()
    rig.task = "go"
    rig.tick(10)
    before = rig.kernel
    replace(rig, silence_s=0.2)
    assert rig.kernel._task == "go"
    assert rig.kernel._last_ns == rig.now_ns
    assert (rig.kernel._commanded, rig.kernel._agreed_ns) == (before._commanded, before._agreed_ns)
    rig.armed()


def test_it_says_what_settings_it_goes_by() -> None:
    rig = Rig()
    before, other = rig.kernel.settings, settings(safety={"arm_ramp_s": 3.5})
    rig.kernel = rig.kernel.replaced(rig.robot, other)
    assert before.safety.arm_ramp_s != 3.5
    assert rig.kernel.settings is other
