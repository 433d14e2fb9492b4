"""What the kernel promises the operator: arming, stopping, resetting, and what happens in between."""

from __future__ import annotations

import numpy as np
import pytest

from tests.safety.rig import ROVER_SIGNALS, TICK_NS, Rig, S, arm, odometry, points, rover, scan, settings
from tests.safety.signal_rig import SignalRig
from vlad.messages import Battery, Deadman, EStop, JointState, Kind, LaserScan, NearObject, Proximity
from vlad.safety.kernel import Inputs, Kernel
from vlad.safety.view import Computer


def refused(faults):
    return {(fault.fault.id, fault.subject) for fault in faults}


# Starting


def test_it_boots_disarmed_and_holds_without_values():
    rig = Rig()
    assert rig.kernel.mode == "boot"
    verdict = rig.tick()
    assert rig.causes == ["started"]
    assert (verdict.mode, verdict.command_mode, verdict.values.size) == ("disarmed", "hold", 0)
    assert (verdict.kind, verdict.names) == ("twist", ("linear_x", "angular_z"))
    assert rig.tick(5).transitions == ()


def test_arming_is_refused_with_every_reason_at_once():
    rig = Rig()
    rig.data = {"estop": EStop(True), "battery": Battery(0.05, 24, 0, 30)}
    rig.silent.add("odometry")
    rig.data["bumper"] = Proximity((NearObject("", 0.0, 0.0),))
    rig.inputs["failed_parts"] = ("ingest",)
    rig.silent.add("odometry")
    rig.tick()
    refusals = rig.kernel.arm(rig.sense())
    assert {refusal.since_ns for refusal in refusals} == {rig.now_ns}
    assert refused(refusals) == {
        ("estop_pressed", "estop"),
        ("signal_missing", "camera"),
        ("signal_missing", "laser"),
        ("signal_missing", "odometry"),
        ("battery_critical", "battery"),
        ("contact", "bumper"),
        ("part_failed", "ingest"),
        ("not_disarmed", "robot"),
    }
    assert rig.kernel.mode == "estop"


def test_arming_before_the_first_tick_is_refused():
    rig = Rig()
    (refusal,) = rig.kernel.arm(rig.sense())
    assert (refusal.fault.id, refusal.subject, refusal.since_ns) == ("not_disarmed", "robot", rig.now_ns)
    assert refusal.detail == "the mode is boot"


def test_the_first_turn_of_all_may_be_one_between_two_ticks():
    rig = Rig()
    rig.inputs = {"early": True}
    verdict = rig.tick()
    assert (verdict.mode, verdict.faults) == ("disarmed", ())


def test_nothing_from_before_the_first_tick_is_held_against_the_robot():
    rig = Rig()
    computer = Computer(rig.now_ns, 0.1, 0.1, 0.1, 0.1, 40.0)
    rig.inputs = {"missed_ticks": 1, "overflows": 9, "computer": computer}
    assert rig.tick().faults == ()


def test_arming_is_told_as_the_cause_of_moving():
    rig = Rig()
    rig.tick(10)
    rig.kernel.arm(rig.sense())
    (change,) = rig.tick().transitions
    assert (change.before, change.after, change.cause) == ("disarmed", "active", "armed")


def test_a_fault_that_only_lingers_does_not_stop_a_robot_that_was_just_armed():
    rig = Rig()
    rig.silent.add("camera")
    rig.tick()
    rig.silent.clear()
    assert rig.kernel.arm(rig.sense()) == ()
    assert rig.tick().mode == "active"


def test_what_only_slows_does_not_refuse_arming_and_acts_at_once():
    rig = Rig()
    rig.data["battery"] = Battery(0.15, 24, 0, 30)
    rig.tick()
    assert rig.kernel.arm(rig.sense()) == ()
    assert rig.tick().mode == "degraded"


def test_arming_twice_changes_nothing():
    rig = Rig().driving()
    assert rig.kernel.arm(rig.sense()) == ()
    assert rig.tick().values[0] == pytest.approx(0.8)


def test_a_required_instruction_must_have_come_but_never_grows_old():
    known = ROVER_SIGNALS | {"instruction": {"type": "instruction"}}
    rig = Rig(set_up=settings(known))
    rig.tick()
    assert refused(rig.kernel.refusals(rig.sense())) == {("signal_missing", "instruction")}
    rig.samples["instruction"] = rig.sample("instruction", EStop(False), age_s=-900)
    assert rig.kernel.refusals(rig.sense()) == ()
    rig.samples["instruction"] = rig.sample("instruction", EStop(False), age_s=900)
    assert rig.kernel.refusals(rig.sense()) == ()


def test_the_signals_of_the_limits_file_are_required_whatever_the_settings_say():
    known = {topic: signal | {"required": False} for topic, signal in ROVER_SIGNALS.items()}
    rig = Rig(set_up=settings(known))
    rig.data.clear()
    rig.silent.add("odometry")
    rig.tick()
    assert refused(rig.kernel.refusals(rig.sense())) == {
        ("signal_missing", "laser"),
        ("signal_missing", "odometry"),
    }


