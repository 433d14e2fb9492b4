"""The way of the base among what the laser sees, against a simulation in small steps."""

from __future__ import annotations

from dataclasses import replace
from math import acos, atan2, cos, hypot, inf, nan, pi, sin, tau

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.safety.rig import TICK_NS, S, odometry, points, rover, scan
from vlad.messages import LaserScan, NearObject, Proximity, Sample
from vlad.robot import Laser, ObstacleStop
from vlad.safety.obstacle import Surroundings, enough_way_m, speed_for, stopping_m

RADIUS_M = 0.18


class Seen:
    """Surroundings at the moment of their newest scan."""

    def __init__(self, *lasers: Laser, proximity: tuple[str, ...] = ()) -> None:
        self.lasers = lasers or (Laser(signal="laser"),)
        self.around = Surroundings(ObstacleStop(lasers=self.lasers, proximity=proximity, radius=RADIUS_M))
        self.now_ns = TICK_NS

    def see(self, *data, near=(), ages_s=(0.0, 0.0, 0.0)) -> Seen:
        scans = [self.sample(part, age_s) for part, age_s in zip(data, ages_s, strict=False)]
        self.around.see(scans, [self.sample(part) for part in near])
        return self

    def sample(self, data, age_s: float = 0.0) -> Sample | None:
        stamp_ns = self.now_ns - round(age_s * S)
        return data and Sample("laser", 1, stamp_ns, stamp_ns, "base_link", data)

    def free_m(self, linear: float, angular: float, after_s: float = 0.0) -> float:
        return self.around.free_m(linear, angular, self.now_ns + round(after_s * S))


@given(
    st.lists(st.floats(0.05, 8), min_size=36, max_size=36), st.floats(-2, 2), st.floats(-3, 3),
    st.floats(0.3, 3), st.sampled_from([(0.0, 0.0), (0.2, -0.1)]),
)  # fmt: skip
def test_what_is_farther_than_enough_makes_no_difference(ranges, linear, angular, enough_m, mount):
    data = LaserScan(-np.pi, np.pi / 18, 0.05, 8.0, np.float32(ranges))
    laser = Laser(signal="laser", x=mount[0], y=mount[1])
    settings = ObstacleStop(lasers=(laser,), radius=RADIUS_M)
    every, near = Surroundings(settings), Surroundings(settings, enough_m)
    for around in (every, near):
        around.see([Sample("laser", 1, S, S, "base_link", data)])
    exact, free = every.free_m(linear, angular, S), near.free_m(linear, angular, S)
    assert free == pytest.approx(exact, abs=1e-9) if exact <= enough_m else free > enough_m


@pytest.mark.parametrize("mount", [{"x": -0.3}, {"y": -1.0}])
def test_what_is_near_the_base_counts_however_far_off_its_laser_is(mount):
    laser = Laser(signal="laser", **mount)
    near = Surroundings(ObstacleStop(lasers=(laser,), radius=RADIUS_M), enough_m=1.0)
    data = points((1.0 - laser.x, 0.15 - laser.y))
    near.see([Sample("laser", 1, S, S, "base_link", data)])
    assert near.free_m(0.5, 0.0, S) == pytest.approx(1.0 - (RADIUS_M**2 - 0.15**2) ** 0.5, abs=0.05)


@given(
    st.lists(st.floats(0.05, 8), min_size=72, max_size=72), st.floats(-2, 2), st.floats(-3, 3),
    st.floats(0, 6), st.floats(0, 0.3), st.floats(0, 0.2),
)  # fmt: skip
def test_only_ways_shorter_than_enough_are_told_exactly(ranges, linear, angular, enough_m, age_s, after_s):
    seen = Seen(FRONT, BACK).see(
        *(
            LaserScan(-np.pi / 2, np.pi / 36, 0.05, 8.0, np.float32(part))
            for part in (ranges[:36], ranges[36:])
        ),
        ages_s=(0.0, age_s),
    )
    now_ns = seen.now_ns + round(after_s * S)
    exact, free = (seen.around.free_m(linear, angular, now_ns, enough) for enough in (np.inf, enough_m))
    assert free == exact if exact < enough_m else free >= enough_m


