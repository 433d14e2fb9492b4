"""From the step that is due to the command that may be sent: slowed, steered, stopped in time, bounded."""

from __future__ import annotations

import numpy as np

from vlad.clock import NS_PER_S
from vlad.messages import Floats, Step
from vlad.safety.checks.links import halted
from vlad.safety.envelope import Envelope
from vlad.safety.motion import Vector, turning
from vlad.safety.obstacle import speed_for, stopping_m
from vlad.safety.parking import Parking
from vlad.safety.reaction import ActiveFault
from vlad.safety.view import Rules, View

_BLOCKED_PART = 0.05
"""An obstacle that leaves less than this part of the velocity limit blocks the way: worth telling."""


class Limiter:
    """Keeps what is commanded, in an envelope, from one judgement to the next."""

    def __init__(self, rules: Rules, parking: Parking) -> None:
        self.envelope = Envelope(rules.robot.command, rules.limits)
        self.blocked = ""
        """What an obstacle did to the last command; empty: nothing worth telling."""
        self.followed: Floats | None = None
        """The step behind the last command; None: there was none."""
        self.measured: Vector | None = None
        """The positions that were measured then; None: not known."""
        self._rules = rules
        self._parking = parking
        self._ramp_ns = 0

    def ramp(self, now_ns: int) -> None:
        """From now on the speed may rise from zero to its limit within safety.arm_ramp_s."""
        self._ramp_ns = now_ns

    def advance(self, step: Step | None, faults: tuple[ActiveFault, ...], view: View, dt_s: float) -> Vector:
        """Move the command by `dt_s` towards what the step asks for, None: towards rest. The velocities."""
        self.measured = view.motion.position if view.motion is not None else None
        self.followed = None if step is None else step.values
        target = None if step is None else self.envelope.target(step.values, self.measured)
        target = self._parking.steer(target, faults)
        if halted(view):
            self.ramp(view.inputs.now_ns)  # it must not go on at full speed from where it stopped
        scale = self._scale(faults, view.inputs.now_ns)
        velocity = self.envelope.bound(target, dt_s, scale, self.measured)
        self.blocked = ""
        if target is not None:
            velocity = self._before_obstacles(target, velocity, dt_s, scale, view)
        self.envelope.step(velocity, dt_s)
        return velocity

    def _scale(self, faults: tuple[ActiveFault, ...], now_ns: int) -> float:
        """What the velocity limits are multiplied by: the slowest fault, and the ramp after standing."""
        slowest = min((fault.fault.factor for fault in faults), default=1.0)
        ramp_s = self._rules.settings.safety.arm_ramp_s
        if ramp_s == 0:
            return slowest
        return slowest * min(1.0, max(0, now_ns - self._ramp_ns) / (ramp_s * NS_PER_S))

    def _before_obstacles(
        self, target: Vector, velocity: Vector, dt_s: float, scale: float, view: View
    ) -> Vector:
        """Slow down so that the base can still stop before what is seen on the way of `velocity`."""
        obstacle, limits = self._rules.robot.obstacle, self._rules.limits
        if obstacle is None:
            return velocity
        axis = limits.names.index("linear_x")
        linear = float(velocity[axis])
        brake, reaction_s = float(limits.deceleration[axis]), obstacle.reaction_s
        enough_m = obstacle.margin + stopping_m(abs(linear), brake, reaction_s)
        free_m = view.free_way_m(linear, turning(velocity, limits), enough_m)
        allowed = speed_for(free_m - obstacle.margin, brake, reaction_s)
        if abs(linear) <= allowed:
            return velocity
        if allowed < _BLOCKED_PART * limits.velocity[axis] and abs(target[axis]) > limits.rest[axis]:
            self.blocked = f"{free_m:.2f} m free"
        slower = target.copy()
        slower[axis] = np.copysign(allowed, linear)
        return self.envelope.bound(slower, dt_s, scale, None)