def test_after_arming_the_speed_rises_with_the_ramp():
    rig = Rig()
    rig.tick(10)
    rig.kernel.arm(rig.sense())
    rig.wanted = [0.8, 2.0]
    for tick in range(1, 60):
        verdict = rig.tick()
        assert verdict.command_mode == "run"
        assert verdict.source_stamp_ns == rig.step.stamp_ns
        assert verdict.values[1] <= 2.0 * min(1, tick / 50) + 1e-6
    assert verdict.values[1] == pytest.approx(2.0)


def test_without_a_ramp_only_the_acceleration_bounds_the_start():
    rig = Rig(set_up=settings(safety={"arm_ramp_s": 0}))
    rig.tick(10)
    rig.kernel.arm(rig.sense())
    rig.wanted = [0.8, 0.0]
    assert rig.tick().values[0] == pytest.approx(0.015)


# At ease


def at_ease(rig: Rig) -> Rig:
    """Disarmed, and just judged."""
    rig.tick(10)
    verdict = rig.verdict
    assert any(rig.tick() is not verdict for _ in range(10))
    assert rig.verdict.mode == "disarmed"
    return rig


def test_disarmed_a_verdict_holds_for_five_ticks_and_then_tells_what_is_new():
    rig = at_ease(Rig())
    verdict = rig.verdict
    rig.silent.add("camera")
    rig.samples.pop("camera")
    assert [rig.tick() is verdict for _ in range(5)] == [True] * 4 + [False]
    assert ("signal_missing", "camera") in refused(rig.verdict.faults)


def test_a_verdict_holds_for_45_ms_and_not_a_moment_longer():
    rig = at_ease(Rig())
    verdict = rig.verdict
    assert rig.tick(dt_s=0.044_999_999) is verdict
    assert rig.tick(dt_s=0.000_000_001) is not verdict


def test_what_was_commanded_before_a_disarm_excuses_no_movement_after_it():
    quick = {"acceleration": 1_000.0, "deceleration": 1_000.0}
    axes = {name: axis.model_copy(update=quick) for name, axis in rover().axes.items()}
    rig = Rig(rover(axes=axes, obstacle=None)).driving()
    rig.kernel.disarm("the operator")
    assert any(rig.tick().mode == "disarmed" for _ in range(50))
    rig.wanted = [0.0, 0.0]
    rig.tick(30)  # as long as a base may follow a command late
    assert rig.kernel.arm(rig.sense()) == ()
    rig.obeys, rig.velocity = False, np.array([0.8, 0.0])
    rig.tick(22)  # a deviation counts when it lasts 0.2 s
    assert "base_deviation" in rig.ids()


def test_a_verdict_that_tells_of_a_change_is_told_once():
    rig = Rig()
    assert [len(rig.tick().transitions) for _ in range(3)] == [1, 0, 0]


def test_armed_every_tick_is_judged():
    rig = Rig().armed()
    verdicts = [rig.tick() for _ in range(6)]
    assert len({id(verdict) for verdict in verdicts}) == 6


@pytest.mark.parametrize(
    "news",
    [{"early": True}, {"missed_ticks": 1}, {"task": "go to the red ball"}],
    ids=lambda news: str(*news),
)
def test_disarmed_what_is_urgent_is_judged_at_once(news):
    rig = at_ease(Rig())
    verdict = rig.verdict
    rig.inputs |= news
    assert rig.tick() is not verdict


def test_disarmed_an_emergency_stop_is_judged_by_the_next_tick():
    rig = at_ease(Rig())
    rig.kernel.estop("the operator")
    assert rig.tick().mode == "estop"


def test_disarmed_a_reset_is_told_by_the_next_tick():
    rig = at_ease(Rig())
    verdict = rig.verdict
    assert rig.kernel.reset(rig.sense()) == ()
    assert rig.tick() is not verdict


def test_arming_ends_the_ease_and_the_first_command_is_bounded_by_the_time_since_the_last():
    rig = at_ease(Rig(rover(), settings(safety={"arm_ramp_s": 0.0})))
    rig.tick(2)
    rig.wanted = [1.0, 0.0]
    assert rig.kernel.arm(rig.sense()) == ()
    acceleration = rig.robot.axes["linear_x"].acceleration
    assert rig.tick().values[0] == pytest.approx(acceleration * 0.01, rel=0.01)


# Active


def test_without_a_step_an_armed_robot_holds():
    rig = Rig().driving()
    rig.wanted = None
    verdict = rig.tick()
    assert (verdict.mode, verdict.command_mode, verdict.source_stamp_ns) == ("active", "hold", 0)
    assert verdict.values[0] == pytest.approx(0.78)
    assert not rig.tick(60).values.any()
    assert rig.modes == []


def test_the_envelope_uses_the_time_that_really_passed_but_never_more_than_two_periods():
    rig = Rig().armed()
    rig.wanted = [0.8, 0.0]
    assert rig.tick(dt_s=0.002).values[0] == pytest.approx(0.003)
    assert rig.tick(dt_s=0.020).values[0] == pytest.approx(0.033)
    assert rig.tick(dt_s=0.080).values[0] == pytest.approx(0.063)
    assert rig.tick(dt_s=0.0).values[0] == pytest.approx(0.063)