def surroundings(data) -> Seen:
    return Seen().see(data)


def test_without_a_scan_no_way_is_free():
    seen = Seen()
    assert seen.free_m(0.5, 0.0) == seen.free_m(-0.5, 0.0) == seen.free_m(0.0, 1.0) == 0
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


def test_what_is_off_the_middle_is_touched_later():
    x, y = cos(pi / 30), sin(pi / 30)
    assert surroundings(points((x, y))).free_m(0.5, 0.0) == pytest.approx(x - (RADIUS_M**2 - y * y) ** 0.5)


@pytest.mark.parametrize(("bend_m", "from_centre_m", "hit"), [
    (1.0, 1.25, False), (1.0, 1.14, True), (1.0, 0.86, True), (1.0, 0.75, False),
    (2.0, 2.22, False), (2.0, 1.86, True), (0.5, 0.2, False), (0.5, 0.64, True),
])  # fmt: skip
@pytest.mark.parametrize("side", [1, -1])
def test_on_a_bent_way_only_the_ring_that_the_disc_sweeps_counts(bend_m, from_centre_m, hit, side):
    x, y = from_centre_m * sin(2.0), bend_m - from_centre_m * cos(2.0)
    free_m = surroundings(points((x, side * y))).free_m(0.5, side * 0.5 / bend_m)
    c = from_centre_m
    delta = acos((bend_m**2 + c**2 - RADIUS_M**2) / (2 * bend_m * c)) if hit else 0.0
    assert free_m == (pytest.approx(bend_m * (2.0 - delta), abs=0.08) if hit else 8)


def test_what_is_just_across_the_circle_is_half_a_turn_away():
    ranges = np.full(360, inf)
    ranges[180] = 1.0
    seen = Seen(Laser(signal="laser", x=-1.0, y=2.0)).see(scan(ranges))
    assert seen.free_m(0.5, 0.5) == pytest.approx(pi - acos(1 - RADIUS_M**2 / 2))


@pytest.mark.parametrize("sign", [1, -1])
def test_a_laser_that_sees_just_the_quarter_ahead_covers_the_way_ahead(sign):
    beams, increment = 10, pi / 20
    first = -pi / 4 if sign > 0 else -pi / 4 + (beams - 1) * increment
    data = LaserScan(first, sign * increment, 0.05, 8.0, np.full(beams, inf, dtype=np.float32))
    assert surroundings(data).free_m(0.5, 0.0) == 8
    fewer = replace(data, ranges=data.ranges[:-1])
    assert surroundings(fewer).free_m(0.5, 0.0) == 0


def test_a_laser_may_turn_its_scan_around():
    seen = surroundings(points((1.0, 0.0)))
    ranges = np.full(360, inf, dtype=np.float32)
    ranges[0] = 1.0
    seen.see(scan(ranges, angle_min=0.0))
    assert seen.free_m(0.5, 0.0) == pytest.approx(1.0 - RADIUS_M)
    assert seen.free_m(-0.5, 0.0) == 8


@pytest.mark.parametrize(("changes", "ahead_m"), [
    ({"ranges": np.full(360, 8.0, dtype=np.float32)}, 8.0 - RADIUS_M), ({"range_max": 0.5}, 0.5),
    ({"range_min": 0.0}, 8.0), ({"range_min": 8.0}, 8.0),
])  # fmt: skip
def test_a_laser_sees_from_its_shortest_to_its_longest_range(changes, ahead_m):
    assert surroundings(scan(**changes)).free_m(0.5, 0.0) == pytest.approx(ahead_m)


