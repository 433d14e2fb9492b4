"""What lies in the way of the base: how far it can drive, and how fast it may.

The base is a disc around base_link's origin (REP 103: x forward, y left), and what it will sweep is a
corridor as wide as the disc, straight or bent with the turn. Turning on the spot sweeps nothing new.

A beam that says nothing (NaN, shorter than range_min) is something near, at range_min; inf and beyond
range_max is nothing. What lies within the disc (contact, or noise at contact) blocks the way towards it and
leaves free the way back. A direction of travel that the lasers together do not cover is blocked; how far a
laser is mounted from the centre counts for what it sees, not for the directions it covers. An object that a
proximity signal tells of is in the way of every travel, at its distance from the hull.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import copysign, hypot, inf, isfinite, isnan, pi, sqrt, tau

import numpy as np
from numpy.typing import NDArray

from vlad.clock import NS_PER_S
from vlad.messages import LaserScan, Proximity, Sample
from vlad.robot import Laser, ObstacleStop, Robot
from vlad.safety.motion import Vector

_STRAIGHT_M = 100.0
"""A bend wider than this is a straight way: within the laser's range they differ by less than its noise."""
_SIDE_RAD = pi / 4
"""The lasers must cover this much to either side of a direction of travel."""
_FASTEST = 1.5
"""No base that is not stopped already is faster than this many times its velocity limit."""
_SEAM_RAD = 1e-6
"""Sectors that meet with rounding errors meet."""
_TOUCHING_M = 0.001
"""Where a beam that says nothing is taken to end at least: a point at 0 would lie in no direction."""
_EMPTY: Vector = np.zeros(0)


class Scan:
    """The newest scan of one laser as points around the base."""

    def __init__(self, laser: Laser, enough_m: float) -> None:
        self._laser = laser
        self._enough_m = enough_m + hypot(laser.x, laser.y)
        self._centred = laser.x == laser.y == 0
        self._sample: Sample | None = None
        self._angles: tuple[float, float, int] = (0.0, 0.0, 0)
        self._cos = self._sin = _EMPTY
        self.x = self.y = self.distance = _EMPTY
        self.reach_m = 0.0
        self.sector = (0.0, 0.0)
        """Where the covered directions begin [rad], and how far they extend counter-clockwise."""
        self.stamp_ns = 0

    def see(self, sample: Sample | None) -> bool:
        """Take in the newest scan, None: nothing is known. Whether it is another one than before."""
        if sample is self._sample:
            return False
        self._sample = sample
        self.x = self.y = self.distance = _EMPTY
        self.reach_m, self.sector = 0.0, (0.0, 0.0)
        if sample is None or not isinstance(sample.data, LaserScan):
            return True
        self.stamp_ns = sample.stamp_ns
        scan = sample.data
        if _makes_sense(scan):
            self._aim(scan)
            self._place(scan)
        return True

    def _aim(self, scan: LaserScan) -> None:
        """The direction of each beam, kept from scan to scan."""
        angles = (scan.angle_min, scan.angle_increment, len(scan.ranges))
        if angles != self._angles:
            self._angles = angles
            first = scan.angle_min + self._laser.yaw
            directions = first + scan.angle_increment * np.arange(len(scan.ranges))
            self._cos, self._sin = np.cos(directions), np.sin(directions)
        beams, extent = len(scan.ranges), len(scan.ranges) * abs(scan.angle_increment)
        start = scan.angle_min + min(0.0, (beams - 1) * scan.angle_increment) + self._laser.yaw
        self.sector = (start, extent)

    def _place(self, scan: LaserScan) -> None:
        ranges = scan.ranges.astype(np.float64)
        nearest_m = max(scan.range_min, _TOUCHING_M)
        ranges[~(ranges >= nearest_m)] = nearest_m
        (near,) = (ranges <= min(scan.range_max, self._enough_m)).nonzero()
        self.distance = ranges.take(near)
        self.x = self.distance * self._cos.take(near)
        self.y = self.distance * self._sin.take(near)
        self.reach_m = max(0.0, scan.range_max)
        if not self._centred:
            self.x += self._laser.x
            self.y += self._laser.y
            self.distance = np.hypot(self.x, self.y)
            self.reach_m = max(0.0, self.reach_m - hypot(self._laser.x, self._laser.y))


