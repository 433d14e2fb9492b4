"""Joints in the reference pose: how far each encoder is from what it should say there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from vlad.maintenance.sensors.figure import Figure, judged, unknown
from vlad.maintenance.settings_checks import CalibrationCheckSettings
from vlad.messages import JointState
from vlad.schema import Finite, NotNegative, Section

_LEAST = 10
_MOVING = 0.01
"""A joint whose position varies by more is not at rest [rad or m]."""


class JointsReading(Section):
    """Medians of the positions [rad or m], and the largest standard deviation of a joint."""

    samples: int
    position: dict[str, Finite]
    spread: NotNegative


def measure(samples: Sequence[JointState], joints: Sequence[str]) -> JointsReading:
    """Of those of `joints` that are in all of `samples` with their positions."""
    rows = [dict(zip(sample.names, sample.position.tolist(), strict=True))
            for sample in samples if sample.position is not None]  # fmt: skip
    named = [joint for joint in joints if rows and all(joint in row for row in rows)]
    values = np.array([[row[joint] for joint in named] for row in rows]).reshape(len(rows), len(named))
    median = np.median(values, axis=0).tolist() if named else []
    spread = float(values.std(axis=0).max()) if named else 0.0
    return JointsReading(samples=len(rows), position=dict(zip(named, median, strict=True)), spread=spread)


def unusable(reading: JointsReading, limits: CalibrationCheckSettings) -> str:
    """Why nothing can be said of it; empty: it can."""
    if reading.samples < _LEAST:
        return f"only {reading.samples} samples with positions, {_LEAST} are needed"
    return f"not at rest: a joint moves by {reading.spread:.2g}" if reading.spread > _MOVING else ""


def judge(
    topic: str, reading: JointsReading, reference: JointsReading | None, limits: CalibrationCheckSettings
) -> Iterator[Figure]:
    pose: Mapping[str, float] = {**(reference.position if reference else {}), **limits.pose}
    for joint, position in reading.position.items():
        name = f"position of {joint}"
        if joint not in pose:
            how = "name it in maintenance.calibration_check.pose, or store a reference: --reference"
            yield unknown(topic, name, "it has no reference pose", how, position)
        elif abs(position - pose[joint]) > limits.near:
            why = f"is {position:.3f}, and {pose[joint]:.3f} in the reference pose: it is not in it"
            yield unknown(
                topic, name, why, "bring the robot into its reference pose, and try again", position
            )
        else:
            mend = "set its zero anew; was its coupling or belt replaced, or did it slip?"
            yield judged(topic, name, position, pose[joint], limits.joint, "", mend)
