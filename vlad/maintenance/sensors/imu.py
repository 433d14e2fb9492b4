"""An IMU at rest: the gyroscope shows its bias, the accelerometer gravity, of known size and direction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import acos, hypot, sqrt

import numpy as np

from vlad.maintenance.sensors.figure import Figure, judged, unknown
from vlad.maintenance.settings_checks import CalibrationCheckSettings
from vlad.messages import Imu, Vector3
from vlad.schema import Finite, NotNegative, Section

GRAVITY = 9.80665
"""Standard gravity [m/s^2], as the third General Conference on Weights and Measures declared it in 1901."""

_LEAST = 50
_SPREAD_RAD_S, _SPREAD_M_S2 = 0.05, 0.5
"""At rest a MEMS gyroscope varies by some 0.002 rad/s and an accelerometer by 0.02 m/s^2 at 100 Hz, on a
robot that is touched or drives by far more."""
_TURNING_RAD_S = 0.35
"""20 degrees/s, the worst bias that a data sheet allows (MPU-6050): more than that is no bias."""
_CONFIDENT = 3.0
"""A mean is known to so many of its standard errors."""


class ImuReading(Section):
    """Means and the largest standard deviation of an axis: rad/s and m/s^2."""

    samples: int
    angular_velocity: tuple[Finite, Finite, Finite]
    angular_spread: NotNegative
    acceleration: tuple[Finite, Finite, Finite]
    acceleration_spread: NotNegative


def measure(samples: Sequence[Imu]) -> ImuReading:
    """`samples`: at least one."""
    gyro = np.array([sample.angular_velocity for sample in samples])
    acceleration = np.array([sample.linear_acceleration for sample in samples])
    return ImuReading(
        samples=len(samples),
        angular_velocity=_vector(gyro),
        angular_spread=float(gyro.std(axis=0).max()),
        acceleration=_vector(acceleration),
        acceleration_spread=float(acceleration.std(axis=0).max()),
    )


def unusable(reading: ImuReading, limits: CalibrationCheckSettings) -> str:
    """Why nothing can be said of it; empty: it can."""
    if reading.samples < _LEAST:
        return f"only {reading.samples} samples, {_LEAST} are needed"
    if reading.angular_spread > _SPREAD_RAD_S:
        return f"not at rest: its angular velocity varies by {reading.angular_spread:.2g} rad/s"
    if reading.acceleration_spread > _SPREAD_M_S2:
        return f"not at rest: its acceleration varies by {reading.acceleration_spread:.2g} m/s^2"
    if hypot(*reading.angular_velocity) > _TURNING_RAD_S:
        return f"not at rest: it turns by {hypot(*reading.angular_velocity):.2g} rad/s"
    error = reading.angular_spread / sqrt(reading.samples)
    if _CONFIDENT * error > limits.gyro_bias:
        return f"too noisy: its mean is known to {_CONFIDENT * error:.2g} rad/s only; raise seconds"
    return ""


def judge(
    topic: str, reading: ImuReading, reference: ImuReading | None, limits: CalibrationCheckSettings
) -> Iterator[Figure]:
    bias, still = reading.angular_velocity, (0.0, 0.0, 0.0)
    for axis, value, stored in zip(
        "xyz", bias, reference.angular_velocity if reference else still, strict=True
    ):
        mend = "let its driver measure the bias anew, with the robot at rest and warm"
        yield judged(topic, f"gyro bias {axis}", value, stored, limits.gyro_bias, " rad/s", mend)
    size = hypot(*reading.acceleration)
    mend = "calibrate the accelerometer in six positions, or replace the IMU"
    yield judged(topic, "gravity", size, GRAVITY, limits.acceleration, " m/s^2", mend)
    if reference is None:
        how = "vladctl maintenance run calibration_check --reference, on a level floor"
        yield unknown(topic, "direction of gravity", "there is no reference", how)
        return
    tilt = _angle(reading.acceleration, reference.acceleration)
    mend = "is the floor level, and the IMU fastened? Then: --reference"
    yield judged(topic, "direction of gravity", tilt, 0.0, limits.tilt, " rad", mend)


def _vector(values: np.ndarray) -> Vector3:
    x, y, z = values.mean(axis=0).tolist()
    return x, y, z


def _angle(one: Vector3, other: Vector3) -> float:
    """Between two vectors [rad]; NaN where one has no direction."""
    size = hypot(*one) * hypot(*other)
    cosine = sum(a * b for a, b in zip(one, other, strict=True)) / size if size else float("nan")
    return acos(min(1.0, max(-1.0, cosine))) if cosine == cosine else cosine
