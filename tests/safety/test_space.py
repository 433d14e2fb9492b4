"""Separation from people, contact, forces, obstacles around the whole base."""

from __future__ import annotations

from math import inf, isfinite, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.safety.arm_rig import ArmRig, limits
from tests.safety.rig import ROVER_SIGNALS, Rig, odometry, points, rover, scan, settings
from vlad.messages import EStop, Kind, NearObject, Proximity, Wrench
from vlad.robot import Laser, ObstacleStop, Separation
from vlad.safety.checks import space
from vlad.safety.motion import Limits
from vlad.safety.obstacle import stopping_m

PEOPLE = {"people": {"type": "proximity", "max_age_s": 0.4}}


def person(distance: float, velocity: float = 0.0, name: str = "someone") -> Proximity:
    return Proximity((NearObject(name, distance, velocity),))


def with_people(**changes) -> Rig:
    separation = Separation(signal="people", **changes)
    rig = Rig(rover(separation=separation), settings(ROVER_SIGNALS | PEOPLE))
    rig.data["people"] = Proximity(())
    return rig


def needed_m(rig: Rig) -> float:
    """The protective distance as the check computes it, from what it lets pass."""
    near = far = 0.0
    low, high = 0.0, 50.0
    for _ in range(40):
        near = (low + high) / 2
        rig.data["people"] = person(near, far)
        view = rig.kernel._view(rig.sense())
        faults = {finding.fault for finding in space.separation(view)}
        low, high = (near, high) if "person_near" in faults else (low, near)
    rig.data["people"] = Proximity(())
    return low


def test_the_protective_distance_of_a_base_is_that_of_iso_ts_15066():
    """v_h (T_r + T_s) + v_r T_r + S_s + C + Z_d + Z_r at 0.8 m/s, braking with 2 m/s^2."""
    assert needed_m(with_people().driving()) == pytest.approx(
        1.6 * (0.1 + 0.4) + 0.8 * 0.1 + 0.8**2 / (2 * 2.0) + 0.1 + 0.1 + 0.05
    )


def test_a_base_at_rest_needs_only_the_time_to_notice():
    assert needed_m(with_people().armed()) == pytest.approx(1.6 * 0.1 + 0.25)


def test_every_term_is_a_setting():
    rig = with_people(
        person_speed=2.0, reaction_s=0.2, stopping_s=1.0, stopping_m=0.5, robot_speed=3.0, intrusion=0.3,
        person_uncertainty=0.02, robot_uncertainty=0.01,
    ).driving()  # fmt: skip
    assert needed_m(rig) == pytest.approx(2.0 * 1.2 + 3.0 * 0.2 + 0.5 + 0.3 + 0.02 + 0.01)


def test_an_arm_needs_as_long_as_its_slowest_joint_to_brake():
    rig = ArmRig().driving(0.5, 0.1)
    stopping_s = 0.5 / 5.0
    expected = 1.6 * (0.1 + stopping_s) + 1.0 * 0.1 + 1.0 * stopping_s / 2 + 0.25
    assert needed_m(rig) == pytest.approx(expected, abs=1e-4)


def test_one_who_runs_at_the_robot_needs_more():
    rig = with_people().driving()
    rig.data["people"] = person(1.5, -1.6)
    assert rig.tick().mode == "degraded"
    rig.data["people"] = person(1.5, -3.0)
    rig.tick()
    assert rig.causes[-1].startswith("person_near: people someone at 1.50 m, 1.9")
    rig.data["people"] = person(30.0, 3.0)
    assert needed_m(rig) == pytest.approx(1.29)


def test_an_old_measurement_needs_more():
    fresh = with_people().driving()
    late = with_people().driving()
    sample = late.sample
    late.sample = lambda topic, data: sample(topic, data, age_s=0.3 if topic == "people" else 0.0)
    assert needed_m(late) - needed_m(fresh) == pytest.approx((1.6 + 0.8) * 0.2)