def test_slow_faults_halve_the_speed_and_hand_it_back():
    rig = Rig().driving()
    rig.inputs["inference_since_ns"] = rig.now_ns
    assert rig.tick(30).mode == "active"
    assert rig.tick().mode == "degraded"
    assert rig.tick(40).values[0] == pytest.approx(0.4)
    rig.inputs.clear()
    assert rig.tick(49).mode == "degraded"
    rig.tick(2)
    assert rig.modes == ["degraded", "active"]
    assert rig.tick(60).values[0] == pytest.approx(0.8)


def test_early_turns_do_not_count_as_punctual_ticks():
    rig = Rig().armed()
    rig.inputs = {"missed_ticks": 1}
    rig.tick()
    rig.inputs = {"early": True}
    rig.tick()
    rig.inputs = {"missed_ticks": 1}
    assert rig.tick().mode == "degraded"


def test_ticks_that_are_missed_one_by_one_do_not_add_up():
    rig = Rig().armed()
    for _ in range(10):
        rig.inputs = {"missed_ticks": 1}
        rig.tick()
        rig.inputs = {}
        rig.tick()
    assert rig.modes == []


def test_what_is_looked_at_in_every_turn_counts_only_while_it_lasts():
    rig = Rig().driving()
    rig.data["laser"] = points((0.4, 0.0))
    rig.tick()
    assert rig.ids() == {"obstacle"}
    rig.data["laser"] = scan()
    rig.inputs = {"early": True}
    rig.tick(50, dt_s=0.009)
    assert rig.ids() == set()


def test_between_two_ticks_what_the_last_tick_found_still_counts():
    rig = Rig().driving()
    rig.inputs = {"policy_lost": "gone"}
    rig.tick()
    assert "policy_lost" in rig.ids()
    rig.inputs = {"early": True}
    rig.tick(100, dt_s=0.009)
    assert "policy_lost" in rig.ids()
    rig.inputs = {}
    rig.tick(50)
    assert "policy_lost" not in rig.ids()


def test_arming_goes_by_what_is_known_then_not_by_what_the_tick_before_found():
    rig = Rig()
    rig.silent.add("camera")
    rig.tick(20)
    assert rig.ids() == {"signal_missing"}
    rig.silent.clear()
    assert rig.kernel.arm(rig.sense()) == ()
    rig.inputs = {"early": True}
    assert rig.tick(dt_s=0.001).mode == "active"
    assert rig.ids() == set()


def test_turns_between_two_ticks_do_not_start_a_hold_time_anew():
    rig = Rig().driving()
    for _ in range(6):
        rig.inputs = {"listeners": 0}
        rig.tick(dt_s=0.005)
        rig.inputs = {"early": True}
        rig.tick(dt_s=0.005)
    assert "no_driver" in rig.ids()


def test_between_two_ticks_a_touch_stops_at_once_and_a_signal_that_grows_old_at_the_next_tick():
    rig = Rig().driving()
    rig.silent.add("odometry")
    rig.tick(10)
    rig.inputs = {"early": True}
    rig.tick(dt_s=0.001)
    assert rig.modes == []
    rig.data["bumper"] = Proximity((NearObject("wall", 0.0, 0.0),))
    rig.tick(dt_s=0.001)
    assert rig.ids() == {"contact"}
    rig.inputs = {}
    rig.tick(dt_s=0.001)
    assert rig.ids() == {"contact", "signal_stale"}


def test_a_misbehaving_robot_is_stopped_for_its_speed():
    rig = Rig().driving()
    rig.obeys = False
    rig.velocity[:] = (0.95, 0)
    assert rig.tick(20).mode == "active"
    rig.velocity[:] = (0.97, 0)
    rig.tick(12)
    assert rig.ids() == {"velocity_limit"}
    assert rig.modes[0] == "stopping"


# Stopping and going on


def test_disarm_brings_the_robot_to_rest_then_disarms():
    rig = Rig().driving(0.8, 2.0)
    rig.kernel.disarm("by test")
    speeds = []
    for _ in range(200):
        if rig.tick().mode != "stopping":
            break
        assert rig.verdict.command_mode == "hold"
        speeds.append(float(rig.verdict.values[0]))
    assert np.diff(speeds).max() <= 0
    assert np.diff([0.8, *speeds]).min() >= -0.02 - 1e-6
    assert speeds[-1] == 0
    assert (rig.verdict.mode, rig.verdict.values.size) == ("disarmed", 0)
    assert rig.causes == ["disarm: by test", "disarm: by test"]
    assert rig.verdict.level == 0


def test_disarm_and_stop_mean_nothing_to_a_disarmed_robot():
    rig = Rig()
    rig.tick(10)
    rig.kernel.disarm("by test")
    rig.kernel.stop("by test")
    assert rig.kernel.arm(rig.sense()) == ()
    assert rig.tick().mode == "active"