@pytest.mark.parametrize(("mount", "range_max", "reach_m"), [
    ({"x": 0.2}, 0.1, 0.0), ({"y": 0.3}, 8.0, 7.7), ({"x": 0.3, "y": -0.4}, 8.0, 7.5),
    ({"x": 1.0, "y": 1.0}, 8.0, 8.0 - 2**0.5),
])  # fmt: skip
def test_a_laser_off_the_centre_reaches_less_far(mount, range_max, reach_m):
    seen = Seen(Laser(signal="laser", **mount)).see(scan(range_max=range_max))
    assert seen.free_m(0.5, 0.0) == pytest.approx(reach_m)


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


def test_what_touches_from_behind_blocks_the_way_back_only():
    seen = surroundings(points((-0.17, 0.02), (1.0, 0.0)))
    assert seen.free_m(-0.1, 0.0) == seen.free_m(-0.1, 0.5) == 0
    assert seen.free_m(0.5, 0.0) == pytest.approx(1.0 - RADIUS_M)
    assert surroundings(points((-0.1, 0.0))).free_m(0.1, 2.0) == 8


def test_what_touches_at_the_side_blocks_neither_way():
    ranges = np.full(360, inf)
    ranges[180] = 1.0
    seen = Seen(Laser(signal="laser", x=-1.0, y=0.1)).see(scan(ranges))
    assert seen.free_m(0.5, 0.0) == seen.free_m(-0.5, 0.0) == pytest.approx(8.0 - hypot(1.0, 0.1))


def test_what_touches_one_laser_does_not_mix_up_the_ages_of_the_others():
    seen = Seen(Laser(signal="new"), Laser(signal="old")).see(
        points((0.0, 0.17), (0.17, -0.1), (3.0, 0.0)), points((2.0, 0.0)), ages_s=(0.0, 0.2)
    )
    assert seen.free_m(-0.5, 0.0) == pytest.approx(8.0 - 0.1)
    free = Seen(Laser(signal="new"), Laser(signal="old")).see(
        points((-0.17, 0.0), (3.0, 0.0)), points((2.0, 0.0)), ages_s=(0.0, 0.2)
    )
    assert free.free_m(0.5, 0.0) == pytest.approx(2.0 - RADIUS_M - 0.1)


def test_what_an_old_scan_saw_may_be_nearer_than_enough_by_now():
    seen = Seen(Laser(signal="new"), Laser(signal="old"))
    seen.see(scan(), points((1.5, 0.0)), ages_s=(0.0, 0.3))
    assert seen.around.free_m(2.0, 0.0, seen.now_ns, 1.0) == pytest.approx(1.5 - RADIUS_M - 0.6)


def test_lasers_that_see_little_each_cover_the_way_together():
    left, right = Laser(signal="left"), Laser(signal="right", yaw=-pi / 4)
    part = LaserScan(0.0, pi / 400, 0.05, 8.0, np.full(100, inf, dtype=np.float32))
    assert Seen(left, right).see(part, part).free_m(0.5, 0.0) == 8


@pytest.mark.parametrize("unknown", [nan, -inf, 0.0, -1.0, 0.04])
def test_a_beam_that_says_nothing_is_something_near(unknown):
    ranges = np.full(360, inf)
    ranges[180] = unknown
    seen = surroundings(scan(ranges))
    assert seen.free_m(0.5, 0.0) == 0
    assert seen.free_m(-0.5, 0.0) == 8


@pytest.mark.parametrize("unknown", [nan, -inf, 0.0, -1.0])
def test_a_beam_that_says_nothing_is_near_whatever_the_shortest_range(unknown):
    ranges = np.full(360, inf)
    ranges[180] = unknown
    seen = surroundings(scan(ranges, range_min=0.0))
    assert seen.free_m(0.5, 0.0) == 0
    assert seen.free_m(-0.5, 0.0) == 8
    assert surroundings(scan(unknown, range_min=0.0)).free_m(-0.5, 0.0) == 0


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


# Several lasers, and proximity

FRONT, BACK = Laser(signal="front", x=0.1), Laser(signal="back", x=-0.1, yaw=pi)


