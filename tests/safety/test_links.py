"""The links to the motor driver and to the policy: lost, stuck, and what is no trouble at all."""

import numpy as np
import pytest

from tests.safety.signal_rig import SignalRig
from vlad.messages import CommandAck, CommandMode, Deadman, EStop, Level


def faults(rig):
    return [(fault.fault.id, fault.subject) for fault in rig.verdict.faults]


def test_without_a_driver_a_robot_is_not_armed_and_not_driven():
    rig = SignalRig()
    rig.inputs["listeners"] = 0
    rig.tick(20)
    assert [cause.fault.id for cause in rig.kernel.arm(rig.sense())] == ["no_driver"]
    rig.inputs["listeners"] = 1
    rig.driving()
    rig.inputs["listeners"] = 0
    assert rig.tick(10).mode == "stopping"


def test_a_driver_that_reconnects_at_once_stops_nothing():
    rig = SignalRig().driving()
    rig.inputs["listeners"] = 0
    rig.tick(4)
    rig.inputs["listeners"] = 1
    assert rig.tick(50).mode == "active"


def test_a_number_of_drivers_that_is_not_known_is_no_fault():
    rig = SignalRig().driving()
    rig.inputs["listeners"] = None
    rig.tick(50)
    assert faults(rig) == []


@pytest.mark.parametrize(("age_s", "expected"), [
    (0.25, "active"), (0.3, "active"), (0.31, "stopping"), (-0.05, "active"), (-0.06, "stopping"),
])  # fmt: skip
def test_a_driver_that_follows_old_commands_does_not_apply_them(age_s, expected):
    rig = SignalRig().driving()
    rig.ack_age_s = age_s
    verdict = rig.tick(10)
    assert verdict.mode == expected
    if expected == "stopping":
        assert rig.causes[0].startswith("not_applied: command_ack follows a command ")
        assert verdict.command_mode == "stop1"


def test_a_driver_ahead_of_all_commands_is_told_by_how_much():
    rig = SignalRig().driving()
    rig.ack_age_s = -0.2
    rig.tick(10)
    assert rig.causes == ["not_applied: command_ack follows a command that is 0.20 s in the future"]


def test_a_driver_that_never_got_a_command_is_told_so():
    rig = SignalRig().driving()
    rig.ack_age_s = rig.now_ns / 1e9
    make = rig.sample
    never = CommandAck(0, 0, CommandMode.STOP1)
    rig.sample = lambda topic, data, age_s=0.0: make(topic, never if topic == "command_ack" else data, age_s)
    rig.tick(10)
    assert rig.causes == ["not_applied: command_ack follows no command yet"]


@pytest.mark.parametrize("mode", [CommandMode.HOLD, CommandMode.STOP1, CommandMode.STOP0])
def test_a_driver_in_a_stop_of_its_own_does_not_apply_commands(mode):
    rig = SignalRig().driving()
    rig.acked = mode
    assert rig.tick(35).mode == "active"
    assert rig.tick().mode == "stopping"
    assert rig.causes == [f"not_applied: command_ack is in {mode}, commanded is run"]


def test_a_driver_that_missed_a_few_commands_stops_nothing():
    rig = SignalRig().driving()
    for _ in range(10):
        rig.acked = CommandMode.STOP1
        rig.tick(20)
        rig.acked = None
        rig.tick(1)
    assert rig.causes == []


def test_motors_that_stopped_by_themselves_go_on_with_a_ramp():
    rig = SignalRig().driving()
    full = float(rig.verdict.values[0])
    rig.acked = CommandMode.STOP1
    rig.tick(20)
    assert rig.verdict.mode == "active"
    assert rig.verdict.values[0] < full - 0.3
    rig.acked = None
    speeds = [float(rig.tick().values[0]) for _ in range(100)]
    assert max(np.diff(speeds)) <= 0.01 * rig.robot.axes["linear_x"].acceleration + 1e-6
    assert speeds[-1] == pytest.approx(full)


def test_a_driver_has_time_to_begin_and_to_end():
    rig = SignalRig().armed()
    rig.acked = CommandMode.HOLD
    rig.wanted = [0.8, 0.0]
    assert rig.tick(25).mode == "active"
    rig.acked = None
    rig.tick(100)
    rig.kernel.disarm("by test")
    rig.acked = CommandMode.RUN
    rig.tick(25)
    assert faults(rig) == []


