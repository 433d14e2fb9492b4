"""Joints and axes: measured against their limits."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from vlad.safety.reaction import Finding
from vlad.safety.view import View

_POSITION_SLACK = 0.01
"""Part of a joint's range that it may be measured beyond a limit: encoders have offsets."""
_VELOCITY_SLACK = 1.2


def limits(view: View) -> Iterator[Finding]:
    motion, limits = view.motion, view.rules.limits
    if motion is None:
        return
    if motion.position is not None:
        slack = _POSITION_SLACK * (limits.upper - limits.lower)
        beyond = np.maximum(limits.lower - motion.position, motion.position - limits.upper) > slack
        if beyond.any():
            for axis in np.flatnonzero(beyond):
                yield Finding("position_limit", limits.names[axis], f"at {motion.position[axis]:.3f}")
    if motion.measured and motion.velocity is not None:
        fast = np.abs(motion.velocity) > _VELOCITY_SLACK * limits.velocity
        if fast.any():
            for axis in np.flatnonzero(fast):
                yield Finding("velocity_limit", limits.names[axis], f"at {motion.velocity[axis]:.3f}")