def half(ranges=inf, **changes) -> LaserScan:
    """180 beams over 200 degrees, ahead of the laser."""
    full = np.broadcast_to(np.asarray(ranges, dtype=np.float32), 180).copy()
    return replace(LaserScan(-1.745, 3.49 / 180, 0.05, 8.0, full), **changes)


def test_lasers_together_cover_what_none_covers_alone():
    seen = Seen(FRONT, BACK).see(half(), half())
    assert seen.free_m(0.5, 0.0) == seen.free_m(-0.5, 0.1) == pytest.approx(7.9)


def test_ways_that_need_the_sector_of_a_missing_laser_are_blocked():
    seen = Seen(FRONT, BACK).see(half(), None)
    assert seen.free_m(0.5, 0.0) == pytest.approx(7.9)
    assert seen.free_m(-0.5, 0.0) == 0
    seen.see(None, half())
    assert seen.free_m(0.5, 0.0) == 0
    assert seen.free_m(-0.5, 0.0) == pytest.approx(7.9)
    seen.see(None, None)
    assert seen.free_m(-0.5, 0.0) == seen.free_m(0.0, 1.0) == 0


def test_sectors_that_meet_cover_and_a_gap_between_them_does_not():
    left, right = Laser(signal="left", yaw=pi / 4), Laser(signal="right", yaw=-pi / 4)
    quarter = LaserScan(-pi / 4, pi / 2 / 90, 0.05, 8.0, np.full(90, inf, dtype=np.float32))
    seen = Seen(left, right).see(quarter, quarter)
    assert seen.free_m(0.5, 0.0) == 8
    assert seen.free_m(-0.5, 0.0) == 0
    narrow = replace(quarter, ranges=quarter.ranges[:-1])
    assert Seen(left, right).see(quarter, narrow).free_m(0.5, 0.0) == 0


def test_a_mounted_laser_sees_its_points_where_they_are():
    seen = Seen(Laser(signal="laser", x=0.1, y=0.2, yaw=pi / 2)).see(points((-0.2, -0.9)))
    assert seen.free_m(0.5, 0.0) == pytest.approx(1.0 - RADIUS_M, abs=0.02)
    inside = Seen(Laser(signal="laser", x=0.1)).see(points((0.06, 0.0)))
    assert inside.free_m(0.5, 1.0) == 0
    assert inside.free_m(-0.5, 1.0) > 0.2


@given(
    st.floats(-pi, pi), st.floats(0.4, 3.0), st.sampled_from([-0.8, 0.5]), st.sampled_from([-2.0, 0.0, 0.5]),
    st.floats(-0.3, 0.3), st.floats(-0.3, 0.3), st.floats(-pi, pi),
)  # fmt: skip
def test_where_a_laser_is_mounted_changes_nothing(angle, distance, linear, angular, x, y, yaw):
    at = distance * cos(angle), distance * sin(angle)
    seen_from = at[0] - x, at[1] - y
    beam = LaserScan(atan2(seen_from[1], seen_from[0]) - yaw, tau, 0.01, 9.0,
                     np.array([hypot(*seen_from)], dtype=np.float32))  # fmt: skip
    centred = replace(beam, angle_min=angle, ranges=np.array([distance], dtype=np.float32))
    mounted = Seen(Laser(signal="laser", x=x, y=y, yaw=yaw)).see(beam).free_m(linear, angular)
    expected = surroundings(centred).free_m(linear, angular)
    assert mounted == pytest.approx(expected, abs=0.03) or min(mounted, expected) > 8


def test_each_scan_grows_old_by_itself():
    seen = Seen(FRONT, BACK).see(half(), half(), ages_s=(0.1, 0.0))
    assert seen.free_m(0.5, 0.0) == pytest.approx(7.9 - 0.05)
    assert seen.free_m(0.5, 0.0, after_s=0.2) == pytest.approx(7.9 - 0.15)
    fan = np.full(180, inf)
    fan[90] = 1.0
    front_old = Seen(FRONT, BACK).see(half(fan), half(), ages_s=(0.1, 0.0)).free_m(0.5, 0.0, after_s=0.1)
    assert front_old == pytest.approx(1.1 - RADIUS_M - 0.1, abs=0.01)
    back_old = Seen(FRONT, BACK).see(half(fan), half(), ages_s=(0.0, 0.1)).free_m(0.5, 0.0, after_s=0.1)
    assert back_old == pytest.approx(1.1 - RADIUS_M - 0.05, abs=0.01)


