"""What the laser sees in the way of the base: how far it can drive, and how fast it may.

The base is a disc around the laser's origin (REP 103: x forward, y left), and what it will sweep is a
corridor as wide as the disc, straight or bent with the turn. Turning on the spot sweeps nothing new.

A beam that says nothing (NaN, shorter than range_min) is something near, at range_min; inf and beyond
range_max is nothing. What lies within the disc (contact, or noise at contact) blocks the way towards it and
leaves free the way back. A direction of travel that the laser does not cover is blocked.
"""

from __future__ import annotations

from math import pi, sqrt, tau

import numpy as np

from vlad.messages import LaserScan, Sample
from vlad.robot import ObstacleStop
from vlad.safety.motion import Vector

_STRAIGHT_M = 100.0
"""A bend wider than this is a straight way: within the laser's range they differ by less than its noise."""
_SIDE_RAD = pi / 4
"""The laser must cover this much to either side of a direction of travel."""
_EMPTY: Vector = np.zeros(0)


class Surroundings:
    """The newest scan as points around the base."""

    def __init__(self, settings: ObstacleStop) -> None:
        self._radius_m = settings.radius
        self._sample: Sample | None = None
        self._x = self._y = self._distance = _EMPTY
        self._reach_m = 0.0
        self._covered = {1: False, -1: False}
        self._angles: tuple[float, float, int] = (0.0, 0.0, 0)
        self._cos = self._sin = _EMPTY

    def see(self, sample: Sample | None) -> None:
        """Take in the newest scan; the same one twice costs nothing. None: nothing is known."""
        if sample is self._sample:
            return
        self._sample = sample
        self._reach_m = 0.0
        self._covered = {1: False, -1: False}
        if sample is None or not isinstance(sample.data, LaserScan):
            return
        scan = sample.data
        if not np.isfinite((scan.angle_min, scan.angle_increment, scan.range_min, scan.range_max)).all():
            return
        self._aim(scan)
        ranges = scan.ranges.astype(np.float64)
        ranges[~(ranges >= scan.range_min)] = scan.range_min
        near = ranges <= scan.range_max
        self._distance = ranges[near]
        self._x = self._distance * self._cos[near]
        self._y = self._distance * self._sin[near]
        self._reach_m = max(0.0, scan.range_max)

    def _aim(self, scan: LaserScan) -> None:
        """The direction of each beam, kept from scan to scan, and which ways of travel they cover."""
        angles = (scan.angle_min, scan.angle_increment, len(scan.ranges))
        if angles != self._angles:
            self._angles = angles
            directions = scan.angle_min + scan.angle_increment * np.arange(len(scan.ranges))
            self._cos, self._sin = np.cos(directions), np.sin(directions)
        self._covered = {1: _covers(*angles, 0.0), -1: _covers(*angles, pi)}

    def free_m(self, linear: float, angular: float) -> float:
        """How far the base can go along the way that these speeds lead (m/s, rad/s), before it touches."""
        forward = 1 if linear > 0 else -1
        if linear == 0:
            return self._reach_m
        if not self._covered[forward]:
            return 0.0
        x = self._x * forward
        bend_m = linear / angular if angular else np.inf
        if abs(bend_m) > _STRAIGHT_M:
            return self._straight_m(x)
        return self._bent_m(x, self._y if bend_m > 0 else -self._y, abs(bend_m))

    def _straight_m(self, x: Vector) -> float:
        """A point at (x, y) is touched after x - sqrt(R^2 - y^2)."""
        hit = (np.abs(self._y) < self._radius_m) & (x > 0)
        if not hit.any():
            return self._reach_m
        y = self._y[hit]
        way = x[hit] - np.sqrt(self._radius_m**2 - y * y)
        return float(min(self._reach_m, max(0.0, way.min())))

    def _bent_m(self, x: Vector, y: Vector, bend_m: float) -> float:
        """The same on a circle of radius `bend_m` around (0, bend_m), to which the way is mirrored.

        A point at distance c from the circle's centre and at the angle phi along it is touched at the angle
        phi - delta, where by the law of cosines cos(delta) = (bend^2 + c^2 - R^2) / (2 bend c).
        """
        from_centre = np.hypot(x, bend_m - y)
        hit = np.abs(from_centre - bend_m) < self._radius_m
        inside = self._distance < self._radius_m
        if (inside & (x > 0)).any():
            return 0.0
        hit &= ~inside
        if not hit.any():
            return self._reach_m
        c = from_centre[hit]
        phi = np.arctan2(x[hit], bend_m - y[hit])
        cosine = (bend_m**2 + c * c - self._radius_m**2) / np.maximum(2 * bend_m * c, 1e-12)
        turn = phi - np.arccos(np.clip(cosine, -1.0, 1.0))
        turn[(turn < 0) & (x[hit] <= 0)] += tau
        return float(min(self._reach_m, max(0.0, bend_m * turn.min())))


def _covers(angle_min: float, increment: float, beams: int, direction: float) -> bool:
    """Whether the beams cover `direction` and `_SIDE_RAD` to either side of it."""
    extent = beams * abs(increment)
    if extent >= tau - 1e-6:
        return True
    start = angle_min if increment > 0 else angle_min + (beams - 1) * increment
    return (direction - _SIDE_RAD - start) % tau + 2 * _SIDE_RAD <= extent


def stopping_m(speed: float, deceleration: float, reaction_s: float) -> float:
    """What the base travels until it is at rest: v t + v^2 / 2a."""
    return speed * reaction_s + speed * speed / (2 * deceleration)


def speed_for(distance_m: float, deceleration: float, reaction_s: float) -> float:
    """The largest speed from which `stopping_m` is not more than this distance."""
    if distance_m <= 0:
        return 0.0
    return deceleration * (sqrt(reaction_s * reaction_s + 2 * distance_m / deceleration) - reaction_s)
