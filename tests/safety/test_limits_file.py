"""The limits file of a robot: the one that people copy, and mistakes in one."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from tests.safety.rig import arm, rover
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
