"""Bounding: whatever is asked for, what is commanded stays within position, velocity and acceleration.

The envelope keeps what it commanded last. Each turn moves that by what the limits allow in the time that
really passed. For positions the speed towards a target or a limit stays such that the axis can still stop
before it: a step of v dt that leaves v^2 / 2a of way, so v = sqrt((a dt)^2 + 2 a r) - a dt for a remaining
way r. Braking at `a` from there keeps the rule whatever the later steps last, so a limit is never crossed
and a target that stands still is not overshot.
"""

from __future__ import annotations

import numpy as np

from vlad.messages import MAX_TTL_MS, Floats, Kind
from vlad.safety.motion import Limits, Vector

_NONE: Floats = np.zeros(0, dtype=np.float32)
_LONGEST_S = MAX_TTL_MS / 1000


class Envelope:
    """The command as it develops, in the order of the robot's axes.

    twist, joint_velocity: `velocity` is the command. joint_position: `position` is, and `velocity` its rate
    of change. joint_delta: the policy's values are offsets from the measured position; what they point at is
    bounded like a position, and the command is the bounded position less the measured one, but never more
    than the axis may travel while a command is valid: one wrong measurement must not fling the arm.
    """

    def __init__(self, kind: Kind, limits: Limits) -> None:
        self._kind = kind
        self._limits = limits
        self._positional = kind in (Kind.JOINT_POSITION, Kind.JOINT_DELTA)
        self._zero: Vector = np.zeros(len(limits.names))
        self._one: Vector = np.ones(len(limits.names))
        self.velocity: Vector = self._zero
        self.position: Vector | None = None
        self.jerked = ""
        """The axis of which more jerk was asked than is allowed; empty: none."""
        self._built: Vector = self.velocity
        """With what acceleration each axis sped up in the last step."""

    def start(self, position: Vector | None) -> None:
        """Begin at rest, where the robot was measured; None: unknown, or a kind that needs no position."""
        self.velocity = self._built = self._zero
        self.position = None if position is None else position.copy()

    def target(self, values: Floats, measured: Vector | None) -> Vector | None:
        """What the policy's values ask for; None: nothing can be asked for without a measured position."""
        wanted = values.astype(np.float64)
        if self._kind is Kind.JOINT_DELTA:
            return None if measured is None else measured + wanted
        return wanted

    def bound(self, target: Vector | None, dt_s: float, scale: float, measured: Vector | None) -> Vector:
        """The velocities of the coming step towards `target`, or to rest where it is None.

        `scale` (0 to 1) lowers the velocity limits; an axis that is faster slows down to them within its
        deceleration.
        """
        if target is None:
            return self.approach(self._zero, dt_s) if np.count_nonzero(self.velocity) else self._zero
        top = self._limits.velocity * scale
        if not self._positional:
            wanted = np.minimum(np.maximum(target, -top), top)
            if self._kind is Kind.JOINT_VELOCITY and measured is not None:
                ways = np.array([measured - self._limits.lower, self._limits.upper - measured])
                low, high = self._reachable(np.maximum(self._zero, ways), dt_s)
                wanted = np.minimum(np.maximum(wanted, -low), high)
            return self.approach(wanted, dt_s)
        if self.position is None:
            return self.velocity
        limits = self._limits
        way = np.minimum(np.maximum(target, limits.lower), limits.upper) - self.position
        ways = np.array([np.abs(way), self.position - limits.lower, limits.upper - self.position])
        speed, low, high = self._reachable(np.maximum(self._zero, ways), dt_s)
        wanted = np.copysign(np.minimum(speed, top), way)
        bounded: Vector = np.minimum(np.maximum(self.approach(wanted, dt_s), -low), high)
        return bounded

    def approach(self, wanted: Vector, dt_s: float) -> Vector:
        """The velocities nearest to `wanted` that acceleration, deceleration and jerk allow in this step."""
        limits = self._limits
        sign, speed = np.copysign(self._one, self.velocity), np.abs(self.velocity)
        speeding_up = limits.acceleration
        if limits.jerk is not None:
            speeding_up = np.minimum(speeding_up, self._built + limits.jerk * dt_s)
        slowest = speed - limits.deceleration * dt_s
        slowest = np.where(slowest < 0, slowest * (speeding_up / limits.deceleration), slowest)
        fastest = speed + speeding_up * dt_s
        bounded = np.minimum(np.maximum(wanted * sign, slowest), fastest)
        if limits.jerk is not None:
            held = (np.abs(wanted) > np.abs(bounded)) & (speeding_up < limits.acceleration)
            self.jerked = limits.names[int(held.argmax())] if np.count_nonzero(held) else ""
        signed: Vector = sign * bounded
        return signed

    def step(self, velocity: Vector, dt_s: float) -> None:
        """Make these velocities the command for the step."""
        if self._limits.jerk is not None and dt_s > 0:
            before = np.maximum(self._zero, self.velocity * np.copysign(self._one, velocity))
            self._built = np.maximum(self._zero, np.abs(velocity) - before) / dt_s
        self.velocity = velocity
        if self.position is not None:
            self.position = self.position + velocity * dt_s

    def values(self, measured: Vector | None) -> Floats:
        """The command as the driver gets it; no values where it must shape the stop itself."""
        if not self._positional:
            return self.velocity.astype(np.float32)
        if self.position is None or (self._kind is Kind.JOINT_DELTA and measured is None):
            return _NONE
        if self._kind is Kind.JOINT_DELTA and measured is not None:
            farthest = self._limits.velocity * _LONGEST_S
            offset = np.minimum(np.maximum(self.position - measured, -farthest), farthest)
            return offset.astype(np.float32)
        return self.position.astype(np.float32)

    def _reachable(self, way: Vector, dt_s: float) -> Vector:
        """The highest speed with which an axis can still stop within `way` (>= 0; rows of ways)."""
        step = self._limits.deceleration * dt_s
        speed: Vector = np.sqrt(step * step + self._limits.braking * way) - step
        return speed
