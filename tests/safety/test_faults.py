"""The table as a whole, and a way to reach each of its rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import cos, nan, sin
from typing import Literal

import numpy as np
import pytest

from tests.safety.arm_rig import ArmRig
from tests.safety.rig import ROVER_SIGNALS, TICK_NS, Rig, S, arm, odometry, points, scan, settings
from tests.safety.signal_rig import SignalRig
from vlad.messages import (
    Battery,
    CenterOfMass,
    Chunk,
    Deadman,
    Doubt,
    EStop,
    Imu,
    Kind,
    NearObject,
    Pose,
    Power,
    Proximity,
    Step,
    Temperature,
    Wrench,
)
from vlad.safety.faults import FAULTS
from vlad.safety.reaction import Clears, Reaction
from vlad.safety.view import Computer, GuardReport, Inputs

LASER = ROVER_SIGNALS["laser"]


@pytest.mark.parametrize("fault", FAULTS.values(), ids=list(FAULTS))
def test_a_row_says_all_that_an_operator_needs(fault):
    assert fault.meaning.endswith(".")
    assert fault.hint.endswith(".")
    assert FAULTS[fault.id] is fault
    assert (fault.factor < 1) == (fault.reaction is Reaction.SLOW)
    assert fault.hold_s >= 0
    assert fault.clear_s > 0


@pytest.mark.parametrize("fault", FAULTS.values(), ids=list(FAULTS))
def test_what_cuts_the_power_never_clears_by_itself(fault):
    if fault.reaction >= Reaction.STOP1:
        assert fault.clears in (Clears.RESET, Clears.NEVER)
    if fault.reaction <= Reaction.SLOW and fault.id != "joint_parked":
        assert fault.clears is Clears.ITSELF


def estop(rig: Rig) -> None:
    rig.kernel.estop("by test")


def estop_pressed(rig: Rig) -> None:
    rig.data["estop"] = EStop(True)


def estop_silent(rig: Rig) -> None:
    rig.silent.add("estop")


def signal_missing(rig: Rig) -> None:
    rig.silent.add("camera")
    del rig.samples["camera"]


def signal_stale(rig: Rig) -> None:
    rig.silent.add("laser")


def signal_invalid(rig: Rig) -> None:
    rig.data["battery"] = Battery(nan, 24.0, -1.0, 30.0)


def battery_low(rig: Rig) -> None:
    rig.data["battery"] = Battery(0.15, 24.0, -1.0, 30.0)


def battery_critical(rig: Rig) -> None:
    rig.data["battery"] = Battery(0.05, 24.0, -1.0, 30.0)


def silence(rig: Rig) -> None:
    rig.task, rig.chunks = "go to the red ball", False


def _step(rig: Rig, change: Callable[[Step], Step]) -> None:
    make = rig.make_step
    rig.make_step = lambda values: change(make(values))


def _chunk(rig: Rig, **changes: object) -> None:
    make = rig.make_chunk
    rig.make_chunk = lambda: make(**changes)


def chunk_used_up(rig: Rig) -> None:
    _step(rig, lambda step: replace(step, remaining_ns=0))


def chunk_old(rig: Rig) -> None:
    _step(rig, lambda step: replace(step, stamp_ns=step.stamp_ns - S))


def chunk_not_finite(rig: Rig) -> None:
    _chunk(rig, actions=np.full((5, 2), nan, dtype=np.float32))


def chunk_shape(rig: Rig) -> None:
    _chunk(rig, actions=np.zeros((5, 3), dtype=np.float32))


def chunk_bounds(rig: Rig) -> None:
    _chunk(rig, actions=np.full((5, 2), 9.0, dtype=np.float32))


def chunk_order(rig: Rig) -> None:
    _chunk(rig, stamp_ns=rig.now_ns - 300_000_000)


def chunk_jump(rig: Rig) -> None:
    _chunk(rig, actions=np.full((5, 2), -0.8, dtype=np.float32))


def chunk_envelope(rig: Rig) -> None:
    _chunk(rig, actions=np.full((5, 2), 1.0, dtype=np.float32))


def uncertain(rig: Rig) -> None:
    _step(rig, lambda step: replace(step, uncertainty=0.95))


def low_confidence(rig: Rig) -> None:
    _step(rig, lambda step: replace(step, doubts=(Doubt("disagreement", 0.4, 0.3, 0.5),)))


def no_confidence(rig: Rig) -> None:
    _step(rig, lambda step: replace(step, doubts=(Doubt("disagreement", 0.6, 0.3, 0.5),)))


def step_invalid(rig: Rig) -> None:
    _step(rig, lambda step: replace(step, values=np.array([nan, 0], dtype=np.float32)))


def collision_predicted(rig: Rig) -> None:
    _step(rig, lambda step: replace(step, collision=0.95))


def _every_turn(rig: Rig, change: Callable[[Inputs], Inputs]) -> None:
    sense = rig.sense
    rig.sense = lambda: change(sense())


def inference_late(rig: Rig) -> None:
    _every_turn(rig, lambda inputs: replace(inputs, inference_since_ns=inputs.now_ns - S))


def inference_hung(rig: Rig) -> None:
    rig.inputs["inference_since_ns"] = rig.now_ns - S


def deadman_released(rig: Rig) -> None:
    rig.data["teleop"] = Deadman(False)


def signal_frozen(rig: Rig) -> None:
    rig.stuck.add("camera")


def signal_rate(rig: Rig) -> None:
    def flood(inputs: Inputs) -> Inputs:
        rig.counts["odometry"].received += 1
        return inputs

    _every_turn(rig, flood)


def signal_gaps(rig: Rig) -> None:
    def lose(inputs: Inputs) -> Inputs:
        rig.counts["laser"].gaps += 1
        return inputs

    _every_turn(rig, lose)


def signal_bad(rig: Rig) -> None:
    rig.counts["bumper"].refused += 100


def signal_clock(rig: Rig) -> None:
    rig.counts["battery"].off_clock += 1


def signal_replaced(rig: Rig) -> None:
    rig.silent.add("laser")


def queue_overflow(rig: Rig) -> None:
    rig.inputs["overflows"] = 3


def _computer(rig: Rig, **high: float) -> None:
    low = {"cpu": 0.1, "memory": 0.1, "gpu_memory": nan, "disk": 0.1, "celsius": nan}
    _every_turn(rig, lambda inputs: replace(inputs, computer=Computer(inputs.now_ns, **(low | high))))
    rig.tick(200)


def cpu_high(rig: Rig) -> None:
    _computer(rig, cpu=0.99)


def memory_high(rig: Rig) -> None:
    _computer(rig, memory=0.96)


def gpu_memory_high(rig: Rig) -> None:
    _computer(rig, gpu_memory=0.99)


def disk_full(rig: Rig) -> None:
    _computer(rig, disk=1.0)


def computer_hot(rig: Rig) -> None:
    _computer(rig, celsius=91.0)


def no_driver(rig: Rig) -> None:
    rig.inputs["listeners"] = 0


def not_applied(rig: Rig) -> None:
    rig.ack_age_s = 0.5


def policy_lost(rig: Rig) -> None:
    rig.inputs["policy_lost"] = "out of memory"


def policy_fallback(rig: Rig) -> None:
    rig.inputs["fallback"] = "calm/1 drives: out of memory"


def guard_silent(rig: Rig) -> None:
    rig.inputs["guard"] = None


def _guard(rig: Rig, state: Literal["stopping", "estop"]) -> None:
    _every_turn(rig, lambda inputs: replace(inputs, guard=GuardReport(inputs.now_ns, state, "by test")))


def guard_stop(rig: Rig) -> None:
    _guard(rig, "stopping")


def guard_estop(rig: Rig) -> None:
    _guard(rig, "estop")


def overrun(rig: Rig) -> None:
    """Every second tick is punctual."""
    sense = rig.sense
    rig.sense = lambda: replace(sense(), missed_ticks=2 if rig.now_ns // TICK_NS % 2 else 0)


def overrun_stop(rig: Rig) -> None:
    rig.inputs["missed_ticks"] = 5


def part_failed(rig: Rig) -> None:
    rig.inputs["failed_parts"] = ("ingest",)


def obstacle(rig: Rig) -> None:
    rig.data["laser"] = points((0.25, 0.0))


def obstacle_ahead(rig: Rig) -> None:
    rig.velocity[:] = 0
    rig.data["laser"] = points((0.2, 0.0))


def contact(rig: Rig) -> None:
    rig.data["bumper"] = Proximity((NearObject("front", 0.0, 0.0),))


def velocity_limit(rig: Rig) -> None:
    rig.obeys = False
    rig.velocity[1] = -2.5


def position_soft(rig: ArmRig) -> None:
    rig.lie(position=9.5)


def limit_ahead(rig: ArmRig) -> None:
    rig.lie(ticks=5, position=10.19, velocity=0.9)


def acceleration_limit(rig: ArmRig) -> None:
    rig.lie(ticks=5, velocity=0.9)


def effort_limit(rig: ArmRig) -> None:
    rig.lie(effort=-120.0)


def current_limit(rig: ArmRig) -> None:
    rig.lie(current=12.0)


def joint_hot(rig: ArmRig) -> None:
    rig.lie(temperature=85.0)


def joint_warm(rig: ArmRig) -> None:
    rig.lie(temperature=75.0)


def base_deviation(rig: Rig) -> None:
    def reverse(inputs: Inputs) -> Inputs:
        inputs.samples["odometry"] = rig.sample("odometry", odometry(*-rig.velocity))
        return inputs

    _every_turn(rig, reverse)


def step_deviation(rig: Rig) -> None:
    turns = np.array([0.8, 1.5], dtype=np.float32)
    _step(rig, lambda step: replace(step, values=turns) if rig.now_ns // TICK_NS % 2 else step)


def workspace(rig: ArmRig) -> None:
    rig.data["pose"] = Pose((1.1, 0.0, 0.5), (0, 0, 0, 1))


def keep_out(rig: ArmRig) -> None:
    rig.data["pose"] = Pose((0.6, 0.6, 0.5), (0, 0, 0, 1))


def person_near(rig: ArmRig) -> None:
    rig.data["people"] = Proximity((NearObject("", 0.3, 0.0),))


def person_close(rig: ArmRig) -> None:
    rig.data["people"] = Proximity((NearObject("", 1.2, 0.0),))


def contact_force(rig: ArmRig) -> None:
    rig.data["wrench"] = Wrench((20.0, -20.0, 20.0), (0, 0, 0))


def unbalanced(rig: ArmRig) -> None:
    rig.data["balance"] = CenterOfMass(0.2, -0.1, 0.5)


def tilted(rig: ArmRig) -> None:
    rig.data["imu"] = Imu((sin(0.15), 0, 0, cos(0.15)), (0, 0, 0), (0, 0, 9.8))


def power_limit(rig: ArmRig) -> None:
    rig.data["power"] = Power(501.0)


def component_hot(rig: ArmRig) -> None:
    rig.data["heat"] = Temperature({"hip": 40.0, "knee": 81.0})


def component_warm(rig: ArmRig) -> None:
    rig.data["heat"] = Temperature({"hip": 40.0, "knee": 71.0})


def stop_late(rig: Rig) -> None:
    rig.obeys = False
    rig.kernel.disarm("by test")


def stop_failed(rig: Rig) -> None:
    stop_late(rig)


REACHED = [
    estop, estop_pressed, estop_silent, signal_missing, signal_stale, signal_invalid, battery_low,
    battery_critical, silence, chunk_used_up, chunk_old, chunk_not_finite, chunk_shape, chunk_bounds,
    chunk_order, chunk_jump, chunk_envelope, uncertain, low_confidence, no_confidence, step_invalid,
    collision_predicted,
    inference_late, overrun, part_failed, overrun_stop, obstacle, obstacle_ahead, contact, velocity_limit,
    stop_late, stop_failed,
]  # fmt: skip
REACHED += [
    deadman_released, signal_frozen, signal_rate, signal_gaps, signal_bad, signal_clock, signal_replaced,
    inference_hung, queue_overflow, cpu_high, memory_high, gpu_memory_high, disk_full,
    computer_hot, no_driver, not_applied, policy_lost, policy_fallback, guard_silent, guard_stop, guard_estop,
]  # fmt: skip
OF_AN_ARM = [
    position_soft, limit_ahead, acceleration_limit, effort_limit, current_limit, joint_hot, joint_warm,
    workspace, keep_out, person_near, person_close, contact_force, unbalanced, tilted, power_limit,
    component_hot, component_warm,
]  # fmt: skip
REACHED += [base_deviation, step_deviation, *OF_AN_ARM]
RIGS: dict[str, Callable[[], Rig]] = dict.fromkeys(
    ("deadman_released", "signal_rate", "signal_gaps", "signal_bad", "signal_clock", "not_applied"), SignalRig
)
RIGS |= dict.fromkeys((cause.__name__ for cause in OF_AN_ARM), lambda: ArmRig())
RIGS["signal_frozen"] = lambda: SignalRig({"camera": {"frozen_s": 0.3}})
RIGS["signal_replaced"] = lambda: SignalRig({"laser": {"backups": ["laser_2"]}, "laser_2": LASER})
"""Where the ordinary rig does not have what the cause needs."""
ELSEWHERE = {
    "position_limit", "following_error", "joint_parked", "not_disarmed", "moving", "signal_estimated",
    "jerk_limit", "bundle_reading",
}  # fmt: skip
"""Rows with a test of their own: test_joints, test_parking, test_kernel, test_failover, test_envelope."""
SPEED = {Reaction.REPORT: 0.8, Reaction.SLOW: 0.4}


@pytest.mark.parametrize("cause", REACHED, ids=lambda cause: cause.__name__)
def test_a_fault_is_reported_and_gets_the_reaction_of_its_row(cause):
    rig = RIGS.get(cause.__name__, Rig)().driving()
    fault = FAULTS[cause.__name__]
    cause(rig)
    seen = set()
    for _ in range(200):
        rig.tick()
        seen |= rig.ids()
    verdict = rig.verdict
    assert fault.id in seen
    match fault.reaction:
        case Reaction.REPORT:
            assert verdict.mode == "active"
        case Reaction.SLOW:
            assert (verdict.mode, verdict.command_mode) == ("degraded", "run")
            assert verdict.values[0] == pytest.approx(0.8 * fault.factor)
        case Reaction.ESTOP:
            assert (verdict.mode, verdict.command_mode) == ("estop", "stop0")
        case _:
            assert {"stopping", "stopped", "estop"} & set(rig.modes)
            expected = {Reaction.STOP2: "hold", Reaction.STOP1: "stop1", Reaction.STOP0: "stop0"}
            if fault.id not in ("velocity_limit", "stop_late", "obstacle"):
                assert verdict.command_mode == expected[fault.reaction]
                assert not verdict.values.any()


def test_a_joint_beyond_its_limit_is_a_fault():
    rig = Rig(arm()).armed()
    rig.obeys = False
    rig.position[1] = 1.6
    verdict = rig.tick()
    assert [(fault.fault.id, fault.subject) for fault in verdict.faults] == [("position_limit", "j1")]
    assert verdict.mode == "stopping"


def test_reactions_read_well():
    assert [str(reaction) for reaction in Reaction] == ["report", "slow", "stop2", "stop1", "stop0", "estop"]


def test_every_row_is_reached_by_a_test():
    reached = {cause.__name__ for cause in REACHED}
    assert set(FAULTS) - reached == ELSEWHERE


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": Kind.JOINT_POSITION},
        {"names": ("angular_z", "linear_x")},
        {"actions": np.zeros((5, 3), dtype=np.float32)},
        {"actions": np.zeros((0, 2), dtype=np.float32)},
        {"actions": np.zeros(2, dtype=np.float32)},
        {"actions": np.zeros((5, 2), dtype=np.int64)},
        {"actions": np.full((5, 2), np.inf, dtype=np.float32)},
        {"actions": np.full((5, 2), 3.0, dtype=np.float32)},
        {"actions": np.full((5, 2), -3.0, dtype=np.float32)},
        {"collision": nan},
        {"collision": 1.5},
        {"step_ns": 0},
        {"stamp_ns": 0},
        {"stamp_ns": 10**18},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_chunk_that_cannot_be_meant_for_this_robot_is_refused(changes):
    rig = Rig().armed()
    assert not rig.kernel.admit(rig.make_chunk(**changes), rig.now_ns)
    rig.chunks = False
    verdict = rig.tick()
    (found,) = verdict.faults
    assert found.fault.id in ("chunk_shape", "chunk_not_finite", "chunk_bounds", "chunk_order")
    assert verdict.faults[0].detail
    assert verdict.mode == "degraded"
    assert rig.tick(60).mode == "active"


@pytest.mark.parametrize(("kind", "good", "bad"), [
    (Kind.JOINT_POSITION, 2.0, 4.1), (Kind.JOINT_DELTA, -0.29, -0.31), (Kind.JOINT_VELOCITY, 2.9, 3.1),
])  # fmt: skip
def test_an_exaggeration_is_bounded_and_nonsense_is_refused(kind, good, bad):
    joints = {"joints": {"type": "joint_state"}}
    rig = Rig(arm(kind), settings(joints))

    def chunk(value: float) -> Chunk:
        return rig.make_chunk(actions=np.full((5, 2), value, dtype=np.float32))

    assert rig.kernel.admit(chunk(good), rig.now_ns)
    assert not rig.kernel.admit(chunk(bad), rig.now_ns)


def test_a_first_chunk_far_from_the_measured_pose_is_refused_with_the_distance():
    rig = Rig(arm(), settings({"joints": {"type": "joint_state"}})).armed()
    rig.chunks = False
    far = rig.make_chunk(actions=np.full((5, 2), [0.1, -0.5], dtype=np.float32))
    assert not rig.kernel.admit(far, rig.now_ns)
    (found,) = rig.tick().faults
    assert (found.fault.id, found.detail) == (
        "chunk_jump", "j1 begins 0.5 from the measured pose; at most 0.3",
    )  # fmt: skip
    assert rig.kernel.admit(rig.make_chunk(actions=np.full((5, 2), 0.2, dtype=np.float32)), rig.now_ns)


@pytest.mark.parametrize(("kind", "good", "bad"), [
    (Kind.JOINT_POSITION, 0.019, 0.022), (Kind.JOINT_DELTA, 0.01, 0.022), (Kind.JOINT_VELOCITY, 1.0, 1.06),
])  # fmt: skip
def test_steps_beyond_the_limits_anywhere_in_a_chunk_are_told(kind, good, bad):
    rig = Rig(arm(kind)).armed()
    rig.chunks = False
    for value, told in ((good, set()), (bad, {"chunk_envelope"})):
        actions = np.zeros((5, 2), dtype=np.float32)
        actions[3:, 1] = value
        assert rig.kernel.admit(rig.make_chunk(actions=actions, step_ns=20_000_000), rig.now_ns)
        rig.tick()
        assert rig.ids() == told


def test_the_limit_of_the_collision_head_can_be_switched_off():
    rig = Rig(set_up=settings(safety={"collision_threshold": 1.0})).driving()
    _step(rig, lambda step: replace(step, collision=1.0))
    assert rig.tick(50).mode == "active"
    _step(rig, lambda step: replace(step, collision=nan))
    assert rig.tick().mode == "stopping"


@pytest.mark.parametrize("doubt", [nan, np.inf])
def test_a_doubt_that_is_no_number_stops_the_robot(doubt):
    rig = Rig().driving()
    _step(rig, lambda step: replace(step, uncertainty=doubt))
    assert rig.tick().mode == "stopping"
    assert rig.ids() == {"step_invalid"}


@pytest.mark.parametrize(("value", "limits", "faults"), [
    (0.3, (0.3, 0.5), []), (0.31, (0.3, 0.5), ["low"]), (0.5, (0.3, 0.5), ["low"]),
    (0.51, (0.3, 0.5), ["low", "no"]), (np.inf, (0.3, 0.5), ["low", "no"]), (nan, (0.3, 0.5), ["low", "no"]),
    (9e9, (np.inf, np.inf), []),
])  # fmt: skip
def test_doubt_counts_above_its_limits_and_not_at_all_where_nobody_calibrated_it(value, limits, faults):
    rig = Rig().driving()
    quiet = Doubt("spread", 0.0, 0.1, 0.2)
    _step(rig, lambda step: replace(step, doubts=(quiet, Doubt("disagreement", value, *limits))))
    rig.tick(20)
    assert rig.ids() == {f"{fault}_confidence" for fault in faults}
    assert {fault.subject for fault in rig.verdict.faults} <= {"disagreement"}


def test_a_policy_that_is_sure_again_goes_on_by_itself():
    rig = Rig().driving()
    make = rig.make_step
    for value, mode in ((0.6, "stopped"), (0.4, "degraded"), (0.1, "active")):
        doubts = (Doubt("disagreement", value, 0.3, 0.5),)
        rig.make_step = lambda values, doubts=doubts: replace(make(values), doubts=doubts)
        assert rig.tick(150).mode == mode


def test_a_moment_of_great_doubt_slows_the_robot_down_and_does_not_stop_it():
    rig = Rig().driving()
    make = rig.make_step
    rig.make_step = lambda values: replace(make(values), doubts=(Doubt("disagreement", 9.0, 0.3, 0.5),))
    rig.tick(9)
    rig.make_step = make
    rig.tick(60)
    assert rig.modes == ["degraded", "active"]


@pytest.mark.parametrize(("value", "faults"), [
    (0.4, {"low_confidence"}), (9.0, {"low_confidence", "no_confidence"}),
])  # fmt: skip
def test_doubt_counts_for_another_half_second_and_not_before_the_robot_is_armed(value, faults):
    rig = Rig()
    make, rig.wanted = rig.make_step, [0.0, 0.0]
    rig.make_step = lambda values: replace(make(values), doubts=(Doubt("disagreement", value, 0.3, 0.5),))
    rig.tick(20)
    assert rig.ids() == set()
    assert rig.kernel.arm(rig.sense()) == ()
    rig.tick(20)
    rig.make_step = make
    rig.tick(49)
    assert rig.ids() == faults
    rig.tick()
    assert rig.ids() == set()


def test_steps_for_another_robot_are_not_followed():
    rig = Rig().driving()
    _step(rig, lambda step: replace(step, names=("linear_x", "angular_x")))
    rig.tick()
    assert rig.ids() == {"step_invalid"}


def test_a_gentle_drive_raises_nothing():
    rig = Rig().armed()
    rig.task, rig.wanted = "go", [0.5, 0.3]
    rig.data["laser"] = scan(4.0)
    for _ in range(300):
        assert rig.tick().faults == ()
    assert rig.modes == []
