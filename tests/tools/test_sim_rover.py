"""The rover's physics: it follows a twist, with lag, and walls stop it."""

import math

import numpy as np
import pytest

from tools.sim.rover import STEP_S, Rover
from tools.sim.world import ROBOT_RADIUS_M, World


def room(size: float = 6.0) -> World:
    return World(0, size, size, (), (), (0.0, 0.0, 0.0), 0.5, 0.7, 0.0)


def drive(rover: Rover, linear: float, angular: float, seconds: float) -> None:
    for _ in range(round(seconds / STEP_S)):
        rover.command(linear, angular)
        rover.step()


def test_it_follows_a_twist_with_lag_but_truly() -> None:
    rover = Rover(room())
    drive(rover, 0.3, 0.5, 0.02)
    assert rover.twist[0] < 0.3
    drive(rover, 0.3, 0.5, 2.0)
    assert rover.twist == pytest.approx((0.3, 0.5), abs=0.01)


def test_odometry_agrees_with_the_truth_when_ramped() -> None:
    rover = Rover(room())
    for step in range(200):
        share = min(step / 50, 1.0)
        drive(rover, 0.4 * share, 0.6 * share, STEP_S)
    assert rover.odometry_pose == pytest.approx(rover.pose, abs=0.03)


def test_positive_angular_velocity_turns_left() -> None:
    rover = Rover(room())
    drive(rover, 0.0, 1.0, 1.0)
    assert 0.7 < rover.pose[2] < 1.1
    left, right = rover.wheel_velocities
    assert left < 0 < right
    assert rover.imu.angular_velocity[2] == pytest.approx(1.0, abs=0.05)


def test_a_wall_stops_it_and_the_bumper_says_where() -> None:
    rover = Rover(room(2.0))
    drive(rover, 0.5, 0.0, 4.0)
    assert rover.collided
    assert rover.pose[0] == pytest.approx(1.0 - ROBOT_RADIUS_M, abs=0.02)
    assert rover.contacts()
    assert np.abs(rover.contacts()).max() < 0.3


def test_at_rest_it_stays_and_touches_nothing() -> None:
    rover = Rover(room())
    drive(rover, 0.0, 0.0, 1.0)
    assert rover.pose == pytest.approx((0.0, 0.0, 0.0), abs=1e-3)
    assert rover.contacts() == []
    assert not rover.collided
    assert rover.imu.linear_acceleration == pytest.approx([0.0, 0.0, 9.81], abs=0.1)


def test_place_starts_anew() -> None:
    rover = Rover(room(2.0))
    drive(rover, 0.5, 0.0, 3.0)
    rover.place((0.5, -0.2, math.pi / 2))
    assert rover.pose == pytest.approx((0.5, -0.2, math.pi / 2))
    assert rover.odometry_pose == (0.0, 0.0, 0.0)
    assert rover.time_s == 0.0
    assert not rover.collided