def test_a_person_within_twice_the_distance_slows_the_robot():
    rig = with_people().driving()
    rig.data["people"] = Proximity((NearObject("a", 20.0, 0.0), NearObject("b", 2.0, 0.0)))
    assert rig.tick().mode == "degraded"
    assert rig.ids() == {"person_close"}
    verdict = rig.tick(100)
    assert verdict.values[0] == pytest.approx(0.24)


def test_after_a_person_stop_the_way_must_be_free_for_full_speed():
    rig = with_people().driving()
    rig.data["people"] = person(1.0)
    rig.tick(100)
    assert (rig.verdict.mode, rig.verdict.values[0]) == ("stopped", 0)
    rig.tick(300)
    assert rig.verdict.mode == "stopped"
    rig.data["people"] = person(1.3)
    rig.tick(300)
    assert (rig.verdict.mode, rig.verdict.values[0]) == ("degraded", pytest.approx(0.24))
    rig.tick(1000)
    assert rig.modes == ["stopping", "stopped", "degraded"]


@pytest.mark.parametrize("people", [
    EStop(False), person(nan), person(inf), person(5.0, nan), person(5.0, -inf),
    Proximity((NearObject("a", 9.0, 0.0), NearObject("b", nan, 0.0))),
], ids=["type", "nan", "inf", "nan velocity", "inf velocity", "one of two"])  # fmt: skip
def test_a_distance_that_is_not_known_counts_as_near(people):
    rig = with_people().driving()
    rig.data["people"] = people
    rig.tick()
    assert "person_near" in rig.ids()


@pytest.mark.parametrize("people", [person(nan), person(5.0, -inf)])
def test_a_distance_that_is_not_known_is_told_as_none(people):
    rig = with_people().armed()
    rig.data["people"] = people
    rig.tick()
    told = [fault.detail for fault in rig.verdict.faults if fault.fault.id == "person_near"]
    assert told == ["someone at 0.00 m, 0.41 m needed"]


def test_people_that_are_not_heard_of_count_as_near():
    rig = with_people().driving()
    rig.silent.add("people")
    rig.tick(42)
    assert {"person_near", "signal_stale"} <= rig.ids()
    rig = with_people()
    rig.silent.add("people")
    rig.tick()
    assert {fault.fault.id for fault in rig.kernel.refusals(rig.sense())} == {"signal_missing"}


def test_who_is_named_in_ignore_is_no_person():
    rig = with_people(ignore=("cart",)).driving()
    rig.data["people"] = person(0.3, name="cart")
    rig.tick()
    assert rig.ids() == set()
    rig.data["people"] = person(0.3, name="")
    rig.tick()
    assert rig.ids() == {"person_near"}


def test_people_that_nobody_knows_of_are_taken_to_touch_the_robot():
    rig = with_people().armed()
    rig.data["people"] = EStop(False)
    told = {fault.fault.id: fault.detail for fault in rig.tick().faults}
    assert told["person_near"] == "nobody knows what at 0.00 m, 0.41 m needed"


@given(st.lists(st.tuples(st.floats(), st.floats()), min_size=1, max_size=4))
def test_whatever_the_distances_no_unknown_one_passes(objects):
    rig = with_people().armed()
    rig.data["people"] = Proximity(tuple(NearObject("x", *pair) for pair in objects))
    found = {finding.fault for finding in space.separation(rig.kernel._view(rig.sense()))}
    unknown = any(not (isfinite(d) and isfinite(v)) for d, v in objects)
    near = any(d < 0.4 for d, v in objects)
    assert "person_near" in found or not (unknown or near)


# Contact