def test_stop_brings_to_rest_and_holds_until_reset():
    rig = Rig().driving()
    rig.kernel.stop("SIGTERM")
    rig.tick(200)
    assert rig.modes == ["stopping", "stopped"]
    assert (rig.verdict.command_mode, list(rig.verdict.values)) == ("hold", [0, 0])
    assert refused(rig.kernel.arm(rig.sense())) == {("not_disarmed", "robot")}
    assert rig.kernel.reset(rig.sense()) == ()
    assert rig.tick().mode == "disarmed"
    assert rig.kernel.arm(rig.sense()) == ()
    assert rig.tick(10).mode == "active"


def test_a_robot_that_was_stopped_can_be_disarmed():
    rig = Rig().driving()
    rig.kernel.stop("SIGTERM")
    rig.tick(200)
    rig.kernel.disarm("by test")
    assert rig.tick().mode == "disarmed"


def test_a_stale_sensor_stops_the_robot_until_a_reset():
    rig = Rig().driving()
    rig.silent.add("camera")
    assert rig.tick(20).mode == "active"
    verdict = rig.tick()
    assert (verdict.mode, verdict.command_mode) == ("stopping", "hold")
    rig.tick(100)
    assert rig.modes == ["stopping", "stopped"]
    assert rig.causes[0].startswith("signal_stale: camera 0.2")
    assert refused(rig.kernel.reset(rig.sense())) == {("signal_stale", "camera")}
    rig.silent.clear()
    assert rig.tick(500).mode == "stopped"
    assert rig.kernel.reset(rig.sense()) == ()
    assert rig.tick().values.size == 0


def test_a_sensor_that_was_stale_refuses_arming_until_a_reset():
    rig = Rig().driving()
    rig.silent.add("camera")
    rig.tick(100)
    rig.silent.clear()
    rig.kernel.disarm("by test")
    assert rig.tick(10).mode == "disarmed"
    assert refused(rig.kernel.arm(rig.sense())) == {("signal_stale", "camera")}
    assert rig.kernel.reset(rig.sense()) == ()
    assert rig.kernel.arm(rig.sense()) == ()


def test_the_age_is_counted_from_the_measurement_to_the_nanosecond():
    rig = Rig().armed()
    rig.silent.add("camera")
    inputs = rig.sense()
    rig.samples["camera"] = inputs.samples["camera"]
    edge_ns = inputs.samples["camera"].stamp_ns + 200_000_000
    rig.now_ns = edge_ns
    assert rig.kernel.judge(rig.sense()).faults == ()
    rig.now_ns = edge_ns + 1
    assert [fault.fault.id for fault in rig.kernel.judge(rig.sense()).faults] == ["signal_stale"]


def test_a_stamp_from_the_future_is_not_fresh_for_ever():
    rig = Rig().armed()
    rig.silent.add("camera")
    rig.samples["camera"] = rig.sample("camera", rig.data["camera"], age_s=-0.04)
    assert rig.tick(dt_s=0).faults == ()
    rig.samples["camera"] = rig.sample("camera", rig.data["camera"], age_s=-0.06)
    assert rig.tick(dt_s=0).faults[0].fault.id == "signal_stale"


def test_latched_faults_outlive_disarming_and_refuse_arming_until_reset():
    rig = Rig().driving()
    rig.data["bumper"] = Proximity((NearObject("front", 0.0, 0.0),))
    rig.tick(3)
    rig.data["bumper"] = Proximity((NearObject("front", 0.3, 0.0),))
    rig.tick(200)
    rig.kernel.disarm("by test")
    assert rig.tick().mode == "disarmed"
    assert rig.verdict.command_mode == "stop1"
    assert refused(rig.kernel.arm(rig.sense())) == {("contact", "bumper")}
    assert rig.kernel.reset(rig.sense()) == ()
    assert rig.tick().command_mode == "stop1"
    assert rig.kernel.arm(rig.sense()) == ()
    assert rig.tick().command_mode == "run"


def test_a_reset_that_is_refused_says_why_and_as_of_when():
    rig = Rig().driving()
    (moving,) = rig.kernel.reset(rig.sense())
    assert (moving.fault.id, moving.subject, moving.detail) == ("moving", "robot", "the mode is active")
    assert moving.since_ns == rig.now_ns
    rig.kernel.disarm("by test")
    rig.tick()
    rig.data["estop"] = EStop(True)
    braking = {cause.fault.id: cause for cause in rig.kernel.reset(rig.sense())}
    assert braking["moving"].detail == "the mode is stopping"
    rig.tick(1)
    rig.data["estop"] = EStop(False)
    rig.tick(1)
    (moving,) = rig.kernel.reset(rig.sense())
    assert (moving.detail, moving.since_ns) == ("not known to be at rest", rig.now_ns)
    rig = Rig(estop="smoke")
    rig.tick(20)
    rig.data["estop"] = EStop(True)
    (pressed,) = rig.kernel.reset(rig.sense())
    assert (pressed.fault.id, pressed.since_ns) == ("estop_pressed", rig.now_ns)


def test_a_dead_part_is_not_mended_by_a_reset():
    rig = Rig().armed()
    rig.inputs["failed_parts"] = ("ingest",)
    rig.tick()
    rig.inputs.clear()
    rig.tick(100)
    assert refused(rig.kernel.reset(rig.sense())) == {("part_failed", "ingest")}
    assert rig.tick().mode == "stopped"