class Surroundings:
    """What all lasers and proximity signals see now.

    Ways longer than `enough_m` need not be told apart: what is farther from the hull is left out, since no
    way to a point is shorter than the straight one.
    """

    def __init__(self, settings: ObstacleStop, enough_m: float = inf) -> None:
        self._radius_m = settings.radius
        self._scans = tuple(Scan(laser, enough_m + settings.radius) for laser in settings.lasers)
        self._x = self._y = self._distance = self._squared = _EMPTY
        self._lags: Vector = _EMPTY
        self._closest_m = inf
        """To the nearest point that does not touch, whatever its direction."""
        self._oldest_s = 0.0
        self._sectors: list[tuple[float, float]] = []
        self._covered = {1: False, -1: False}
        self._touches = {1: False, -1: False}
        self._reach: list[tuple[float, float]] = []
        self._stamp_ns = 0
        self._near: list[Sample | None] = [None] * len(settings.proximity)
        self._nearest = [(0, 0.0)] * len(settings.proximity)

    def see(self, scans: Sequence[Sample | None], near: Sequence[Sample | None] = ()) -> None:
        """Take in the newest scans in the order of the lasers, and the newest of the proximity signals.

        The same ones twice cost nothing. None: nothing is known, the sample is missing or too old.
        """
        new = [scan.see(sample) for scan, sample in zip(self._scans, scans, strict=True)]
        if any(new):
            self._merge()
        if any(sample is not before for sample, before in zip(near, self._near, strict=True)):
            self._near = list(near)
            self._nearest = [_nearest(sample) for sample in near]

    def _merge(self) -> None:
        """All points, and how much older than the newest scan theirs is."""
        seen = [scan for scan in self._scans if scan.sector[1] > 0]
        self._stamp_ns = max((scan.stamp_ns for scan in seen), default=0)
        lags = [(self._stamp_ns - scan.stamp_ns) / NS_PER_S for scan in seen]
        self._oldest_s = max(lags, default=0.0)
        self._reach = [(scan.reach_m, lag) for scan, lag in zip(seen, lags, strict=True)]
        if len(seen) == 1:
            self._x, self._y, self._distance = seen[0].x, seen[0].y, seen[0].distance
            self._lags = _EMPTY
        else:
            self._x = np.concatenate([_EMPTY, *(scan.x for scan in seen)])
            self._y = np.concatenate([_EMPTY, *(scan.y for scan in seen)])
            self._distance = np.concatenate([_EMPTY, *(scan.distance for scan in seen)])
            self._lags = np.repeat(np.array(lags), [len(scan.x) for scan in seen])
        self._take_out_touching()
        sectors = [scan.sector for scan in seen]
        if sectors != self._sectors:
            self._sectors = sectors
            self._covered = {1: _covers(sectors, 0.0), -1: _covers(sectors, pi)}

    def _take_out_touching(self) -> None:
        """What lies within the disc blocks the way towards it, and is no point of any way."""
        touching = self._distance < self._radius_m
        self._touches = {1: False, -1: False}
        if np.count_nonzero(touching):
            x, apart = self._x[touching], ~touching
            self._touches = {1: bool((x > 0).any()), -1: bool((x < 0).any())}
            self._x, self._y, self._distance = self._x[apart], self._y[apart], self._distance[apart]
            self._lags = self._lags[apart] if self._lags.size else self._lags
        self._squared = self._distance * self._distance
        self._closest_m = float(self._distance.min(initial=inf)) - self._radius_m

    def free_m(self, linear: float, angular: float, now_ns: int, enough_m: float = inf) -> float:
        """How far the base can go along the way that these speeds lead (m/s, rad/s), before it touches.

        As of `now_ns`: what was seen, less what the robot drove since. A way that is not shorter than
        `enough_m` need not be exact.
        """
        forward, speed = (1 if linear > 0 else -1), abs(linear)
        if linear and (self._touches[forward] or not self._covered[forward]):
            return 0.0
        driven_m = speed * max(0, now_ns - self._stamp_ns) / NS_PER_S
        free_m = min((reach_m - speed * lag_s for reach_m, lag_s in self._reach), default=0.0) - driven_m
        if linear == 0:
            return max(0.0, free_m)
        for stamp_ns, distance_m in self._nearest:
            free_m = min(free_m, distance_m - speed * max(0, now_ns - stamp_ns) / NS_PER_S)
        if self._closest_m - speed * self._oldest_s - driven_m >= enough_m:
            return max(0.0, free_m)  # no way to a point is shorter than the straight one
        bend_m = linear / angular if angular else inf
        straight = abs(bend_m) > _STRAIGHT_M
        way_m = self._straight_m(forward, speed) if straight else self._bent_m(forward, bend_m, speed)
        return max(0.0, min(free_m, way_m - driven_m))

    def _straight_m(self, forward: int, speed: float) -> float:
        """A point at (x, y) is touched after x - sqrt(R^2 - y^2)."""
        x = self._x * forward
        (hit,) = ((np.abs(self._y) < self._radius_m) & (x > 0)).nonzero()
        if not hit.size:
            return inf
        y = self._y[hit]
        way = x[hit] - np.sqrt(self._radius_m**2 - y * y)
        return self._soonest_m(way, hit, speed)

    def _bent_m(self, forward: int, bend_m: float, speed: float) -> float:
        """The same on a circle around (0, bend), to the left where `bend_m` is positive.

        A point at distance d from here is c^2 = d^2 - 2 bend y + bend^2 from the circle's centre, and is hit
        where |c - |bend|| < R. At the angle phi along the circle it is touched at the angle phi - delta,
        where by the law of cosines cos(delta) = (bend^2 + c^2 - R^2) / (2 |bend| c).
        """
        radius, wide = self._radius_m, abs(bend_m)
        less = self._squared - (2 * bend_m) * self._y  # c^2 - bend^2
        within = less < radius * (radius + 2 * wide)
        if wide > radius:
            within &= less > radius * (radius - 2 * wide)
        (hit,) = within.nonzero()
        if not hit.size:
            return inf
        x, across = self._x[hit] * forward, wide - self._y[hit] * copysign(1.0, bend_m)
        squared = less[hit] + bend_m * bend_m
        doubled = np.maximum(2 * wide * np.sqrt(np.maximum(squared, 0.0)), 1e-12)
        cosine = (bend_m * bend_m - radius * radius + squared) / doubled
        turn = np.arctan2(x, across) - np.arccos(np.minimum(np.maximum(cosine, -1.0), 1.0))
        turn[(turn < 0) & (x <= 0)] += tau
        return self._soonest_m(wide * turn, hit, speed)

    def _soonest_m(self, way: Vector, hit: NDArray[np.intp], speed: float) -> float:
        """The shortest of these ways, less what was driven since the scan behind each."""
        if self._lags.size:
            way = way - speed * self._lags[hit]
        return float(way[way.argmin()])