@pytest.mark.parametrize(("force", "torque", "faults"), [
    ((29.0, 0.0, 0.0), (0.0, 4.9, 0.0), set()), ((20.0, -20.0, 20.0), (0.0, 0.0, 0.0), {"contact_force"}),
    ((0.0, 0.0, 0.0), (3.0, -3.0, 3.0), {"contact_force"}),
    ((nan, 0.0, 0.0), (0.0, 0.0, 0.0), {"signal_invalid"}),
    ((0.0, 0.0, 0.0), (0.0, 0.0, -inf), {"signal_invalid"}),
    ((1e300, 1e300, 0.0), (0.0, 0.0, 0.0), {"contact_force"}),
])  # fmt: skip
def test_a_force_or_torque_beyond_its_limit_is_a_collision(force, torque, faults):
    rig = ArmRig().armed()
    rig.data["wrench"] = Wrench(force, torque)
    rig.tick(3)
    assert rig.ids() == faults


def test_a_torque_without_a_limit_is_not_looked_at():
    rig = ArmRig(limits(contact={"signal": "wrench"})).armed()
    rig.data["wrench"] = Wrench((0, 0, 0), (900.0, 0, 0))
    rig.tick(3)
    assert rig.ids() == set()


@pytest.mark.parametrize("topic", ["wrench", "people", "pose"])
def test_the_signals_that_the_limits_name_are_required(topic):
    rig = ArmRig().armed()
    rig.silent.add(topic)
    rig.tick(30)
    assert "signal_stale" in rig.ids()


def test_a_wrench_of_another_type_is_invalid():
    rig = ArmRig().armed()
    rig.data["wrench"] = EStop(False)
    told = [(fault.subject, fault.detail) for fault in rig.tick().faults]
    assert told == [("wrench", "is no wrench with finite numbers")]


# Obstacles


def ringed() -> Rig:
    """A base with two lasers that see half of the way each, and a proximity ring."""
    lasers = (Laser(signal="laser"), Laser(signal="back"))
    obstacle = ObstacleStop(lasers=lasers, proximity=("ring",), radius=0.18)
    known = ROVER_SIGNALS | {"back": ROVER_SIGNALS["laser"], "ring": ROVER_SIGNALS["bumper"]}
    rig = Rig(rover(obstacle=obstacle), settings(known))
    ahead = scan(angle_min=-1.6, angle_increment=3.2 / 360)
    rig.data |= {
        "laser": ahead,
        "back": scan(angle_min=1.5, angle_increment=3.3 / 360),
        "ring": Proximity(()),
    }
    return rig


def test_two_lasers_and_a_ring_let_the_base_drive_both_ways():
    for speed in (0.6, -0.6):
        rig = ringed().driving(speed, 0.0)
        assert rig.verdict.values[0] == pytest.approx(speed)
        assert rig.ids() == set()


@pytest.mark.parametrize("topic", ["laser", "back", "ring"])
def test_each_of_them_is_required(topic):
    rig = ringed()
    rig.silent.add(topic)
    rig.tick()
    assert {fault.subject for fault in rig.kernel.refusals(rig.sense())} == {topic}
    rig = ringed().driving(0.4, 0.0)
    rig.silent.add(topic)
    rig.tick(60)
    assert "signal_stale" in rig.ids()


def test_the_base_stops_before_what_the_ring_sees():
    rig = ringed().driving(0.6, 0.0)
    rig.data["ring"] = person(0.1)
    assert rig.tick().mode == "stopping"
    assert rig.ids() == {"obstacle"}
    rig.tick(100)
    rig.wanted = [0.0, 0.5]
    rig.data["ring"] = Proximity(())
    rig.tick(50)
    rig.data["ring"] = person(0.1)
    rig.tick(50)
    assert rig.verdict.values == pytest.approx([0, 0.5])


def test_an_obstacle_is_told_once_it_leaves_less_than_a_twentieth_of_the_speed():
    for speed, told in ((0.05, set()), (0.03, {"obstacle_ahead"})):
        rig = ringed().armed()
        rig.data["ring"] = person(0.05 + stopping_m(speed, 2.0, 0.1))
        rig.wanted = [0.6, 0.0]
        rig.tick(100)
        assert rig.verdict.values[0] == pytest.approx(speed)
        assert rig.ids() == told


