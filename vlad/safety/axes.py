"""The axes against their limits: one comparison for all quantities of all axes when a measurement came."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from vlad.messages import Kind
from vlad.robot import Robot
from vlad.safety.motion import Limits, Motion, Vector
from vlad.safety.reaction import Finding

_POSITION_SLACK = 0.01
"""Part of a joint's range that it may be measured beyond a limit: encoders have offsets."""
_VELOCITY_SLACK = 1.2
_SPEEDING_SLACK = 3.0
"""Motors follow a ramp in steps, and the noise of two velocities is in their difference."""
_NOISE_S = 0.03
"""The least time between those two velocities."""
_WARM_DEGREES = 10.0
"""A motor is warm from this far below its limit on."""
_SPAN_S = 0.3
"""A base may follow a command this late."""
_DEVIATION = 0.25
"""Part of the velocity limit by which a base may miss every command of that time."""

_POSITION, _AHEAD, _VELOCITY, _SPEEDING, _FOLLOWING, _EFFORT, _CURRENT, _TEMPERATURE = range(8)
_PLAIN = {
    _AHEAD: ("limit_ahead", "would come to rest at {:.3f}"),
    _VELOCITY: ("velocity_limit", "at {:.3f}"),
    _SPEEDING: ("acceleration_limit", "gains {:.3g} a second"),
    _FOLLOWING: ("following_error", "{:+.3f} to go to where it is commanded"),
    _EFFORT: ("effort_limit", "{:.3g} of {:g}"),
    _CURRENT: ("current_limit", "{:.3g} of {:g} ampere"),
}
"""Fault and detail of a number beyond its limit; the limit is known beside it."""


class AxisWatch:
    """Judges each new measurement of the axes once, and remembers the outcome."""

    def __init__(self, robot: Robot, limits: Limits) -> None:
        self._limits = limits
        self._positional = robot.command in (Kind.JOINT_POSITION, Kind.JOINT_DELTA)
        self._high = self._bounds()
        self._low = -self._high
        self._low[_POSITION] = np.where(
            limits.soft_margin > 0, limits.lower + limits.soft_margin, limits.lower - self._slack()
        )
        self._low[_AHEAD] = limits.lower - self._slack()
        self._low[(_SPEEDING, _TEMPERATURE), :] = -np.inf
        self._unmeasured = np.clip(0.0, self._low, self._high)
        self._rows = self._unmeasured.copy()
        self._motion: Motion | None = None
        self._found: tuple[Finding, ...] = ()

    def _slack(self) -> Vector:
        bounded = np.isfinite(self._limits.upper)
        span = np.where(bounded, self._limits.upper, 0.0) - np.where(bounded, self._limits.lower, 0.0)
        return _POSITION_SLACK * span

    def _bounds(self) -> Vector:
        """The largest good value of each quantity (rows) of each axis."""
        limits = self._limits
        hard = limits.upper + self._slack()
        return np.stack(
            (
                np.where(limits.soft_margin > 0, limits.upper - limits.soft_margin, hard),
                hard,
                _VELOCITY_SLACK * limits.velocity,
                _SPEEDING_SLACK * limits.acceleration + limits.rest / _NOISE_S,
                limits.following_error,
                limits.effort,
                limits.current,
                limits.temperature - _WARM_DEGREES,
            )
        )

    def findings(self, motion: Motion, commanded: Vector | None) -> tuple[Finding, ...]:
        """What is wrong with this measurement; `commanded` are the positions asked for, None: none are."""
        if motion is not self._motion:
            self._motion = motion
            self._found = () if motion.problem else tuple(self._judge(motion, commanded))
        return self._found

    def _judge(self, motion: Motion, commanded: Vector | None) -> Iterator[Finding]:
        rows = self._rows
        rows[:] = self._unmeasured
        velocity = motion.velocity if motion.measured else None
        if motion.position is not None:
            rows[_POSITION] = rows[_AHEAD] = motion.position
            if motion.velocity is not None:
                rows[_AHEAD] += self._limits.stopping(motion.velocity) / _VELOCITY_SLACK**2
            if commanded is not None and self._positional:
                rows[_FOLLOWING] = commanded - motion.position
        for row, measured in (
            (_VELOCITY, velocity), (_SPEEDING, motion.speeding), (_EFFORT, motion.effort),
            (_CURRENT, motion.current), (_TEMPERATURE, motion.temperature),
        ):  # fmt: skip
            if measured is not None:
                rows[row] = measured
        wrong = (rows < self._low) | (rows > self._high)
        if np.count_nonzero(wrong):
            for row, axis in np.argwhere(wrong):
                yield from self._name(int(row), int(axis), float(rows[row, axis]))

    def _name(self, row: int, axis: int, value: float) -> Iterator[Finding]:
        """Which fault this number of this axis is."""
        if row == _POSITION:
            yield self._position(axis, value)
        elif row == _TEMPERATURE:
            yield self._heat(axis, value)
        elif row != _AHEAD or self._low[row, axis] <= self._rows[_POSITION, axis] <= self._high[row, axis]:
            fault, detail = _PLAIN[row]
            yield Finding(fault, self._limits.names[axis], detail.format(value, self._high[row, axis]))

    def _position(self, axis: int, value: float) -> Finding:
        name = self._limits.names[axis]
        if not self._low[_AHEAD, axis] <= value <= self._high[_AHEAD, axis]:
            return Finding("position_limit", name, f"at {value:.3f}")
        left = min(value - self._limits.lower[axis], self._limits.upper[axis] - value)
        severity = min(1.0, 1 - left / self._limits.soft_margin[axis])
        return Finding("position_soft", name, f"at {value:.3f}", float(severity))

    def _heat(self, axis: int, value: float) -> Finding:
        name, hottest = self._limits.names[axis], float(self._limits.temperature[axis])
        if value > hottest:
            return Finding("joint_hot", name, f"{value:.0f} of {hottest:.0f} degrees")
        return Finding("joint_warm", name, f"{value:.0f} of {hottest:.0f} degrees",
                       1 - (hottest - value) / _WARM_DEGREES)  # fmt: skip


class RecentCommands:
    """Which velocities were commanded lately, tick by tick."""

    def __init__(self, limits: Limits, period_ns: int) -> None:
        self._margin = _DEVIATION * limits.velocity
        self._past = np.zeros((round(_SPAN_S * 1e9 / period_ns), len(limits.names)))
        self._next = 0

    def add(self, velocity: Vector) -> None:
        """What was commanded in a tick."""
        self._past[self._next] = velocity
        self._next = (self._next + 1) % len(self._past)

    def beyond(self, measured: Vector) -> Vector | None:
        """How far each measured velocity is from all that was commanded, less what is normal.

        None: as commanded just now, whatever was before.
        """
        if np.count_nonzero(np.abs(measured - self._past[self._next - 1]) <= self._margin) == len(measured):
            return None
        high = self._past.max(axis=0) + self._margin
        low = self._past.min(axis=0) - self._margin
        beyond: Vector = np.maximum(measured - high, low - measured)
        return beyond
