"""What the feedback signal says about the robot's motion, and what it cannot say."""

from __future__ import annotations

from math import inf, nan

import numpy as np
import pytest

from tests.safety.rig import S, arm, odometry, rover
from vlad.messages import EStop, JointState, Kind, Sample
from vlad.safety.motion import Feedback, Limits, Past, turning
from vlad.safety.reaction import Reaction
from vlad.safety.stop import Brake, StopPlan

WHEEL = {"velocity": 1.0, "acceleration": 4.0}


def sample(data, stamp_s: float = 1.0) -> Sample:
    return Sample("feedback", 1, round(stamp_s * S), round(stamp_s * S), "base_link", data)


def floats(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)


def test_a_twist_is_read_in_the_order_of_the_axes():
    motion = Feedback(rover()).read(sample(odometry(0.5, -0.2)))
    assert list(motion.velocity) == [0.5, -0.2]
    assert (motion.position, motion.measured, motion.problem) == (None, True, "")


@pytest.mark.parametrize("bad", [nan, inf, -inf])
def test_a_twist_that_is_not_finite_says_nothing(bad):
    motion = Feedback(rover()).read(sample(odometry(0.5, bad)))
    assert motion.velocity is None
    assert motion.problem == "its twist is not finite, or beyond all measure"


def test_a_twist_may_be_as_large_as_a_single_float():
    largest = float(np.finfo(np.float32).max)
    assert Feedback(rover()).read(sample(odometry(largest, -largest))).problem == ""


def test_the_turn_rate_is_found_by_its_name():
    limits = Limits(rover())
    assert turning(np.array([0.5, -0.2]), limits) == -0.2
    straight = Limits(rover(axes={"linear_x": rover().axes["linear_x"]}))
    assert turning(np.array([0.5]), straight) == 0


def test_an_axis_without_limits_of_position_has_none():
    limits = Limits(rover())
    assert (limits.lower.tolist(), limits.upper.tolist()) == ([-inf, -inf], [inf, inf])


def test_the_way_to_rest_has_the_direction_of_the_motion():
    assert Limits(arm()).stopping(np.array([1.0, -0.5])) == pytest.approx([0.1, -0.025])


def test_of_two_measurements_of_one_moment_the_first_counts():
    past = Past()
    assert past.before(S, "first") is None
    assert past.before(S, "second") is None
    assert past.before(S + 29_999_999, "third") is None
    assert past.before(S + 30_000_000, "fourth") == (0.03, "first")
    assert past.before(S + 60_000_000, "fifth") == (0.03, "fourth")


def test_joints_are_found_by_name_whatever_their_order():
    state = JointState(("x", "j1", "j0"), floats(9, 1, 0), floats(9, 0.1, 0.2))
    motion = Feedback(arm()).read(sample(state))
    assert motion.position == pytest.approx([0, 1])
    assert motion.velocity == pytest.approx([0.2, 0.1])
    assert motion.measured


@pytest.mark.parametrize(("state", "problem"), [
    (EStop(False), "carries a EStop"),
    (JointState(("j0",), floats(0)), "lacks the joints j1"),
    (JointState(("x",), floats(0)), "lacks the joints j0, j1"),
    (JointState((), floats(), floats()), "lacks the joints j0, j1"),
    (JointState(("j0", "j1"), None, floats(0, 0)), "has no positions"),
    (JointState(("j0", "j1"), floats(0, nan), floats(0, 0)), "has values that are not finite"),
    (JointState(("j0", "j1"), floats(0, 0), floats(inf, 0)), "has values that are not finite"),
    (JointState(("j0", "j1"), floats(0)), "has not one value for each joint"),
], ids=["type", "joint", "joints", "nothing", "positions", "nan", "inf", "shape"])  # fmt: skip
def test_a_state_that_lacks_what_is_needed_says_what(state, problem):
    motion = Feedback(arm()).read(sample(state))
    assert motion.problem == problem
    assert motion.velocity is None
    assert motion.position is None


def test_velocities_alone_are_enough_for_a_velocity_command_without_limits_of_position():
    wheels = arm(Kind.JOINT_VELOCITY, axes={"j0": WHEEL, "j1": WHEEL})
    state = JointState(("j0", "j1"), None, floats(0.1, 0.2))
    motion = Feedback(wheels).read(sample(state))
    assert motion.velocity == pytest.approx([0.1, 0.2])
    assert Feedback(wheels).read(sample(JointState(("j0", "j1")))).problem
    for kind in (Kind.JOINT_VELOCITY, Kind.JOINT_POSITION, Kind.JOINT_DELTA):
        assert Feedback(arm(kind)).read(sample(state)).problem == "has no positions"


def test_limits_of_position_of_one_joint_are_enough_to_need_positions():
    robot = arm(Kind.JOINT_VELOCITY, axes={"j0": WHEEL, "j1": WHEEL | {"lower": -1.0, "upper": 1.0}})
    state = JointState(("j0", "j1"), None, floats(0.1, 0.2))
    assert Feedback(robot).read(sample(state)).problem == "has no positions"


def test_velocity_is_the_difference_of_positions_where_the_driver_sends_none():
    feedback = Feedback(arm())
    names = ("j0", "j1")
    first = feedback.read(sample(JointState(names, floats(0, 0)), 1.0))
    assert first.velocity is None
    second = sample(JointState(names, floats(0.1, -0.2)), 1.1)
    motion = feedback.read(second)
    assert motion.velocity == pytest.approx([1.0, -2.0])
    assert not motion.measured
    assert feedback.read(second) is motion
    again = feedback.read(sample(JointState(names, floats(0.5, 0.5)), 1.1))
    assert again.velocity == pytest.approx([1.0, -2.0])
    feedback.read(sample(JointState(names, floats(nan, 0)), 1.2))
    assert feedback.read(sample(JointState(names, floats(0, 0)), 1.3)).velocity is None


def test_a_plan_waits_for_the_latency_then_ramps_down():
    plan = StopPlan(0, Reaction.STOP2, np.array([0.8, 0.0]), np.array([2.0, 6.0]))
    assert plan.allowed(S // 5) == pytest.approx([0.8, 0])
    assert plan.allowed(S * 4 // 10) == pytest.approx([0.4, 0])
    assert not plan.over(S * 59 // 100)
    assert plan.over(S * 61 // 100)
    assert not StopPlan(0, Reaction.STOP2, np.zeros(2), np.ones(2)).over(S // 10)


def test_the_category_only_rises_until_the_robot_is_armed():
    brake = Brake(Limits(rover()), has_feedback=True, margin=1.5, category=Reaction.STOP2)
    speed = np.array([0.8, 0.0])
    brake.demand(Reaction.STOP2, speed, 0, begins=True)
    first = brake.plan
    brake.demand(Reaction.STOP2, speed, S, begins=False)
    assert brake.plan is first
    brake.demand(Reaction.STOP1, speed, 2 * S, begins=False)
    assert (brake.category, brake.plan.started_ns) == (Reaction.STOP1, 2 * S)
    brake.demand(Reaction.STOP2, speed, 3 * S, begins=False)
    assert brake.category is Reaction.STOP1
    brake.release()
    assert (brake.category, brake.plan) == (Reaction.STOP2, None)