def stops_for(rig: Rig, linear: float, angular: float = 0.0, acting: frozenset[str] = frozenset()) -> bool:
    """Whether a base that moves like this must stop for what is in its way."""
    view = rig.kernel._view(rig.sense())
    view.speed, view.acting = np.array([linear, angular]), acting
    return bool(list(space.obstacle(view)))


def test_a_base_may_come_just_as_near_as_it_needs_to_stop():
    rig = ringed().armed()
    rig.data["ring"] = person(stopping_m(0.5, 2.0, 0.1))
    assert not stops_for(rig, 0.5)
    assert stops_for(rig, 0.51)


def test_a_stop_for_an_obstacle_goes_on_until_the_way_is_free_for_full_speed():
    rig = ringed().armed()
    for free_m, stops in ((stopping_m(0.79, 2.0, 0.1), True), (stopping_m(0.81, 2.0, 0.1), False)):
        rig.data["ring"] = person(free_m)
        assert not stops_for(rig, 0.3)
        assert stops_for(rig, 0.3, acting=frozenset({"obstacle"})) == stops


def test_a_base_at_rest_has_nothing_to_stop_for():
    rig = ringed().armed()
    rig.data["ring"] = person(0.0)
    rest = Limits(rig.robot).rest[0]
    assert not stops_for(rig, rest)
    assert stops_for(rig, 1.01 * rest)


def test_a_base_does_not_stop_for_what_its_bend_leads_past():
    rig = Rig().armed()
    rig.data["laser"] = points((0.28, -0.14))
    assert stops_for(rig, 0.8, 0.0)
    assert not stops_for(rig, 0.8, 2.0)
    rig.wanted = [0.8, 2.0]
    assert rig.tick(100).values == pytest.approx([0.8, 2.0])


def test_a_base_creeps_up_to_what_the_ring_sees_and_waits():
    rig = ringed().armed()
    left_m, rig.wanted = 1.0, [0.6, 0.0]
    for _ in range(600):
        rig.data["ring"] = person(left_m)
        rig.tick()
        left_m -= rig.velocity[0] * 0.01
    assert 0.045 < left_m < 0.08
    assert rig.ids() == {"obstacle_ahead"}


def test_a_rover_without_obstacle_settings_has_no_free_way_to_tell():
    rig = Rig(rover(obstacle=None)).driving()
    assert rig.kernel._view(rig.sense()).free_way_m(0.5, 0.0, 1.0) == 0


def test_the_free_way_is_told_along_the_bend():
    rig = Rig().armed()
    rig.data["laser"] = points((1.0, 0.0))
    view = rig.kernel._view(rig.sense())
    assert view.free_way_m(0.5, 0.0, 9.0) == pytest.approx(1.0 - rig.robot.obstacle.radius)
    assert view.free_way_m(0.5, 0.5, 9.0) == 8


def test_a_bumper_that_says_nothing_sensible_is_invalid():
    rig = Rig().armed()
    rig.data["bumper"] = odometry()
    (told,) = rig.tick().faults
    assert (told.fault.id, told.subject, told.detail) == ("signal_invalid", "bumper", "is no proximity")
    rig.data["bumper"] = person(nan, name="")
    told = rig.tick().faults[0]
    assert (told.fault.id, told.subject, told.detail) == ("contact", "bumper", "touches something")


def test_a_way_that_no_scan_covers_is_blocked_behind_a_base_with_a_front_laser():
    rig = Rig().armed()
    rig.data["laser"] = scan(angle_min=-1.6, angle_increment=3.2 / 360)
    rig.wanted = [-0.3, 0.0]
    assert rig.tick(50).values[0] == 0
    rig.data["laser"] = points((5.0, 0.0))
    assert rig.tick(50).values[0] < 0


def test_separation_needs_nothing_of_an_arm_that_has_none():
    assert ArmRig(limits(Kind.JOINT_VELOCITY, separation=None)).armed().ids() == set()