def test_a_driver_that_runs_on_in_a_stop_makes_the_stop_rise():
    rig = SignalRig().driving()
    rig.acked = CommandMode.RUN
    rig.silent.add("camera")
    modes = [rig.tick().command_mode for _ in range(100)]
    assert ("not_applied", "command_ack") in faults(rig)
    assert modes[-1] == "stop1"


def test_a_driver_that_runs_on_in_an_emergency_stop_refuses_the_reset():
    rig = SignalRig().driving()
    rig.acked = CommandMode.RUN
    rig.kernel.stop("by test")
    rig.tick(50)
    rig.kernel.estop("by test")
    rig.tick(50)
    assert ("not_applied", "command_ack") in faults(rig)
    persisting = rig.kernel.reset(rig.sense())
    assert [cause.fault.id for cause in persisting] == ["not_applied"]
    rig.acked = None
    rig.tick(50)
    assert rig.kernel.reset(rig.sense()) == ()


def test_while_it_is_not_armed_a_driver_may_do_as_it_likes():
    rig = SignalRig()
    rig.ack_age_s = 7.0
    rig.tick(20)
    assert faults(rig) == []


def test_an_acknowledgement_that_is_none_makes_no_sense():
    rig = SignalRig().driving()
    make = rig.sample
    rig.sample = lambda topic, data, age_s=0.0: make(
        topic, EStop(False) if topic == "command_ack" else data, age_s
    )
    assert rig.tick(3).mode == "stopping"
    assert rig.causes == ["signal_invalid: command_ack carries a EStop"]


def test_a_driver_that_falls_silent_is_a_stale_signal():
    rig = SignalRig({"command_ack": {"max_age_s": 0.2}}).driving()
    rig.silent.add("command_ack")
    rig.tick(25)
    assert rig.causes[0].startswith("signal_stale: command_ack")


def test_a_lost_policy_holds_the_robot_until_it_is_back():
    rig = SignalRig().driving()
    rig.inputs["policy_lost"] = "connection refused"
    assert rig.tick(3).mode == "stopping"
    assert rig.causes == ["policy_lost: policy connection refused"]
    rig.inputs["policy_lost"] = ""
    assert rig.tick(60).mode == "active"


def test_a_policy_that_drives_in_place_of_another_is_told_and_drives_on_at_full_speed():
    rig = SignalRig().driving(0.6, 0.0)
    rig.inputs["fallback"] = "calm/1 drives: out of memory"
    verdict = rig.tick(50)
    assert [(fault.fault.id, fault.detail) for fault in verdict.faults] == [
        ("policy_fallback", "calm/1 drives: out of memory")
    ]
    assert (verdict.mode, verdict.level) == ("active", Level.WARNING)
    assert verdict.values[0] == pytest.approx(0.6)


def test_a_deadman_switch_holds_the_robot_while_it_is_released_and_refuses_no_arming():
    rig = SignalRig()
    rig.data["teleop"] = Deadman(False)
    rig.tick(20)
    assert rig.kernel.arm(rig.sense()) == ()
    rig.tick(20)
    assert faults(rig) == [("deadman_released", "teleop")]
    assert rig.verdict.command_mode == "hold"
    rig.data["teleop"] = Deadman(True)
    rig.wanted = [0.8, 0.0]
    verdict = rig.tick(60)
    assert (verdict.mode, verdict.command_mode) == ("active", "run")
    assert 0 < verdict.values[0] < 0.8


@pytest.mark.parametrize("said", [None, EStop(False)])
def test_a_deadman_switch_that_says_nothing_of_sense_counts_as_released(said):
    rig = SignalRig({"teleop": {"required": False}})
    rig.driving()
    if said is None:
        del rig.data["teleop"], rig.samples["teleop"]
    else:
        rig.data["teleop"] = said
    rig.tick(3)
    assert ("deadman_released", "teleop") in faults(rig)
    assert rig.verdict.mode == "stopping"


def test_a_deadman_switch_that_was_held_and_fell_silent_counts_as_released():
    rig = SignalRig({"teleop": {"required": False, "max_age_s": 0.2}}).driving()
    rig.silent.add("teleop")
    assert rig.tick(20).mode == "active"
    assert rig.tick().mode == "stopping"
    assert faults(rig) == [("deadman_released", "teleop")]
