"""What one sensor measured, held against its reference: for whatever kind of sensor it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from pydantic import ValidationError

from vlad.maintenance.sensors import camera, imu, joints, wrench
from vlad.maintenance.sensors.figure import Figure, unknown
from vlad.maintenance.settings_checks import CalibrationCheckSettings
from vlad.messages import CompressedImage, Image, Imu, JointState, Wrench
from vlad.robot import Robot
from vlad.schema import Section

R = TypeVar("R", bound=Section)

PHOTOGRAPHS = ("image", "compressed_image")
KINDS = ("imu", "wrench", "joint_state", *PHOTOGRAPHS)
"""The types of signals that can be looked at."""


@dataclass(frozen=True, slots=True)
class Examined:
    """`values` can be stored as its reference; None: they are not good enough for that."""

    figures: list[Figure]
    values: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class _Way(Generic[R]):
    """How a kind of sensor is judged."""

    reading: type[R]
    unusable: Callable[[R, CalibrationCheckSettings], str]
    judge: Callable[[str, R, R | None, CalibrationCheckSettings], Iterator[Figure]]


_IMU = _Way(imu.ImuReading, imu.unusable, imu.judge)
_WRENCH = _Way(wrench.WrenchReading, wrench.unusable, wrench.judge)
_JOINTS = _Way(joints.JointsReading, joints.unusable, joints.judge)
_CAMERA = _Way(camera.CameraReading, camera.unusable, camera.judge)


def examine(
    topic: str,
    data: Sequence[Any],
    reference: Mapping[str, Any] | None,
    robot: Robot,
    limits: CalibrationCheckSettings,
) -> Examined:
    """`data`: what arrived on `topic`, all of one type; photographs as arrays of grey."""
    if not data:
        return Examined([unknown(topic, "calibration", "nothing arrived", "is its driver running?")], None)
    match data[0]:
        case Imu():
            return _judge(_IMU, topic, imu.measure(data), reference, limits)
        case Wrench():
            return _judge(_WRENCH, topic, wrench.measure(data), reference, limits)
        case JointState():
            named = [joint for joint in (*robot.axes, *limits.pose) if joint in data[0].names]
            measured = joints.measure(data, list(dict.fromkeys(named)))
            return _judge(_JOINTS, topic, measured, reference, limits)
        case np.ndarray():
            return _judge(_CAMERA, topic, camera.measure(data), reference, limits)
        case Image(encoding=name) | CompressedImage(format=name):
            mend = "look at it yourself; what is no photograph (depth) or damaged cannot be judged"
            return Examined([unknown(topic, "calibration", f"{name} cannot be judged", mend)], None)
    raise TypeError(f"{topic}: {type(data[0]).__name__} cannot be examined")


def _judge(
    way: _Way[R],
    topic: str,
    reading: R,
    reference: Mapping[str, Any] | None,
    limits: CalibrationCheckSettings,
) -> Examined:
    if why := way.unusable(reading, limits):
        mend = "leave the robot at rest, and try again"
        return Examined([unknown(topic, "calibration", why, mend)], None)
    figures = list(way.judge(topic, reading, _stored(way.reading, reference), limits))
    return Examined(figures, reading.model_dump(mode="json") if figures else None)


def _stored(reading: type[R], reference: Mapping[str, Any] | None) -> R | None:
    """None also for one that another version of vlad stored in a way of its own."""
    try:
        return None if reference is None else reading.model_validate(reference)
    except ValidationError:
        return None
