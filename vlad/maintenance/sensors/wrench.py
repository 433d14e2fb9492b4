"""A force sensor without a load: it should say zero, or what it said when the reference was taken."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import dist, hypot

import numpy as np

from vlad.maintenance.sensors.figure import Figure, judged
from vlad.maintenance.settings_checks import CalibrationCheckSettings
from vlad.messages import Wrench
from vlad.schema import Finite, NotNegative, Section

_LEAST = 20
_MEND = "take off what it carries; if there is nothing, let its driver set it to zero"


class WrenchReading(Section):
    """Means [N, N m]; `drift` is how far the force went from the first third of the time to the last [N]."""

    samples: int
    force: tuple[Finite, Finite, Finite]
    torque: tuple[Finite, Finite, Finite]
    drift: NotNegative


def measure(samples: Sequence[Wrench]) -> WrenchReading:
    """`samples`: at least one."""
    forces = np.array([sample.force for sample in samples])
    torques = np.array([sample.torque for sample in samples])
    third = max(1, len(forces) // 3)
    drift = forces[-third:].mean(axis=0) - forces[:third].mean(axis=0)
    fx, fy, fz = forces.mean(axis=0).tolist()
    tx, ty, tz = torques.mean(axis=0).tolist()
    return WrenchReading(
        samples=len(samples), force=(fx, fy, fz), torque=(tx, ty, tz), drift=float(np.linalg.norm(drift))
    )


def unusable(reading: WrenchReading, limits: CalibrationCheckSettings) -> str:
    """Why nothing can be said of it; empty: it can."""
    return f"only {reading.samples} samples, {_LEAST} are needed" if reading.samples < _LEAST else ""


def judge(
    topic: str, reading: WrenchReading, reference: WrenchReading | None, limits: CalibrationCheckSettings
) -> Iterator[Figure]:
    still = (0.0, 0.0, 0.0)
    force, torque = (reference.force, reference.torque) if reference else (still, still)
    yield judged(
        topic, "force at zero", hypot(*reading.force), hypot(*force), limits.force, " N", _MEND,
        off=dist(reading.force, force),
    )  # fmt: skip
    yield judged(
        topic, "torque at zero", hypot(*reading.torque), hypot(*torque), limits.torque, " N m", _MEND,
        off=dist(reading.torque, torque),
    )  # fmt: skip
    mend = "let it warm up; if it still drifts, it is damaged or its cable is"
    yield judged(topic, "drift of the force", reading.drift, 0.0, limits.force, " N", mend)