def test_a_joint_beyond_its_limit_needs_only_a_disarm_once_it_is_back():
    rig = Rig(arm()).armed()
    rig.position[0] = 1.6
    rig.tick(100)
    assert rig.tick().mode == "stopped"
    rig.obeys = False
    rig.position[0] = 0
    assert rig.tick(100).mode == "stopped"
    rig.kernel.disarm("by test")
    rig.tick()
    assert rig.kernel.arm(rig.sense()) == ()


def test_a_fresh_chunk_ends_a_silence_with_a_ramp():
    rig = Rig().driving()
    rig.task = "go"
    rig.tick()
    rig.chunks = False
    assert rig.tick(50).mode == "active"
    assert rig.tick(60).mode == "stopped"
    rig.chunks = True
    verdict = rig.tick(30)
    assert rig.modes == ["stopping", "stopped", "active"]
    assert verdict.values[0] == 0
    assert 0 < rig.tick(5).values[0] <= 0.8 * 0.1 + 1e-6
    assert rig.tick(100).values[0] == pytest.approx(0.8)


def test_silence_counts_from_the_instruction():
    rig = Rig().armed()
    rig.chunks = False
    assert rig.tick(300).mode == "active"
    rig.task = "go"
    assert rig.tick(50).mode == "active"
    assert rig.tick(2).mode == "stopping"


def test_a_stop_whose_cause_went_away_before_rest_goes_on_through_the_ramp():
    rig = Rig().driving()
    rig.inputs["missed_ticks"] = 5
    rig.tick()
    rig.inputs.clear()
    before = rig.tick(100).values[0]
    assert before == 0
    assert rig.modes == ["stopping", "stopped", "active"]


# Stops that are not followed


def test_a_stop_that_is_not_followed_escalates_to_category_1_and_0():
    rig = Rig().driving()
    rig.obeys = False
    rig.kernel.disarm("by test")
    modes = [rig.tick().command_mode for _ in range(150)]
    order = list(dict.fromkeys(modes))
    assert order == ["hold", "stop1", "stop0"]
    assert modes.index("stop1") in range(20, 40)
    assert modes.index("stop0") in range(40, 80)
    assert rig.verdict.mode == "stopping"
    assert {"stop_late", "stop_failed"} <= rig.ids()
    assert refused(rig.kernel.reset(rig.sense())) == {("moving", "robot")}
    rig.velocity[:] = 0
    assert rig.tick(10).mode == "disarmed"
    assert refused(rig.kernel.arm(rig.sense())) == {("stop_late", "linear_x"), ("stop_failed", "linear_x")}
    assert rig.kernel.reset(rig.sense()) == ()


def test_a_stop_that_nothing_confirms_escalates_to_category_1_only():
    rig = Rig().driving()
    rig.silent.add("odometry")
    modes = [rig.tick().command_mode for _ in range(400)]
    assert list(dict.fromkeys(modes)) == ["run", "hold", "stop1"]
    assert rig.verdict.mode == "stopping"
    assert ("stop_late", "odometry") in refused(rig.verdict.faults)


def test_a_stop_may_be_as_slow_as_the_margin_allows():
    rig = Rig().driving()
    rig.obeys = False
    rig.kernel.disarm("by test")
    while rig.velocity[0] > 0:
        rig.tick()
        rig.velocity[0] = max(0, rig.velocity[0] - 0.01 * 2.0 / 1.4)
    rig.tick(10)
    assert rig.modes == ["stopping", "disarmed"]
    assert rig.ids() == set()


def test_a_robot_without_feedback_is_trusted_to_follow_its_ramp():
    known = {topic: signal for topic, signal in ROVER_SIGNALS.items() if topic != "odometry"}
    rig = Rig(rover(feedback="", obstacle=None), settings(known)).driving()
    rig.kernel.disarm("by test")
    rig.tick(39)
    assert rig.verdict.mode == "stopping"
    assert rig.tick(3).mode == "disarmed"
    rig.kernel.estop("by test")
    assert rig.tick().command_mode == "stop0"


def test_rest_is_believed_only_after_a_while():
    rig = Rig().driving()
    rig.obeys = False
    rig.kernel.disarm("by test")
    for speed in (0.5, -0.5, 0.02) * 5:
        rig.velocity[0] = speed
        assert rig.tick().mode == "stopping"


def test_a_robot_that_moves_again_while_it_is_held_is_stopped_again_and_harder():
    rig = Rig().driving()
    rig.kernel.stop("SIGTERM")
    assert rig.tick(200).mode == "stopped"
    rig.obeys = False
    rig.velocity[0] = 0.3
    assert list(dict.fromkeys(rig.tick().command_mode for _ in range(150))) == ["hold", "stop1", "stop0"]
    assert rig.causes[-1] == "not at rest any more; stop: SIGTERM"


def test_a_robot_that_is_held_must_be_known_to_rest():
    rig = Rig().driving()
    rig.kernel.stop("SIGTERM")
    rig.tick(200)
    rig.silent.add("odometry")
    assert list(dict.fromkeys(rig.tick().command_mode for _ in range(150))) == ["hold", "stop1"]


