"""Joints and base against their limits, and against what was commanded."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.safety.arm_rig import ArmRig, limits
from tests.safety.rig import TICK_NS, Rig, S, arm, odometry, rover, settings
from vlad.messages import JointState, Kind, Sample
from vlad.robot import Robot
from vlad.safety.axes import AxisWatch, RecentCommands
from vlad.safety.motion import Feedback, Limits, Motion

ROBOT = limits(Kind.JOINT_POSITION, {"lower": -1.0, "upper": 1.0, "soft_margin": 0.2})
"""Velocity 0.8, acceleration 4, deceleration 5, effort 100, current 10, temperature 80; slack 0.02."""


def watch(robot: Robot = ROBOT) -> AxisWatch:
    return AxisWatch(robot, Limits(robot))


def found(motion: Motion, commanded=None, robot: Robot = ROBOT) -> dict[str, str]:
    commanded = None if commanded is None else np.array(commanded)
    return {finding.fault: finding.subject for finding in watch(robot).findings(motion, commanded)}


def at(position=(0.0, 0.0), velocity=(0.0, 0.0), **rows) -> Motion:
    more = {field: np.array(row) for field, row in rows.items()}
    return Motion(np.array(velocity), np.array(position), measured=True, **more)


@pytest.mark.parametrize(("position", "faults"), [
    (0.79, set()), (-0.79, set()), (0.81, {"position_soft"}), (-0.81, {"position_soft"}),
    (1.02, {"position_soft"}), (-1.02, {"position_soft"}), (1.021, {"position_limit"}),
    (-1.021, {"position_limit"}),
])  # fmt: skip
def test_a_position_is_good_soft_or_beyond(position, faults):
    assert set(found(at((0.0, position)))) == faults


def test_a_position_beyond_its_limit_is_told():
    (finding,) = watch().findings(at((0.0, 1.5)), None)
    assert finding.detail == "at 1.500"


def test_without_a_soft_margin_only_the_limit_counts():
    robot = limits(Kind.JOINT_POSITION, {"lower": -1.0, "upper": 1.0, "soft_margin": 0.0})
    assert found(at((1.019, -1.019)), robot=robot) == {}
    assert found(at((0.0, -1.021)), robot=robot) == {"position_limit": "j1"}
    assert found(at((1.021, 0.0)), robot=robot) == {"position_limit": "j0"}


def test_the_deeper_in_the_soft_zone_the_more_severe():
    shallow, deep = (watch().findings(at((p, 0.0)), None)[0].severity for p in (0.85, 0.95))
    assert (shallow, deep) == (pytest.approx(0.25), pytest.approx(0.75))
    assert watch().findings(at((1.01, 0.0)), None)[0].severity == 1


@pytest.mark.parametrize(("position", "velocity", "faults"), [
    (0.75, 0.9, set()), (-0.75, -0.9, set()), (0.99, 0.9, {"position_soft", "limit_ahead"}),
    (0.93, 0.9, {"position_soft"}), (-0.93, -0.9, {"position_soft"}),
    (1.02, 0.9, {"position_soft", "limit_ahead"}), (-1.02, -0.9, {"position_soft", "limit_ahead"}),
    (-0.99, -0.9, {"position_soft", "limit_ahead"}), (0.99, -0.9, {"position_soft"}),
    (1.03, 0.9, {"position_limit"}),
])  # fmt: skip
def test_a_joint_must_be_able_to_stop_before_its_limit(position, velocity, faults):
    """From 0.9, a sixth of it forgiven, it needs 0.056 to rest."""
    assert set(found(at((0.0, position), (0.0, velocity)))) == faults


def test_the_way_to_the_limit_counts_with_a_velocity_that_was_not_measured_too():
    motion = Motion(np.array([0.9, 9.0]), np.array([0.99, 0.0]))
    assert set(found(motion)) == {"position_soft", "limit_ahead"}


@pytest.mark.parametrize("velocity", [0.97, -0.97])
def test_a_measured_velocity_beyond_its_limit_is_a_fault(velocity):
    assert found(at(velocity=(0.95, -0.95))) == {}
    assert found(at(velocity=(0.0, velocity))) == {"velocity_limit": "j1"}


@pytest.mark.parametrize(("field", "good", "bad", "fault"), [
    ("speeding", 12.7, 12.9, "acceleration_limit"), ("effort", 99.0, 101.0, "effort_limit"),
    ("effort", -99.0, -101.0, "effort_limit"), ("current", 9.9, 10.1, "current_limit"),
    ("current", -9.9, -10.1, "current_limit"), ("temperature", 70.0, 71.0, "joint_warm"),
    ("temperature", 80.0, 81.0, "joint_hot"), ("temperature", -300.0, 1e30, "joint_hot"),
])  # fmt: skip
def test_a_quantity_beyond_its_limit_is_a_fault(field, good, bad, fault):
    assert fault not in found(at(**{field: (good, good)}))
    assert found(at(**{field: (0.0, bad)})) == {fault: "j1"}


def test_slowing_down_is_never_too_fast():
    assert found(at(speeding=(-1e6, -1e6))) == {}


def test_a_joint_without_a_limit_of_effort_may_push_as_it_likes():
    robot = limits(Kind.JOINT_POSITION, {"effort": None})
    assert found(at(effort=(1e30, 0.0)), robot=robot) == {}


def test_heat_is_graded():
    warm, warmer = (watch().findings(at(temperature=(t, 0.0)), None)[0].severity for t in (72.5, 77.5))
    assert (warm, warmer) == (pytest.approx(0.25), pytest.approx(0.75))


@pytest.mark.parametrize("kind", list(Kind)[1:])
def test_a_joint_far_from_where_it_is_commanded_is_a_fault(kind):
    robot = limits(kind, {"following_error": 0.3})
    expected = {} if kind is Kind.JOINT_VELOCITY else {"following_error": "j1"}
    assert found(at((0.0, 0.0)), (0.0, 0.29), robot) == {}
    assert found(at((0.0, 0.0)), (0.0, 0.31), robot) == expected
    assert found(at((0.0, 0.0)), (0.0, -0.31), robot) == expected
    assert found(at((0.0, 0.5)), (0.0, 0.5), robot) == {}


def test_the_same_measurement_is_judged_once_and_a_useless_one_not_at_all():
    axes, motion = watch(), at((2.0, 0.0))
    first = axes.findings(motion, None)
    assert axes.findings(motion, np.array([9.0, 9.0])) is first
    assert axes.findings(Motion(problem="broken"), None) == ()
    assert axes.findings(at(), None) == ()


def test_what_is_no_longer_measured_is_no_longer_judged():
    axes = watch()
    assert axes.findings(at(effort=(200.0, 0.0)), None)
    assert axes.findings(at(), None) == ()


@pytest.mark.parametrize(("lower", "upper"), [(2.0, 4.0), (-4.0, -2.0)])
def test_an_axis_that_never_stands_still_at_zero_may_be_unmeasured(lower, upper):
    robot = limits(Kind.JOINT_VELOCITY, {"lower": lower, "upper": upper, "soft_margin": 0.0})
    assert found(Motion(np.zeros(2), None, measured=True), robot=robot) == {}


def test_following_error_stops_an_arm_that_is_held():
    rig = ArmRig(limits(Kind.JOINT_POSITION)).armed()
    rig.obeys, rig.wanted = False, [0.0, 2.0]
    rig.tick(150)
    assert any(cause.startswith("following_error: j1") for cause in rig.causes)


# What the joint_state must be


def state(**rows) -> JointState:
    given = {"position": np.zeros(2, np.float32)} | rows
    return JointState(("j0", "j1"), **given)


def read(data, feedback: Feedback | None = None, stamp_ns: int = 0) -> Motion:
    feedback = feedback or Feedback(ROBOT)
    return feedback.read(Sample("joints", 0, stamp_ns, stamp_ns, "", data))


@pytest.mark.parametrize("field", ["position", "velocity", "effort", "current", "temperature"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_number_that_is_not_finite_makes_the_sample_useless(field, value):
    motion = read(state(**{field: np.array([0, value], np.float32)}))
    assert motion.problem == "has values that are not finite"
    assert motion.position is None


@pytest.mark.parametrize("field", ["position", "velocity", "effort", "current", "temperature"])
def test_a_row_of_another_length_makes_the_sample_useless(field):
    assert read(state(**{field: np.zeros(3, np.float32)})).problem == "has not one value for each joint"


def test_every_field_comes_in_the_order_of_the_axes():
    names = ("other", "j1", "j0")
    rows = np.arange(15, dtype=np.float32).reshape(5, 3)
    motion = read(JointState(names, *rows))
    order = [2, 1]
    for row, field in zip(rows, ("position", "velocity", "effort", "temperature", "current"), strict=True):
        assert getattr(motion, field).tolist() == row[order].tolist()
        assert getattr(motion, field).dtype == np.float64


def test_positions_are_needed_to_know_where_an_arm_with_a_description_is(tmp_path):
    workspace = {"urdf": tmp_path / "arm.urdf", "tip": "hand", "box": {"min": (0, 0, 0), "max": (1, 1, 1)}}
    data = JointState(("j0", "j1"), velocity=np.zeros(2, np.float32))
    free = {"axes": {name: {"velocity": 1.0, "acceleration": 4.0} for name in data.names}}
    assert read(data, Feedback(arm(Kind.JOINT_VELOCITY, **free))).problem == ""
    described = arm(Kind.JOINT_VELOCITY, workspace=workspace, **free)
    assert read(data, Feedback(described)).problem == "has no positions"


@pytest.mark.parametrize("twist", [(1e300, 0.0), (0.0, -1e300), (np.nan, 0.0), (0.0, np.inf)])
def test_a_twist_beyond_all_measure_is_useless(twist):
    assert read(odometry(*twist), Feedback(rover())).problem


def test_the_gain_of_speed_is_taken_over_30_ms_or_more():
    feedback = Feedback(rover())
    gains = []
    for tick in range(8):
        speed = 0.0 if tick < 3 else -0.1 * (tick - 2)
        motion = read(odometry(speed, 0.0), feedback, tick * TICK_NS)
        gains.append(None if motion.speeding is None else round(float(motion.speeding[0]), 3))
    assert gains == [None, None, None, 3.333, 6.667, 10.0, 10.0, 10.0]
    assert read(odometry(0.0, 0.0), feedback, 6 * TICK_NS).speeding is None
    assert read(odometry(0.0, 0.0), feedback, 20 * TICK_NS).speeding[0] == pytest.approx(-0.5 / 0.13)


@given(st.lists(st.tuples(st.floats(width=32), st.floats(width=32)), min_size=5, max_size=5), st.booleans())
def test_whatever_a_joint_state_says_it_is_judged_or_useless(rows, other_order):
    names = ("j1", "j0") if other_order else ("j0", "j1")
    data = JointState(names, *(np.array(row, np.float32) for row in rows))
    feedback = Feedback(ROBOT)
    read(state(velocity=np.zeros(2, np.float32)), feedback, 0)
    with np.errstate(all="raise"):
        motion = read(data, feedback, S // 10)
        findings = watch().findings(motion, np.zeros(2))
    if not np.isfinite(rows).all():
        assert motion.problem
        assert findings == ()
        return
    assert motion.problem == ""
    faulty = {(finding.fault, finding.subject) for finding in findings}
    for name, position, effort, heat in zip(names, rows[0], rows[2], rows[3], strict=True):
        assert (("position_limit", name) in faulty) == (abs(np.float32(position)) > 1.02)
        assert (("effort_limit", name) in faulty) == (abs(effort) > 100)
        assert (("joint_hot", name) in faulty) == (heat > 80)


# Base


def recent(*velocities: float) -> RecentCommands:
    commands = RecentCommands(Limits(rover()), TICK_NS)
    for linear in velocities:
        commands.add(np.array([linear, 0.0]))
    return commands


@pytest.mark.parametrize(("measured", "within"), [
    (0.59, True), (0.61, False), (-0.19, True), (-0.21, False), (0.2, True),
])  # fmt: skip
def test_a_base_may_be_as_fast_as_it_was_commanded_lately(measured, within):
    commands = recent(0.4, 0.3)
    beyond = commands.beyond(np.array([measured, 0.0]))
    assert (beyond is None or beyond[0] <= 0) == within


@pytest.mark.parametrize("sign", [1, -1])
def test_a_fast_command_of_one_axis_allows_another_nothing(sign):
    assert recent(sign * 0.8).beyond(np.array([0.0, sign * 0.7]))[1] == pytest.approx(0.2)


def test_a_command_counts_for_0_3_s():
    assert recent(0.8, *[0.0] * 29).beyond(np.array([0.9, 0.0]))[0] < 0
    assert recent(*[0.0] * 9, 0.8).beyond(np.array([0.9, 0.0])) is None
    assert recent(0.8, *[0.0] * 30).beyond(np.array([0.9, 0.0]))[0] > 0


def wrong(rig: Rig, change) -> Rig:
    sense = rig.sense

    def sensed():
        inputs = sense()
        inputs.samples["odometry"] = rig.sample("odometry", odometry(*change(rig.velocity)))
        return inputs

    rig.sense = sensed
    return rig


@pytest.mark.parametrize("change", [lambda v: 0 * v, lambda v: -v, lambda v: 1.4 * v, lambda v: v[::-1]])
def test_a_base_that_moves_otherwise_than_commanded_is_found_within_half_a_second(change):
    rig = wrong(Rig().driving(0.6, 0.3), change)
    rig.tick(50)
    assert rig.causes[0].startswith(("base_deviation", "acceleration_limit"))


def test_a_base_that_does_not_start_is_found():
    rig = wrong(Rig().armed(), lambda v: 0 * v)
    rig.wanted = [0.8, 0.0]
    rig.tick(80)
    assert rig.causes[0].startswith("base_deviation: linear_x")


def test_a_base_that_follows_late_is_none_that_deviates():
    rig = Rig(set_up=settings(safety={"arm_ramp_s": 0})).armed()
    late = [rig.velocity.copy()] * 12
    wrong(rig, lambda v: (late.append(v.copy()), late.pop(0))[1])
    for wanted in ([0.8, 2.0], [-0.8, -2.0], [0.0, 0.0], [0.8, -2.0]):
        rig.wanted = wanted
        rig.tick(80)
    assert rig.modes == ["degraded", "active"] * 3
    assert all(cause.startswith(("step_deviation", "chunk_jump")) for cause in rig.causes[::2])


def test_a_base_that_is_pushed_while_it_is_stopped_does_not_deviate():
    rig = Rig().driving()
    rig.kernel.stop("by test")
    rig.tick(100)
    wrong(rig, lambda v: v + 0.5)
    rig.tick(50)
    assert "base_deviation" not in rig.ids()


def test_turns_between_ticks_do_not_shorten_the_time_a_command_counts():
    rig = Rig().driving()
    rig.wanted, rig.obeys = [0.5, 0.0], False
    rig.inputs["early"] = True
    for _ in range(100):
        rig.tick(dt_s=0.001)
    assert rig.modes == []


def test_without_a_velocity_a_base_is_not_judged():
    rig = Rig().driving()
    rig.silent.add("odometry")
    rig.tick(5)
    wrong(rig, lambda v: v * np.nan)
    rig.tick(50)
    assert not any(cause.startswith("base") for cause in rig.causes)


# Steps


@pytest.mark.parametrize(("kind", "small", "large"), [
    (Kind.JOINT_VELOCITY, 0.39, 0.41), (Kind.JOINT_POSITION, 0.079, 0.081), (Kind.JOINT_DELTA, 0.079, 0.081),
])  # fmt: skip
def test_steps_that_jump_slow_the_robot(kind, small, large):
    rig = ArmRig(limits(kind)).armed()
    rig.wanted = [0.0, 0.0]
    rig.tick()
    rig.wanted = [0.0, small]
    assert rig.tick().mode == "active"
    rig.wanted = [0.0, small - large]
    verdict = rig.tick()
    assert [(f.fault.id, f.subject) for f in verdict.faults] == [("step_deviation", "j1")]
    assert verdict.mode == "degraded"
    assert rig.tick(60).mode == "active"


def test_a_first_step_and_one_that_makes_no_sense_do_not_jump():
    rig = Rig().armed()
    rig.wanted = [0.8, 0.0]
    rig.tick()
    assert rig.ids() == set()
    make = rig.make_step
    for values in (np.array([np.nan, 0], np.float32), np.zeros(3, np.float32)):
        rig.make_step = lambda wanted, values=values: replace(make(wanted), values=values)
        rig.tick()
        assert "step_deviation" not in rig.ids()