def _makes_sense(scan: LaserScan) -> bool:
    finite = isfinite(scan.angle_min) and isfinite(scan.range_max)
    return finite and 0 <= scan.range_min <= scan.range_max and 0 < abs(scan.angle_increment) <= tau


def _nearest(sample: Sample | None) -> tuple[int, float]:
    """When it was measured, and how far away the nearest object is [m]; what is not known is at 0."""
    if sample is None or not isinstance(sample.data, Proximity):
        return 0, 0.0
    distances = [thing.distance for thing in sample.data.objects]
    return sample.stamp_ns, 0.0 if any(isnan(far) for far in distances) else min(distances, default=inf)


def _covers(sectors: Sequence[tuple[float, float]], direction: float) -> bool:
    """Whether sectors (start, extent) together cover `direction` and `_SIDE_RAD` to either side of it."""
    begin, covered = direction - _SIDE_RAD, 0.0
    parts = [((start - begin) % tau, extent) for start, extent in sectors]
    for start, extent in sorted(part for at, wide in parts for part in ((at - tau, wide), (at, wide))):
        if start <= covered + _SEAM_RAD:
            covered = max(covered, start + extent)
    return covered >= 2 * _SIDE_RAD - _SEAM_RAD


def enough_way_m(robot: Robot, obstacle: ObstacleStop, max_age_s: float) -> float:
    """A way that lets the base stop from any speed it may have, when the scans are as old as they may be."""
    axis = robot.axes["linear_x"]
    speed = _FASTEST * axis.velocity
    stop_m = stopping_m(speed, axis.deceleration or axis.acceleration, obstacle.reaction_s)
    return stop_m + speed * max_age_s + obstacle.margin


def stopping_m(speed: float, deceleration: float, reaction_s: float) -> float:
    """What the base travels until it is at rest: v t + v^2 / 2a."""
    return speed * reaction_s + speed * speed / (2 * deceleration)


def speed_for(distance_m: float, deceleration: float, reaction_s: float) -> float:
    """The largest speed from which `stopping_m` is not more than this distance."""
    if distance_m <= 0:
        return 0.0
    return deceleration * (sqrt(reaction_s * reaction_s + 2 * distance_m / deceleration) - reaction_s)
