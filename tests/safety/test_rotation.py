"""Quaternions against rotation matrices."""

from __future__ import annotations

from math import cos, pi, sin

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlad.safety.rotation import rotate, turn

LEVEL = (0.0, 0.0, 0.0, 1.0)
VECTORS = st.tuples(*[st.floats(-3, 3)] * 3)


def matrix(angular, dt_s) -> np.ndarray:
    """Of a turn at this rate, by Rodrigues' formula."""
    rate = np.linalg.norm(angular)
    x, y, z = np.array(angular) / rate if rate else np.zeros(3)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + sin(rate * dt_s) * cross + (1 - cos(rate * dt_s)) * cross @ cross


@pytest.mark.parametrize(("angular", "expected"), [
    ((pi / 2, 0, 0), (1, -3, 2)), ((0, pi / 2, 0), (3, 2, -1)), ((0, 0, pi / 2), (-2, 1, 3)),
])  # fmt: skip
def test_a_quarter_turn_about_each_axis_is_right_handed(angular, expected):
    assert rotate(turn(LEVEL, angular, 1.0), (1, 2, 3)) == pytest.approx(expected)


@given(VECTORS, VECTORS, VECTORS, st.floats(0, 1), VECTORS)
def test_turns_follow_each_other_in_the_frame_of_the_body(first, second, third, dt_s, vector):
    orientation = turn(turn(turn(LEVEL, first, 1.0), second, 1.0), third, dt_s)
    expected = matrix(first, 1.0) @ matrix(second, 1.0) @ matrix(third, dt_s) @ vector
    assert rotate(orientation, vector) == pytest.approx(expected, abs=1e-9)
    assert np.linalg.norm(orientation) == pytest.approx(1)


def test_a_quarter_turn_in_steps_is_a_quarter_turn():
    orientation = LEVEL
    for _ in range(100):
        orientation = turn(orientation, (0, 0, pi / 2), 0.01)
    assert orientation == pytest.approx((0, 0, sin(pi / 4), cos(pi / 4)))


def test_an_orientation_that_does_not_turn_stays():
    tilted = turn(LEVEL, (0.3, -0.2, 0.1), 1.0)
    assert turn(tilted, (0, 0, 0), 1.0) == tilted