def test_a_robot_that_was_nudged_while_it_is_held_rests_again():
    rig = Rig().driving()
    rig.kernel.stop("SIGTERM")
    rig.tick(200)
    rig.velocity[0] = 0.1
    assert {rig.tick().command_mode for _ in range(50)} == {"hold"}
    assert rig.modes == ["stopping", "stopped", "stopping", "stopped"]
    assert rig.ids() == set()


# Emergency stop


def test_a_pressed_button_stops_with_category_1_then_0_and_latches():
    rig = Rig().driving()
    rig.data["estop"] = EStop(True)
    verdict = rig.tick()
    assert (verdict.mode, verdict.level, verdict.command_mode) == ("estop", 4, "stop1")
    assert verdict.values[0] == pytest.approx(0.78)
    assert verdict.estop_reason == "estop pressed"
    verdict = rig.tick(60)
    assert (verdict.command_mode, verdict.values.size) == ("stop0", 0)
    assert refused(rig.kernel.reset(rig.sense())) == {("estop_pressed", "estop")}
    rig.data["estop"] = EStop(False)
    assert rig.tick(500).mode == "estop"
    assert refused(rig.kernel.arm(rig.sense())) == {("estop_pressed", "estop"), ("not_disarmed", "robot")}
    assert rig.kernel.reset(rig.sense()) == ()
    verdict = rig.tick()
    assert (verdict.mode, verdict.command_mode, verdict.values.size) == ("disarmed", "stop0", 0)
    assert verdict.estop_reason is None
    assert rig.causes == ["estop: estop pressed", "reset"]
    assert rig.kernel.arm(rig.sense()) == ()
    assert rig.tick().mode == "active"


def test_a_button_pressed_since_the_last_tick_refuses_the_reset():
    rig = Rig()
    rig.tick(10)
    rig.kernel.estop("by test")
    rig.tick(10)
    rig.data["estop"] = EStop(True)
    assert refused(rig.kernel.reset(rig.sense())) == {("estop_pressed", "estop")}


def test_the_first_reason_of_an_emergency_stop_is_kept():
    rig = Rig().driving()
    rig.kernel.estop("smoke")
    rig.kernel.estop("again")
    verdict = rig.tick()
    assert verdict.estop_reason == "smoke"
    assert [(fault.fault.id, fault.detail) for fault in verdict.faults] == [("estop", "smoke")]
    rig.kernel.estop("again")
    rig.kernel.disarm("by test")
    assert rig.tick(100).estop_reason == "smoke"
    assert rig.kernel.reset(rig.sense()) == ()
    assert rig.tick(10).mode == "disarmed"


def test_arming_right_after_an_emergency_stop_is_refused():
    rig = Rig()
    rig.tick(10)
    rig.kernel.estop("smoke")
    assert refused(rig.kernel.arm(rig.sense())) == {("estop", "operator")}
    rig = Rig().armed()
    rig.kernel.estop("smoke")
    assert ("estop", "operator") in refused(rig.kernel.arm(rig.sense()))


def test_why_a_stopped_robot_cannot_be_armed_is_told_without_what_only_an_armed_one_needs():
    rig = SignalRig().driving()
    rig.kernel.stop("by test")
    rig.tick(200)
    rig.data["teleop"] = Deadman(False)
    assert "deadman_released" in {fault.fault.id for fault in rig.tick().faults}
    assert refused(rig.kernel.refusals(rig.sense())) == {("not_disarmed", "robot")}


def test_arming_waits_until_a_bundle_has_been_read_and_what_drives_already_is_not_asked():
    rig = Rig().armed()
    rig.inputs = {"reading": "tiny/2"}
    rig.tick(20)
    assert (rig.kernel.mode, refused(rig.kernel.arm(rig.sense()))) == ("active", set())
    rig.kernel.disarm("by test")
    rig.tick(200)
    sensed = rig.sense()
    (refusal,) = rig.kernel.arm(sensed)
    assert (refusal.fault.id, refusal.subject, refusal.detail) == ("bundle_reading", "policy", "tiny/2")
    assert refusal.since_ns == sensed.now_ns
    rig.inputs = {}
    assert rig.kernel.arm(rig.sense()) == ()


def test_a_latched_emergency_stop_survives_a_restart():
    rig = Rig(estop="smoke")
    assert rig.kernel.mode == "estop"
    verdict = rig.tick()
    assert (verdict.mode, verdict.command_mode, verdict.estop_reason) == ("estop", "stop0", "smoke")
    assert verdict.transitions == ()
    assert refused(rig.kernel.reset(rig.sense())) == {("moving", "robot")}
    rig.tick(10)
    assert rig.kernel.reset(rig.sense()) == ()
    assert rig.tick().mode == "disarmed"


