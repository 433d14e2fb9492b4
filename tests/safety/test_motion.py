"""What the feedback signal says about the robot's motion, and what it cannot say."""

from __future__ import annotations

from math import inf, nan

import numpy as np
import pytest

from tests.safety.rig import S, arm, odometry, rover
from vlad.messages import EStop, JointState, Kind, Sample
from vlad.safety.motion import Feedback, Limits
from vlad.safety.reaction import Reaction
from vlad.safety.stop import Brake, StopPlan


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
    assert motion.problem


def test_joints_are_found_by_name_whatever_their_order():
    state = JointState(("x", "j1", "j0"), floats(9, 1, 0), floats(9, 0.1, 0.2))
    motion = Feedback(arm()).read(sample(state))
    assert motion.position == pytest.approx([0, 1])
    assert motion.velocity == pytest.approx([0.2, 0.1])
    assert motion.measured


@pytest.mark.parametrize("state", [
    EStop(False),
    JointState(("j0",), floats(0)),
    JointState(("j0", "j1"), None, floats(0, 0)),
    JointState(("j0", "j1"), floats(0, nan), floats(0, 0)),
    JointState(("j0", "j1"), floats(0, 0), floats(inf, 0)),
    JointState(("j0", "j1"), floats(0)),
], ids=["type", "joint", "positions", "nan", "inf", "shape"])  # fmt: skip
def test_a_state_that_lacks_what_is_needed_says_what(state):
    motion = Feedback(arm()).read(sample(state))
    assert motion.problem
    assert motion.velocity is None
    assert motion.position is None


def test_velocities_alone_are_enough_for_a_velocity_command():
    state = JointState(("j0", "j1"), None, floats(0.1, 0.2))
    motion = Feedback(arm(Kind.JOINT_VELOCITY)).read(sample(state))
    assert motion.velocity == pytest.approx([0.1, 0.2])
    assert Feedback(arm(Kind.JOINT_VELOCITY)).read(sample(JointState(("j0", "j1")))).problem


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
