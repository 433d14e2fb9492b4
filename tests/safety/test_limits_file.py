"""The limits file of a robot: the one that people copy, and mistakes in one."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from tests.safety.rig import arm, rover
from vlad.messages import Kind
from vlad.robot import Robot
from vlad.safety.motion import Limits


def test_the_rover_is_what_the_simulator_drives():
    robot = rover()
    assert (robot.type, robot.command, robot.feedback) == ("rover", "twist", "odometry")
    limits = Limits(robot)
    assert limits.names == ("linear_x", "angular_z")
    assert list(limits.velocity) == [0.8, 2.0]
    assert list(limits.deceleration) == [2.0, 6.0]
    assert [laser.signal for laser in robot.obstacle.lasers] == ["laser"]
    assert (robot.obstacle.radius, robot.obstacle.margin) == (0.18, 0.05)


AXIS = {"velocity": 1.0, "acceleration": 1.0}
LASER = {"lasers": [{"signal": "laser"}], "radius": 0.2}


@pytest.mark.parametrize(("changes", "complaint"), [
    ({"axes": {"linear_x": AXIS, "yaw": AXIS}}, "not yaw"),
    ({"axes": {"angular_z": AXIS}, "obstacle": LASER}, "linear_x"),
    ({"axes": {"linear_x": AXIS, "linear_y": AXIS}, "obstacle": LASER}, "not linear_y"),
    ({"command": "joint_velocity", "axes": {"linear_x": AXIS}, "obstacle": LASER}, "takes twists"),
])  # fmt: skip
def test_a_base_that_makes_no_sense_is_refused(changes, complaint):
    with pytest.raises(ValidationError, match=complaint):
        Robot.model_validate({"name": "x", "type": "x", "command": "twist", **changes})


def test_joint_positions_need_limits_and_a_measured_start():
    with pytest.raises(ValidationError, match="feedback is missing"):
        arm(feedback="")
    with pytest.raises(ValidationError, match="missing for linear_x"):
        arm(axes={"linear_x": AXIS})


def test_velocities_need_a_measured_position_only_where_it_is_limited():
    with pytest.raises(ValidationError, match="where the joints are measured"):
        arm(Kind.JOINT_VELOCITY, feedback="")
    with pytest.raises(ValidationError, match="feedback is missing"):
        arm(Kind.JOINT_VELOCITY, feedback="", axes={"j0": JOINT, "j1": AXIS})
    assert arm(Kind.JOINT_VELOCITY, feedback="", axes={"j0": AXIS}).feedback == ""


JOINT = {"velocity": 1.0, "acceleration": 4.0, "lower": -1.0, "upper": 1.5}
BOX = {"min": [0.0, 0.0, 0.0], "max": [1.0, 1.0, 1.0]}


@pytest.mark.parametrize(("changes", "complaint"), [
    ({"soft_margin": 1.25}, "leaves nothing between"),
    ({"safe_position": 2.0}, "not between lower and upper"),
    ({"safe_position": -1.5}, "not between lower and upper"),
    ({"lower": None}, "belong together"),
    ({"lower": 2.0}, "must be below upper"),
    ({"current": 0.0}, "greater than 0"),
    ({"compensated_by": ["j0"]}, "cannot stand in for itself"),
    ({"compensated_by": ["j7"]}, "j7: no such axes"),
])  # fmt: skip
def test_a_joint_that_contradicts_itself_is_refused(changes, complaint):
    with pytest.raises(ValidationError, match=complaint):
        arm(axes={"j0": JOINT | changes, "j1": JOINT})


@pytest.mark.parametrize(("changes", "complaint"), [
    ({"critical": ["j0", "j9"]}, "j9: no such axes"),
    ({"critical": ["j0"]}, "j1 is not critical, so it needs a safe_position"),
    ({"critical": ["j0", "j1"], "command": "joint_velocity"}, "critical is for joint_position"),
    ({"workspace": {"pose": "tip"}}, "needs a box, keep_out zones, or both"),
    ({"workspace": {"box": BOX}}, "comes from `pose` or from `urdf`"),
    ({"workspace": {"box": BOX, "pose": "tip", "urdf": "arm.urdf"}}, "give one of them"),
    ({"workspace": {"box": BOX, "urdf": "arm.urdf"}}, "urdf needs tip"),
    ({"workspace": {"pose": "tip", "keep_out": [BOX | {"max": [1.0, 0.0, 1.0]}]}}, "no volume"),
    ({"separation": {"signal": "people"}}, "separation.robot_speed is missing"),
    ({"body": {"battery_low": 0.1, "battery_critical": 0.2}}, "must not be above battery_low"),
])  # fmt: skip
def test_an_arm_that_makes_no_sense_is_refused(changes, complaint):
    axes = {"j0": JOINT, "j1": JOINT}
    with pytest.raises(ValidationError, match=complaint):
        arm(axes=axes, **changes)


def test_a_base_needs_a_laser_for_its_obstacle_stop_and_no_urdf():
    base = {"name": "x", "type": "x", "command": "twist", "axes": {"linear_x": AXIS}}
    with pytest.raises(ValidationError, match="at least one scan"):
        Robot.model_validate(base | {"obstacle": {"lasers": [], "radius": 0.2}})
    with pytest.raises(ValidationError, match="urdf needs joints"):
        Robot.model_validate(base | {"workspace": {"box": BOX, "urdf": "arm.urdf", "tip": "hand"}})


def test_what_is_not_critical_can_be_parked():
    parked = JOINT | {"safe_position": 0.5, "compensated_by": ["j0"]}
    robot = arm(axes={"j0": JOINT, "j1": parked}, critical=["j0"])
    assert robot.axes["j1"].compensated_by == ("j0",)