def test_an_emergency_stop_that_is_not_followed_cuts_the_power():
    rig = Rig().driving()
    rig.obeys = False
    rig.kernel.estop("by test")
    modes = [rig.tick().command_mode for _ in range(100)]
    assert list(dict.fromkeys(modes)) == ["stop1", "stop0"]
    assert "stop_failed" in rig.ids()
    assert refused(rig.kernel.reset(rig.sense())) == {("moving", "robot")}
    rig.velocity[:] = 0
    assert rig.tick(50).mode == "estop"
    assert rig.kernel.reset(rig.sense()) == ()


def test_an_emergency_stop_that_does_not_slow_the_robot_cuts_the_power_before_it_should_be_at_rest():
    rig = Rig().driving()
    planned = 20 + 100 * 0.8 / (2.0 / rig.settings.safety.stop_margin)
    rig.obeys = False
    rig.kernel.estop("by test")
    modes = [rig.tick().command_mode for _ in range(100)]
    assert modes.index("stop0") < planned / 2


def test_an_emergency_stop_that_nothing_confirms_cuts_the_power():
    rig = Rig().driving()
    rig.silent.add("odometry")
    rig.kernel.estop("by test")
    modes = [rig.tick().command_mode for _ in range(120)]
    assert list(dict.fromkeys(modes)) == ["stop1", "stop0"]
    assert modes.index("stop0") in range(60, 110)


def test_a_reset_while_the_robot_still_brakes_is_refused():
    rig = Rig().driving()
    rig.kernel.disarm("by test")
    rig.tick()
    assert refused(rig.kernel.reset(rig.sense())) == {("moving", "robot")}
    assert refused(rig.kernel.refusals(rig.sense())) == {("not_disarmed", "robot")}


# Obstacles


def drive_at(rig: Rig, wall_m: float, ticks: int) -> float:
    """Drive at a wall that is seen 10 times a second; how much room is left."""
    travelled = 0.0
    rig.silent.add("laser")
    for tick in range(ticks):
        if tick % 10 == 0:
            y = np.linspace(-1, 1, 101)
            rig.samples["laser"] = rig.sample("laser", points(*((wall_m - travelled, float(v)) for v in y)))
        rig.tick()
        travelled += rig.velocity[0] * 0.01
    return wall_m - travelled - rig.robot.obstacle.radius


def test_the_robot_slows_down_in_time_and_halts_in_front_of_a_wall():
    rig = Rig().armed()
    rig.wanted = [0.8, 0.0]
    left = drive_at(rig, 2.0, 600)
    assert 0.045 < left < 0.08
    assert rig.modes == []
    assert rig.ids() == {"obstacle_ahead"}
    assert (rig.verdict.command_mode, rig.verdict.values[0]) == ("run", pytest.approx(0, abs=1e-3))


def test_in_front_of_a_wall_it_may_turn_and_back_away():
    rig = Rig().armed()
    rig.data["laser"] = points((0.2, 0.0), (0.2, 0.05), (0.2, -0.05))
    rig.wanted = [0.3, 0.0]
    assert rig.tick(100).values[0] == 0
    rig.wanted = [0.0, 0.9]
    verdict = rig.tick(20)
    assert rig.ids() == {"obstacle_ahead"}
    verdict = rig.tick(30)
    assert verdict.values == pytest.approx([0, 0.9])
    assert verdict.faults == ()
    rig.wanted = [-0.3, 0.0]
    assert rig.tick(100).values[0] == pytest.approx(-0.3)
    assert rig.modes == []


def test_a_sudden_obstacle_stops_it_and_it_goes_on_when_the_way_is_free():
    rig = Rig().driving()
    rig.data["laser"] = points((0.4, 0.0))
    verdict = rig.tick()
    assert (verdict.mode, verdict.command_mode, rig.ids()) == ("stopping", "hold", {"obstacle"})
    assert rig.tick(50).values[0] == 0
    rig.data["laser"] = scan()
    rig.tick(40)
    assert rig.modes[-1] == "active"
    assert rig.tick(100).values[0] == pytest.approx(0.8)


def test_what_the_robot_drove_since_the_scan_is_taken_off_the_free_way():
    rig = Rig().driving(0.5, 0.0)
    rig.silent.add("laser")
    rig.samples["laser"] = rig.sample("laser", points((0.45, 0.0)), age_s=0.29)
    rig.tick()
    assert rig.verdict.values[0] < 0.5


def test_a_scan_of_the_wrong_type_or_without_beams_blocks_everything():
    rig = Rig().driving()
    rig.data["laser"] = LaserScan(0.0, 0.1, 0.1, 8.0, np.zeros(0, dtype=np.float32))
    rig.tick()
    assert ("signal_invalid", "laser") in refused(rig.verdict.faults)
    rig = Rig().driving()
    rig.data["laser"] = odometry()
    rig.tick()
    assert ("signal_invalid", "laser") in refused(rig.verdict.faults)


def test_signals_of_the_wrong_type_are_faults_not_crashes():
    rig = Rig().armed()
    rig.data |= {"battery": EStop(False), "bumper": EStop(False), "estop": Proximity(())}
    rig.silent.add("odometry")
    rig.samples["odometry"] = rig.sample("odometry", EStop(False))
    rig.tick()
    assert {(fault.fault.id, fault.subject, fault.detail) for fault in rig.verdict.faults} == {
        ("signal_invalid", "battery", "its charge is not a number"),
        ("signal_invalid", "bumper", "is no proximity"), ("signal_invalid", "odometry", "carries a EStop"),
        ("estop_pressed", "estop", "pressed"),
    }  # fmt: skip


