"""Whatever is asked for, what is commanded stays within position, velocity and acceleration."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.safety.rig import Rig, arm, rover
from vlad.messages import MAX_TTL_MS, Kind
from vlad.safety.envelope import Envelope
from vlad.safety.motion import Limits

NUMBERS = st.floats(allow_nan=False, allow_infinity=False, width=32)
TURNS = st.lists(
    st.tuples(
        st.none() | st.tuples(NUMBERS, NUMBERS) | st.tuples(st.floats(-2, 2), st.floats(-2, 2)),
        st.sampled_from([0.0, 0.001, 0.01, 0.013, 0.02]),
        st.sampled_from([0.0, 0.3, 0.5, 1.0]),
    ),
    max_size=60,
)


def run(envelope: Envelope, limits: Limits, turns, measured=None):
    """Step through the turns; check speed and acceleration at each and yield the envelope."""
    for target, dt_s, scale in turns:
        before = envelope.velocity.copy()
        wanted = None if target is None else np.array(target)
        velocity = envelope.bound(wanted, dt_s, scale, measured)
        envelope.step(velocity, dt_s)
        steepest = np.maximum(limits.acceleration, limits.deceleration) * dt_s
        assert (np.abs(velocity) <= limits.velocity + 1e-9).all()
        assert (np.abs(velocity - before) <= steepest + 1e-9).all()
        faster = np.abs(velocity) - np.abs(before)
        assert (faster <= limits.acceleration * dt_s + 1e-9).all()
        assert np.isfinite(envelope.values(None if measured is None else measured)).all()
        yield envelope


@given(TURNS)
def test_a_twist_stays_within_speed_and_acceleration(turns):
    limits = Limits(rover())
    for _ in run(Envelope(Kind.TWIST, limits), limits, turns):
        pass


@given(TURNS, st.floats(-1, 1.5), st.floats(-1.02, 1.52))
def test_positions_stay_within_their_limits_however_they_are_pushed(turns, first, second):
    limits = Limits(arm())
    envelope = Envelope(Kind.JOINT_POSITION, limits)
    start = np.array([first, second])
    envelope.start(start)
    lowest, highest = np.minimum(limits.lower, start), np.maximum(limits.upper, start)
    for now in run(envelope, limits, turns):
        assert (now.position >= lowest - 1e-9).all()
        assert (now.position <= highest + 1e-9).all()


@given(
    st.floats(-1, 1.5),
    st.floats(-1, 1.5),
    st.lists(st.sampled_from([0.004, 0.01, 0.02]), min_size=1, max_size=9),
)
def test_a_target_that_stands_still_is_reached_and_never_overshot(start, target, rhythm):
    limits = Limits(arm())
    envelope = Envelope(Kind.JOINT_POSITION, limits)
    envelope.start(np.array([start, start]))
    wanted = np.array([target, target])
    side = np.sign(target - start)
    elapsed, turn = 0.0, 0
    while elapsed < 4:
        dt_s = rhythm[turn % len(rhythm)]
        envelope.step(envelope.bound(wanted, dt_s, 1.0, None), dt_s)
        assert (side * (target - envelope.position) >= -1e-9).all()
        elapsed, turn = elapsed + dt_s, turn + 1
    assert envelope.position == pytest.approx([target, target], abs=1e-4)


@given(TURNS, st.floats(-1, 1.5))
def test_a_joint_velocity_leaves_room_to_stop_before_the_limit(turns, position):
    limits = Limits(arm(Kind.JOINT_VELOCITY))
    envelope = Envelope(Kind.JOINT_VELOCITY, limits)
    measured = np.array([position, position])
    for target, dt_s, scale in turns:
        velocity = envelope.bound(None if target is None else np.array(target), dt_s, scale, measured)
        before = np.abs(envelope.velocity)
        envelope.step(velocity, dt_s)
        room = np.where(velocity > 0, limits.upper - position, position - limits.lower)
        stops = velocity * velocity / (2 * limits.deceleration) <= room + 1e-9
        brakes = np.abs(velocity) <= np.maximum(0, before - limits.deceleration * dt_s) + 1e-9
        assert (stops | brakes).all()


def test_slowing_down_uses_the_deceleration_and_passing_zero_both():
    limits = Limits(rover())
    envelope = Envelope(Kind.TWIST, limits)
    envelope.velocity = np.array([0.01, 0.0])
    velocity = envelope.approach(np.array([-0.8, 0.0]), 0.01)
    assert velocity[0] == pytest.approx(-0.5 * 0.01 * 1.5)
    envelope.velocity = np.array([0.8, 0.0])
    assert envelope.approach(np.array([0.0, 0.0]), 0.01)[0] == pytest.approx(0.78)


def test_a_lower_speed_limit_is_approached_within_the_deceleration():
    limits = Limits(rover())
    envelope = Envelope(Kind.TWIST, limits)
    envelope.velocity = np.array([0.8, 0.0])
    assert envelope.bound(np.array([0.8, 0.0]), 0.01, 0.5, None)[0] == pytest.approx(0.78)


def test_a_delta_points_from_the_measured_position():
    limits = Limits(arm(Kind.JOINT_DELTA))
    envelope = Envelope(Kind.JOINT_DELTA, limits)
    measured = np.array([0.2, 0.3])
    envelope.start(measured)
    values = np.array([0.5, -0.5], dtype=np.float32)
    target = envelope.target(values, measured)
    assert target == pytest.approx([0.7, -0.2])
    envelope.step(envelope.bound(target, 0.01, 1.0, None), 0.01)
    assert envelope.values(measured) == pytest.approx([0.0004, -0.0004])
    assert envelope.target(values, None) is None
    assert envelope.values(None).size == 0


def test_a_wrong_measurement_does_not_fling_an_arm_that_follows_deltas():
    limits = Limits(arm(Kind.JOINT_DELTA))
    envelope = Envelope(Kind.JOINT_DELTA, limits)
    envelope.start(np.array([0.2, 0.3]))
    farthest = limits.velocity * MAX_TTL_MS / 1000
    assert envelope.values(np.array([1.4, -0.9])) == pytest.approx([-farthest[0], farthest[1]])


def test_positions_without_a_start_are_not_commanded():
    envelope = Envelope(Kind.JOINT_POSITION, Limits(arm()))
    assert not envelope.bound(np.array([1.0, 1.0]), 0.01, 1.0, None).any()
    assert envelope.values(None).size == 0


@given(TURNS)
def test_acceleration_builds_up_no_faster_than_the_jerk_allows_and_braking_is_not_held_back(turns):
    robot = arm(Kind.JOINT_VELOCITY)
    axes = {name: axis.model_copy(update={"jerk": 20.0}) for name, axis in robot.axes.items()}
    limits = Limits(robot.model_copy(update={"axes": axes}))
    envelope = Envelope(Kind.JOINT_VELOCITY, limits)
    built = np.zeros(2)
    for target, dt_s, scale in turns:
        before = envelope.velocity.copy()
        wanted = None if target is None else np.array(target)
        velocity = envelope.bound(wanted, dt_s, scale, None)
        envelope.step(velocity, dt_s)
        if dt_s == 0:
            assert (velocity == before).all()
            continue
        same = before * velocity > 0
        speeding = np.maximum(0.0, np.abs(velocity) - np.where(same, np.abs(before), 0.0)) / dt_s
        assert (speeding <= np.minimum(built + 20.0 * dt_s, limits.acceleration) + 1e-9).all()
        built = speeding
        if target is None:
            least = np.maximum(0.0, np.abs(before) - limits.deceleration * dt_s)
            assert (np.abs(velocity) <= least + 1e-9).all()


def test_more_jerk_than_allowed_is_told():
    robot = arm(Kind.JOINT_VELOCITY)
    axes = {**robot.axes, "j1": robot.axes["j1"].model_copy(update={"jerk": 20.0})}
    rig = Rig(robot.model_copy(update={"axes": axes})).driving(0.0, 1.0)
    told = {fault.fault.id for fault in rig.verdict.faults}
    assert told <= {"jerk_limit"}
    rig = Rig(robot.model_copy(update={"axes": axes})).armed()
    rig.task, rig.wanted = "go", [1.0, 1.0]
    rig.tick(3)
    told = {(fault.fault.id, fault.subject, fault.detail) for fault in rig.verdict.faults}
    assert ("jerk_limit", "j1", "bounded") in told
    assert rig.verdict.mode == "active"


# Single steps


def jerky() -> Envelope:
    robot = arm(Kind.JOINT_VELOCITY)
    axes = {name: axis.model_copy(update={"jerk": 20.0}) for name, axis in robot.axes.items()}
    return Envelope(Kind.JOINT_VELOCITY, Limits(robot.model_copy(update={"axes": axes})))


def test_acceleration_builds_up_from_zero_in_either_direction():
    """By 20 a second each second: 0.2, 0.4, 0.6; and anew from zero when the direction turns."""
    envelope, taken = jerky(), []
    for wanted in (1.0, 1.0, -1.0, -1.0):
        envelope.step(envelope.approach(np.array([wanted, 0.0]), 0.01), 0.01)
        taken.append(envelope.velocity[0])
    turned = (0.006 - 0.05) * 0.6 / 5.0
    assert taken == pytest.approx([0.002, 0.006, turned, turned - (-turned / 0.01 + 0.2) * 0.01])


def test_who_asks_for_no_more_than_is_given_asks_for_no_jerk():
    envelope = jerky()
    assert envelope.jerked == ""
    envelope.approach(np.array([0.0, 1.0]), 0.01)
    assert envelope.jerked == "j1"
    envelope.approach(np.array([0.002, 0.0]), 0.01)
    assert envelope.jerked == ""


@pytest.mark.parametrize(("measured", "target", "expected"), [
    ((0.2, -0.2), (0.5, -0.5), (0.5, -0.5)), ((-0.99, 1.49), (-1.0, 1.0), (-0.2702, 0.2702)),
    ((1.49, -0.99), (1.0, -1.0), (0.2702, -0.2702)), ((-0.99, 1.49), (0.28, -0.28), (0.28, -0.28)),
    ((1.3, -0.9), (0.3, -0.3), (0.3, -0.3)), ((-1.5, 2.0), (-1.0, 1.0), (0.0, 0.0)),
])  # fmt: skip
def test_a_joint_velocity_is_followed_up_to_what_leaves_room_to_stop(measured, target, expected):
    """5 (sqrt(0.01^2 + 2 * 0.01 / 5) - 0.01) = 0.2702 with 0.01 of way left."""
    envelope = Envelope(Kind.JOINT_VELOCITY, Limits(arm(Kind.JOINT_VELOCITY)))
    for _ in range(60):
        envelope.step(envelope.bound(np.array(target), 0.01, 1.0, np.array(measured)), 0.01)
    assert envelope.velocity == pytest.approx(expected, abs=1e-4)


def test_a_joint_that_is_too_fast_is_held_back_before_its_limit():
    envelope = Envelope(Kind.JOINT_POSITION, Limits(arm()))
    envelope.start(np.array([1.45, -0.95]))
    envelope.velocity = np.array([1.0, -1.0])
    held = envelope.bound(np.array([1.5, -1.0]), 0.01, 1.0, None)
    assert held == pytest.approx([0.6589, -0.6589], abs=1e-4)


@pytest.mark.parametrize("kind", list(Kind))
def test_commands_are_single_floats_as_the_driver_gets_them(kind):
    limits = Limits(rover() if kind is Kind.TWIST else arm(kind))
    envelope = Envelope(kind, limits)
    envelope.start(np.zeros(2))
    assert envelope.values(np.zeros(2)).dtype == np.float32
