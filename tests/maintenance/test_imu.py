"""The IMU's part of the calibration check: what is injected is found, and nothing else."""

from math import cos, hypot, sin

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlad.maintenance.sensors import imu
from vlad.maintenance.settings_checks import CalibrationCheckSettings
from vlad.messages import Imu

LIMITS = CalibrationCheckSettings()
DOWN = (0.0, 0.0, imu.GRAVITY)
NONE = (0.0, 0.0, 0.0)
small = st.floats(-0.3, 0.3)


def samples(bias=NONE, gravity=DOWN, noise=0.002, count=200, seed=0):
    """An IMU at rest with white noise [rad/s]; ten times as much of it on the acceleration [m/s^2]."""
    rng = np.random.default_rng(seed)
    gyro = np.array(bias) + noise * rng.standard_normal((count, 3))
    acceleration = np.array(gravity) + 10 * noise * rng.standard_normal((count, 3))
    level = (0.0, 0.0, 0.0, 1.0)
    return [Imu(level, tuple(a), tuple(b)) for a, b in zip(gyro.tolist(), acceleration.tolist(), strict=True)]


def judged(data, reference=None):
    reading = imu.measure(data)
    assert imu.unusable(reading, LIMITS) == ""
    return {figure.name: figure for figure in imu.judge("imu", reading, reference, LIMITS)}


def test_a_good_imu_is_well_and_what_has_no_reference_is_unknown_with_how_to_get_one():
    figures = judged(samples())
    assert figures.pop("direction of gravity").state == "unknown"
    assert "--reference" in judged(samples())["direction of gravity"].mend
    assert {figure.state for figure in figures.values()} == {"ok"}
    assert figures["gravity"].reference == 9.80665


@pytest.mark.parametrize(("bias", "state"), [(0.019, "ok"), (0.025, "warning"), (0.1, "problem")])
def test_a_bias_is_told_with_its_size_and_axis(bias, state):
    figures = judged(samples(bias=(0.0, -bias, 0.0)))
    assert figures["gyro bias y"].state == state
    assert figures["gyro bias y"].measured == pytest.approx(-bias, abs=0.001)
    assert figures["gyro bias x"].state == figures["gyro bias z"].state == "ok"


def test_figures_are_told_with_as_many_places_as_matter():
    figures = judged(samples(bias=(1e-17, -0.0123456, 0.0), noise=0.0))
    assert figures["gyro bias x"].what == "gyro bias x is 0 rad/s, 0 rad/s off 0 rad/s; 0.02 rad/s may be"
    assert figures["gyro bias y"].what.startswith("gyro bias y is -0.0123 rad/s, 0.0123 rad/s off")
    assert figures["gravity"].what == "gravity is 9.807 m/s^2, 0 m/s^2 off 9.807 m/s^2; 0.3 m/s^2 may be"


def test_a_bias_that_the_reference_has_too_is_no_news_and_its_change_is():
    reference = imu.measure(samples(bias=(0.05, 0.0, 0.0)))
    assert judged(samples(bias=(0.05, 0.0, 0.0), seed=1), reference)["gyro bias x"].state == "ok"
    moved = judged(samples(), reference)["gyro bias x"]
    assert moved.state == "warning"
    assert moved.reference == pytest.approx(0.05, abs=0.001)


@pytest.mark.parametrize(
    ("scale", "state"), [(1.02, "ok"), (0.95, "warning"), (1.2, "problem"), (0.0, "problem")]
)
def test_an_accelerometer_whose_gravity_has_the_wrong_size_is_found(scale, state):
    assert judged(samples(gravity=(0.0, 0.0, scale * imu.GRAVITY)))["gravity"].state == state


def test_an_imu_that_was_turned_on_its_mount_is_found_though_gravity_keeps_its_size():
    reference = imu.measure(samples())
    turned = (imu.GRAVITY * sin(0.12), 0.0, imu.GRAVITY * cos(0.12))
    figures = judged(samples(gravity=turned), reference)
    assert figures["gravity"].state == "ok"
    assert figures["direction of gravity"].state == "warning"
    assert figures["direction of gravity"].measured == pytest.approx(0.12, abs=0.005)


def test_gravity_without_a_direction_is_unknown_and_never_well():
    reference = imu.measure(samples())
    figures = judged(samples(gravity=NONE, noise=0.0), reference)
    assert figures["direction of gravity"].state == "unknown"


@pytest.mark.parametrize(
    "data",
    [
        samples(count=49),
        samples(noise=0.1),
        samples(bias=(0.0, 0.0, 0.5)),
        [*samples(count=100), *samples(gravity=(0.0, 3.0, imu.GRAVITY), count=100)],
    ],
    ids=["too few", "shaken", "turning", "pushed"],
)
def test_nothing_is_said_of_an_imu_that_is_not_at_rest_or_too_rarely_heard(data):
    assert imu.unusable(imu.measure(data), LIMITS) != ""


@given(st.tuples(small, small, small), st.integers(0, 9))
def test_any_bias_is_found_if_and_only_if_it_is_too_large(bias, seed):
    if hypot(*bias) > 0.34:
        return
    figures = judged(samples(bias=bias, seed=seed))
    for axis, value in zip("xyz", bias, strict=True):
        if abs(abs(value) - LIMITS.gyro_bias) > 0.002:
            assert (figures[f"gyro bias {axis}"].state == "ok") == (abs(value) < LIMITS.gyro_bias)


@given(st.floats(0, 3.14), st.floats(0, 6.28))
def test_what_is_its_own_reference_is_well_whatever_way_it_is_mounted(tilt, turn):
    gravity = tuple(imu.GRAVITY * part for part in (sin(tilt) * cos(turn), sin(tilt) * sin(turn), cos(tilt)))
    figures = judged(samples(gravity=gravity), imu.measure(samples(gravity=gravity, seed=1)))
    assert {figure.state for figure in figures.values()} == {"ok"}