def test_optional_signals_that_never_came_are_not_missed():
    known = ROVER_SIGNALS | {
        topic: ROVER_SIGNALS[topic] | {"required": False} for topic in ("battery", "bumper", "estop")
    }
    rig = Rig(set_up=settings(known))
    for topic in ("battery", "bumper", "estop"):
        del rig.data[topic]
    assert rig.tick().faults == ()


def test_a_fixed_base_without_wheels_has_no_free_way():
    view = Rig(arm()).kernel._view(Inputs(S, {}))
    assert view.free_way_m(1.0, 0.0, 1.0) == 0


# Arms


def test_an_arm_starts_from_where_it_is_measured():
    rig = Rig(arm())
    rig.position[:] = (0.4, -0.7)
    rig.tick(10)
    assert rig.tick().values.size == 0
    assert rig.kernel.arm(rig.sense()) == ()
    assert rig.tick().values == pytest.approx([0.4, -0.7])
    assert rig.verdict.command_mode == "hold"
    rig.wanted = [1.0, 0.0]
    previous = rig.tick().values
    for _ in range(300):
        values = rig.tick().values
        assert (values >= previous - 1e-7).all()
        assert (values <= np.float32([1.0, 0.0]) + 1e-7).all()
        previous = values
    assert previous == pytest.approx([1.0, 0.0], abs=1e-6)


def test_the_first_chunk_must_begin_near_the_measured_pose():
    robot = arm()
    rig = Rig(robot, settings({"joints": {"type": "joint_state"}}, safety={"start_distance": 0.5})).armed()
    far = rig.make_chunk(actions=np.tile(np.float32([0.75, 0.0]), (5, 1)))
    assert not rig.kernel.admit(far, rig.now_ns)
    (told,) = rig.tick().faults
    assert told.detail == "j0 begins 0.75 from the measured pose; at most 0.5"


def test_an_arm_that_is_stopped_holds_where_it_came_to_rest():
    rig = Rig(arm()).driving(1.4, 1.4)
    rig.velocity[:] = 1
    rig.kernel.stop("SIGTERM")
    verdict = rig.tick(100)
    held = verdict.values.copy()
    assert (verdict.mode, verdict.command_mode) == ("stopped", "hold")
    assert rig.tick(10).values == pytest.approx(held)


@pytest.mark.parametrize("kind", [Kind.JOINT_DELTA, Kind.JOINT_VELOCITY])
def test_deltas_and_velocities_stay_within_the_joint_limits(kind):
    rig = Rig(arm(kind)).armed()
    rig.wanted = [2.0, -2.0]
    for _ in range(500):
        rig.tick()
        assert (rig.position <= 1.5 + 1e-6).all()
        assert (rig.position >= -1 - 1e-6).all()
    assert rig.position == pytest.approx([1.5, -1.0], abs=0.01)
    assert rig.modes == []


def test_a_delta_without_a_measured_position_has_no_values():
    rig = Rig(arm(Kind.JOINT_DELTA)).driving(0.5, 0.5)
    rig.silent.add("joints")
    verdict = rig.tick(20)
    assert (verdict.mode, verdict.values.size) == ("stopping", 0)


def test_twenty_positions_only_are_enough_to_confirm_a_stop():
    rig = Rig(arm(joints=20))
    sense = rig.sense

    def positions_only() -> Inputs:
        row = rig.position.astype(np.float32)
        rig.samples["joints"] = rig.sample("joints", JointState(rig.names, row))
        rig.silent.add("joints")
        return sense()

    rig.sense = positions_only
    rig.armed().wanted = [1.4] * 20
    rig.tick(60)
    rig.kernel.disarm("by test")
    rig.tick(100)
    assert rig.modes == ["stopping", "disarmed"]


# The rest


def test_the_same_inputs_give_the_same_bytes():
    def run() -> bytes:
        rig = Rig().armed()
        rig.wanted = [0.7, 0.9]
        out = []
        for tick in range(300):
            rig.data["laser"] = points((3.0 - 0.01 * tick, 0.3), (0.5, 1.0))
            if tick == 250:
                rig.kernel.disarm("by test")
            verdict = rig.tick()
            out.append(verdict.values.tobytes() + repr(verdict.faults).encode() + repr(verdict.mode).encode())
        return b"".join(out)

    assert run() == run()


def test_time_that_stands_still_or_jumps_moves_nothing_far():
    rig = Rig().driving()
    before = rig.verdict.values[0]
    rig.wanted = [-0.8, 0.0]
    assert rig.tick(dt_s=0).values[0] == before
    assert rig.tick(dt_s=100).values[0] >= before - 0.04 - 1e-6


def test_the_kernel_judges_before_anything_came():
    kernel = Kernel(rover(), settings(), None)
    assert kernel.judge(Inputs(S, {})).mode == "disarmed"
    assert kernel.judge(Inputs(S + TICK_NS, {})).level == 3
