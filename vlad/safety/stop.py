"""Controlled stops: how one must look, whether the robot is at rest, and when the category rises."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vlad.clock import NS_PER_S
from vlad.safety.motion import Limits, Vector
from vlad.safety.reaction import Reaction

REST_NS = 50_000_000
"""It must be slow for this long to be at rest: a swinging arm stands still at each turning point."""
STOP_LATENCY_NS = 200_000_000
"""From a stop command to the first braking that is measured: wire, motor, sensor, wire."""


@dataclass(frozen=True, slots=True)
class StopPlan:
    """A controlled stop as it was planned: from `speed` (magnitudes) at `started_ns` down to rest."""

    started_ns: int
    category: Reaction
    speed: Vector
    deceleration: Vector
    """What is demanded of the robot, less than what is commanded by safety.stop_margin."""

    def allowed(self, now_ns: int) -> Vector:
        """How fast each axis may still be."""
        braking_s = max(0, now_ns - self.started_ns - STOP_LATENCY_NS) / NS_PER_S
        return np.maximum(0.0, self.speed - self.deceleration * braking_s)

    def over(self, now_ns: int) -> bool:
        """Whether the robot should be at rest by now."""
        return now_ns - self.started_ns > STOP_LATENCY_NS and not np.count_nonzero(self.allowed(now_ns))


class Brake:
    """Follows the stop that is under way, and whether the robot stands still."""

    def __init__(self, limits: Limits, has_feedback: bool, margin: float, category: Reaction) -> None:
        self.category = category
        """Of the stop that is under way, or of the last one: it only rises until the robot is armed."""
        self.plan: StopPlan | None = None
        self._limits = limits
        self._has_feedback = has_feedback
        self._deceleration: Vector = limits.deceleration / margin
        self._rest_ns: int | None = None

    def release(self) -> None:
        """The robot was armed."""
        self.category = Reaction.STOP2
        self.plan = None

    def watch(self, measured: Vector | None, now_ns: int) -> None:
        """Take in the measured velocities; None: they are not known."""
        if measured is None or np.count_nonzero(np.abs(measured) > self._limits.rest):
            self._rest_ns = None
        elif self._rest_ns is None:
            self._rest_ns = now_ns

    def at_rest(self, commanded: Vector, now_ns: int) -> bool:
        """Whether the robot is known to stand still; one without feedback is trusted to follow its ramp."""
        if np.count_nonzero(commanded):
            return False
        if not self._has_feedback:
            return self.plan is None or now_ns - self.plan.started_ns > STOP_LATENCY_NS
        return self._rest_ns is not None and now_ns - self._rest_ns >= REST_NS

    def demand(self, category: Reaction, speed: Vector, now_ns: int, begins: bool) -> None:
        """Stop with at least this category, from `speed` (magnitudes) where a stop begins or rises."""
        rises = category > self.category
        self.category = max(self.category, category)
        if rises or begins:
            self.plan = StopPlan(now_ns, self.category, speed, self._deceleration)
