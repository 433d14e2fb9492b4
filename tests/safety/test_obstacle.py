"""The way of the base among what the laser sees, against a simulation in small steps."""

from __future__ import annotations

from math import cos, hypot, inf, nan, pi, sin

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.safety.rig import TICK_NS, odometry, points, scan
from vlad.messages import LaserScan, Sample
from vlad.robot import Laser, ObstacleStop
from vlad.safety.obstacle import Surroundings, speed_for, stopping_m

RADIUS_M = 0.18


def surroundings(data) -> Surroundings:
    seen = Surroundings(ObstacleStop(lasers=(Laser(signal="laser"),), radius=RADIUS_M))
    seen.see(Sample("laser", 1, TICK_NS, TICK_NS, "base_link", data))
    return seen


def test_without_a_scan_no_way_is_free():
    seen = Surroundings(ObstacleStop(lasers=(Laser(signal="laser"),), radius=RADIUS_M))
    assert seen.free_m(0.5, 0.0) == 0
    seen = surroundings(scan())
    assert seen.free_m(0.5, 0.0) == 8
    seen.see(None)
    assert seen.free_m(0.5, 0.0) == 0


@pytest.mark.parametrize("data", [
    odometry(), scan(angle_min=nan), scan(angle_increment=inf), scan(range_max=nan), scan(range_max=-1.0),
    scan(angle_increment=0.0),
], ids=["type", "angle_min", "increment", "range_max", "negative range_max", "no increment"])  # fmt: skip
def test_a_scan_that_makes_no_sense_blocks_every_way(data):
    seen = surroundings(data)
    assert seen.free_m(0.5, 0.0) == 0
    assert seen.free_m(-0.5, 0.1) == 0


def test_straight_on_the_way_ends_where_the_disc_touches():
    seen = surroundings(points((1.0, 0.0)))
    assert seen.free_m(0.5, 0.0) == pytest.approx(1.0 - RADIUS_M)
    assert seen.free_m(-0.5, 0.0) == 8
    seen = surroundings(points((-1.0, 0.0)))
    assert seen.free_m(0.5, 0.0) == 8
    assert seen.free_m(-0.5, 0.0) == pytest.approx(1.0 - RADIUS_M)


def test_what_is_beside_the_corridor_is_not_in_the_way():
    assert surroundings(points((1.0, 0.3), (1.0, -0.3))).free_m(0.5, 0.0) == 8


def test_turning_on_the_spot_hits_nothing():
    seen = surroundings(scan(0.19))
    assert seen.free_m(0.0, 2.0) == 8
    assert seen.free_m(0.0, 0.0) == 8


def test_what_touches_blocks_the_way_towards_it_only():
    seen = surroundings(points((0.17, 0.02)))
    assert seen.free_m(0.1, 0.0) == 0
    assert seen.free_m(0.1, 0.5) == 0
    assert seen.free_m(-0.1, 0.0) == 8
    assert seen.free_m(-0.1, 0.5) > 0.2


@pytest.mark.parametrize("unknown", [nan, -inf, 0.0, -1.0, 0.04])
def test_a_beam_that_says_nothing_is_something_near(unknown):
    ranges = np.full(360, inf)
    ranges[180] = unknown
    seen = surroundings(scan(ranges))
    assert seen.free_m(0.5, 0.0) == 0
    assert seen.free_m(-0.5, 0.0) == 8


@pytest.mark.parametrize("nothing", [inf, 8.1])
def test_a_beam_that_hit_nothing_is_free_as_far_as_the_laser_sees(nothing):
    assert surroundings(scan(nothing)).free_m(0.5, 0.0) == 8


@pytest.mark.parametrize(("start", "increment"), [(-2.0, 4.0 / 100), (2.0, -4.0 / 100)])
def test_a_laser_that_looks_ahead_allows_no_way_back(start, increment):
    data = LaserScan(start, increment, 0.05, 8.0, np.full(100, inf, dtype=np.float32))
    seen = surroundings(data)
    assert seen.free_m(0.5, 0.0) == 8
    assert seen.free_m(-0.5, 0.0) == 0


def test_a_laser_that_looks_back_allows_no_way_ahead():
    data = LaserScan(pi - 1.0, 2.0 / 100, 0.05, 8.0, np.full(100, inf, dtype=np.float32))
    seen = surroundings(data)
    assert seen.free_m(0.5, 0.0) == 0
    assert seen.free_m(-0.5, 0.0) == 8


def simulated_m(x: float, y: float, linear: float, angular: float) -> float:
    """How far the disc drives until it touches the point, in steps of 2 mm; 8 where it never does."""
    radius_m = abs(linear / angular) if angular else inf
    longest = min(8.0, 2 * pi * radius_m)
    sign = 1 if linear > 0 else -1
    before = hypot(x, y)
    for way in np.arange(0.0, longest, 0.002):
        turn = way * abs(angular / linear) * (1 if angular > 0 else -1)
        if angular:
            bend = linear / angular
            at = (bend * sin(turn), bend * (1 - cos(turn)))
        else:
            at = (sign * way, 0.0)
        distance = hypot(x - at[0], y - at[1])
        if distance < RADIUS_M and (distance < before or way > 0.01):
            return float(way)
        before = distance
    return 8.0


@given(
    st.floats(-pi, pi),
    st.floats(0.2, 3.0),
    st.sampled_from([-0.8, -0.3, 0.1, 0.5]),
    st.sampled_from([-2.0, -0.5, -0.1, 0.0, 0.2, 1.0]),
)
def test_the_free_way_is_what_a_simulation_finds(angle, distance, linear, angular):
    beam = round((angle + pi) / (2 * pi / 360)) % 360
    angle = -pi + beam * 2 * pi / 360
    x, y = distance * cos(angle), distance * sin(angle)
    found = surroundings(points((x, y))).free_m(linear, angular)
    expected = simulated_m(x, y, linear, angular)
    grazes = abs(found - expected) > 0.01 and max(
        simulated_m(x * f, y * f, linear, angular) == 8.0 for f in (0.98, 0.99, 1.01, 1.02)
    )
    assert found == pytest.approx(expected, abs=0.01) or grazes


@given(st.binary(min_size=1440, max_size=1440), st.floats(), st.floats())
def test_whatever_the_numbers_the_free_way_is_a_distance_within_the_lasers_reach(raw, linear, angular):
    with np.errstate(all="ignore"):
        found = surroundings(scan(np.frombuffer(raw, dtype=np.float32))).free_m(linear, angular)
    assert 0 <= found <= 8


@given(st.floats(0, 100), st.floats(0.1, 20), st.floats(0, 1))
def test_the_allowed_speed_stops_within_the_distance(distance, deceleration, reaction):
    speed = speed_for(distance, deceleration, reaction)
    assert stopping_m(speed, deceleration, reaction) == pytest.approx(distance, abs=1e-6)


def test_there_is_no_speed_for_no_distance():
    assert speed_for(0.0, 2.0, 0.1) == speed_for(-1.0, 2.0, 0.1) == 0