def test_each_scan_grows_old_by_itself_on_a_bent_way_too():
    fan = np.full(180, inf)
    fan[90] = 1.0
    for ages_s, driven_m in (((0.1, 0.0), 0.1), ((0.0, 0.1), 0.05)):
        seen = Seen(FRONT, BACK).see(half(fan), half(), ages_s=ages_s)
        assert seen.free_m(0.5, 0.01, after_s=0.1) == pytest.approx(1.1 - RADIUS_M - driven_m, abs=0.01)


def test_what_is_near_is_in_the_way_of_every_travel():
    seen = Seen(proximity=("ring",)).see(scan(), near=[Proximity((NearObject("x", 0.5, 0.0), FAR))])
    assert seen.free_m(0.5, 0.0) == seen.free_m(-0.5, 1.0) == 0.5
    assert seen.free_m(0.5, 0.0, after_s=0.1) == pytest.approx(0.45)
    assert seen.free_m(0.0, 1.0) == 8
    seen.see(scan(), near=[Proximity(())])
    assert seen.free_m(0.5, 0.0) == 8


FAR, NOWHERE = NearObject("y", 3.0, 0.0), NearObject("x", nan, 0.0)


@pytest.mark.parametrize("unknown", [
    None, odometry(), Proximity((NOWHERE, FAR)), Proximity((FAR, NOWHERE)),
], ids=["missing", "type", "nan first", "nan last"])  # fmt: skip
def test_a_distance_that_is_not_known_is_none(unknown):
    seen = Seen(proximity=("ring",)).see(scan(), near=[unknown])
    assert seen.free_m(0.5, 0.0) == seen.free_m(-0.5, 0.0) == 0


@pytest.mark.parametrize("changes", [{"range_min": 9.0}, {"range_min": -1.0}, {"range_min": nan},
                                     {"angle_increment": 1e300}, {"angle_increment": nan}])  # fmt: skip
def test_a_scan_whose_numbers_contradict_each_other_blocks_every_way(changes):
    assert surroundings(scan(1.0, **changes)).free_m(0.5, 0.0) == 0


@given(st.floats(0, 100), st.floats(0.1, 20), st.floats(0, 1))
def test_the_allowed_speed_stops_within_the_distance(distance, deceleration, reaction):
    speed = speed_for(distance, deceleration, reaction)
    assert stopping_m(speed, deceleration, reaction) == pytest.approx(distance, abs=1e-6)


@pytest.mark.parametrize(("axis", "braking"), [
    ({"velocity": 2.0, "acceleration": 4.0, "deceleration": 1.0}, 1.0),
    ({"velocity": 0.5, "acceleration": 2.0, "deceleration": None}, 2.0),
])  # fmt: skip
def test_what_is_far_enough_is_the_way_to_stop_from_half_again_the_speed_limit(axis, braking):
    robot = rover()
    linear = robot.axes["linear_x"].model_copy(update=axis)
    speed, way_m, dt_s = 1.5 * axis["velocity"], 0.0, 1e-4
    unseen_s = 0.3 + robot.obstacle.reaction_s
    while speed > 0:
        way_m += speed * dt_s
        unseen_s -= dt_s
        speed -= braking * dt_s if unseen_s < 0 else 0
    enough_m = enough_way_m(rover(axes=robot.axes | {"linear_x": linear}), robot.obstacle, max_age_s=0.3)
    assert enough_m == pytest.approx(way_m + robot.obstacle.margin, abs=0.01)


def test_there_is_no_speed_for_no_distance():
    assert speed_for(0.0, 2.0, 0.1) == speed_for(-1.0, 2.0, 0.1) == 0
