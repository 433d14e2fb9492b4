"""Exactly at its limit everything is allowed still."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.safety.arm_rig import ArmRig, limits
from tests.safety.rig import Rig, S, rover, settings
from vlad.messages import Kind, NearObject, Sample
from vlad.robot import Separation
from vlad.safety.axes import RecentCommands
from vlad.safety.checks import action, compute, joints, space, stopping
from vlad.safety.motion import Limits, Motion
from vlad.safety.reaction import Reaction
from vlad.safety.stop import REST_NS, STOP_LATENCY_NS, Brake, StopPlan
from vlad.safety.view import FUTURE_NS, Computer, Rules, Watched

SETTINGS = settings(
    safety={"silence_s": 0.5, "collision_threshold": 0.75, "uncertainty_threshold": 0.25, "overruns_slow": 2,
            "overruns_stop": 5},
    policy={"max_chunk_age_s": 1.0, "deadline_s": 0.5, "hung_s": 2.0},
    computer={"cpu": 0.875, "memory": 0.875, "gpu_memory": 0.875, "disk": 0.875, "temperature": 90.0},
)  # fmt: skip


OF_THE_VIEW = {"chunk_ns", "overruns", "acting", "stop", "motion", "following", "followed", "commands"}


def found(check, **changes) -> list[tuple[str, str]]:
    """What a check finds; `changes` of the inputs, or of the view."""
    rig = Rig(set_up=SETTINGS)
    rig.tick()
    ours = {key: changes.pop(key) for key in OF_THE_VIEW & set(changes)}
    view = replace(rig.kernel._view(replace(rig.sense(), **changes)), **ours)
    return [(finding.fault, finding.detail) for finding in check(view)]


def moving(*velocity: float) -> Motion:
    return Motion(np.array(velocity), measured=True)


NOW_NS = 1_000 * S + S // 100


def step(**changes):
    rig = Rig()
    rig.now_ns = NOW_NS
    return rig.make_step([0.0, 0.0], **changes)


@pytest.mark.parametrize(("over", "faults"), [
    (0, []), (1, [("silence", "no new chunk for 0.50 s")]),
])  # fmt: skip
def test_the_policy_may_be_silent_for_its_time(over, faults):
    assert found(action.chunks, task="go", chunk_ns=NOW_NS - S // 2 - over) == faults


@pytest.mark.parametrize(("changes", "faults"), [
    ({"remaining_ns": 1}, []), ({"remaining_ns": 0}, [("chunk_used_up", "for 0.00 s")]),
    ({"remaining_ns": -S // 2}, [("chunk_used_up", "for 0.50 s")]),
    ({"stamp_ns": NOW_NS - S}, []),
    ({"stamp_ns": NOW_NS - S - S // 100}, [("chunk_old", "its frame is 1.01 s old")]),
    ({"collision": 0.75, "uncertainty": 0.25}, []),
    ({"collision": 0.76}, [("collision_predicted", "0.76, at most 0.75")]),
    ({"uncertainty": 0.26}, [("uncertain", "0.26, at most 0.25")]),
])  # fmt: skip
def test_a_step_may_be_at_its_limits(changes, faults):
    assert found(action.chunks, step=step(**changes)) == faults


@pytest.mark.parametrize(("taken_ns", "faults"), [
    (S // 2, []), (S // 2 + 1, [("inference_late", "runs for 0.50 s")]),
    (2 * S, [("inference_late", "runs for 2.00 s")]), (2 * S + 1, [("inference_hung", "runs for 2.00 s")]),
])  # fmt: skip
def test_an_inference_may_take_its_time(taken_ns, faults):
    assert found(compute.inference, inference_since_ns=NOW_NS - taken_ns) == faults


@pytest.mark.parametrize(("missed", "faults"), [
    (1, []), (2, ["overrun"]), (4, ["overrun"]), (5, ["overrun_stop"]),
])  # fmt: skip
def test_missed_ticks_count_from_their_numbers_on(missed, faults):
    assert [fault for fault, _ in found(compute.tick, overruns=missed)] == faults


def used(part: float, celsius: float, age_ns: int = 0) -> Computer:
    return Computer(NOW_NS - age_ns, part, part, part, part, celsius)


def test_the_computer_may_be_used_up_to_its_limits():
    assert found(compute.computer, computer=used(0.875, 90.0)) == []
    faults = ["cpu_high", "memory_high", "gpu_memory_high", "disk_full", "computer_hot"]
    assert [fault for fault, _ in found(compute.computer, computer=used(0.876, 90.1))] == faults
    again = {"acting": frozenset(faults), "computer": used(0.83, 86.0)}
    assert [fault for fault, _ in found(compute.computer, **again)] == faults
    assert found(compute.computer, acting=frozenset(faults), computer=used(0.82, 85.0)) == []
    assert found(compute.computer, computer=used(1.0, 99.0, 5 * S))
    assert found(compute.computer, computer=used(1.0, 99.0, 5 * S + 1)) == []


@pytest.mark.parametrize(("distance", "faults"), [
    (2.0, []), (1.99, ["person_close"]), (1.0, ["person_close"]), (0.99, ["person_near"]),
])  # fmt: skip
def test_a_person_may_be_as_near_as_the_protective_distance(distance, faults):
    """At 1 m/s, with the robot's own part of 1 s: 1 m."""
    separation = Separation(signal="people", person_speed=1.0)
    part = (0.0, 1.0)
    told = space._keeps_away(NearObject("", distance, 0.0), separation, part, part)
    assert [finding.fault for finding in told] == faults


def test_forces_may_be_at_their_limits():
    rig = ArmRig(limits(contact={"signal": "wrench", "force": 30.0, "torque": 5.0}))
    for force, torque, told in (
        (30.0, 5.0, []), (30.5, 0.0, ["30.5 of 30 N"]), (0.0, 5.5, ["5.5 of 5 N m"]),
    ):  # fmt: skip
        data = replace(rig.data["wrench"], force=(0, 0, force), torque=(0, torque, 0))
        seen = list(space._push("wrench", data, rig.robot))
        assert [finding.detail for finding in seen] == told
        assert {finding.subject for finding in seen} <= {"wrench"}


@pytest.mark.parametrize(("age_ns", "problem"), [
    (S // 2, ""), (S // 2 + 1, "0.500 s old, at most 0.500 s"), (-FUTURE_NS, ""),
    (-2 * FUTURE_NS, "stamped 0.100 s in the future"),
])  # fmt: skip
def test_a_sample_may_be_as_old_as_its_limit_and_a_little_early(age_ns, problem):
    watched = Watched("laser", SETTINGS.signals["laser"].model_copy(update={"max_age_s": 0.5}))
    sample = Sample("laser", 1, NOW_NS - age_ns, NOW_NS, "", None)
    assert watched.age_problem(sample, NOW_NS) == problem


def test_a_tick_lasts_whole_nanoseconds_and_a_robot_may_have_no_feedback():
    rules = Rules(rover(feedback="", obstacle=None), settings(realtime={"tick_hz": 300}))
    assert (rules.period_ns, rules.feedback) == (3_333_333, None)


@pytest.mark.parametrize(("velocity", "faults"), [
    ((0.2, 0.5), []), ((0.3, 0.7), [("base_deviation", "at 0.300")]),
    ((0.21, 0.7), [("base_deviation", "at 0.700")]),
])  # fmt: skip
def test_a_base_at_rest_may_move_by_a_quarter_of_its_limits_and_the_worse_axis_is_told(velocity, faults):
    assert found(joints.deviation, motion=moving(*velocity), following=True) == faults


def test_a_base_may_be_just_a_quarter_of_its_limit_faster_than_it_was_commanded_lately():
    commands = RecentCommands(Limits(rover()), S // 100)
    for linear in (0.5, 0.0):
        commands.add(np.array([linear, 0.0]))
    for speed, faults in ((0.7, []), (0.71, [("base_deviation", "at 0.710")])):
        seen = found(joints.deviation, motion=moving(speed, 0.0), following=True, commands=commands)
        assert seen == faults


def test_a_step_of_another_shape_or_kind_is_invalid_and_no_jump():
    other = replace(step(), values=np.zeros(3, np.float32))
    assert found(action.chunks, step=other) == [("step_invalid", "not one finite value for each axis")]
    assert found(joints.jump, step=other, followed=np.zeros(2, np.float32)) == []
    far = replace(step(), kind=Kind.JOINT_VELOCITY, values=np.array([0.5, 1.2], np.float32))
    assert found(joints.jump, step=far, followed=np.zeros(2, np.float32)) == []


@pytest.mark.parametrize(("values", "faults"), [
    ([0.0, 1.0], []), ([0.5, 1.2], [("step_deviation", "by 0.500")]),
    ([0.41, 1.5], [("step_deviation", "by 1.500")]),
])  # fmt: skip
def test_a_step_may_differ_by_half_the_limit_and_the_worse_axis_is_told(values, faults):
    ahead = replace(step(), values=np.array(values, np.float32))
    assert found(joints.jump, step=ahead, followed=np.zeros(2, np.float32)) == faults


# Stops


@pytest.mark.parametrize(("category", "fault"), [
    (Reaction.STOP2, "stop_late"), (Reaction.STOP1, "stop_failed"), (Reaction.STOP0, "stop_failed"),
])  # fmt: skip
def test_a_stop_may_take_its_planned_time_and_must_be_confirmed(category, fault):
    begun = StopPlan(NOW_NS - S // 2, category, np.array([0.5, 0.0]), np.array([1.0, 1.0]))
    at_limit = 0.5 - 0.3 + 0.03 * 0.8
    assert found(stopping.stopping, stop=begun, motion=moving(at_limit - 1e-9, 0.06)) == []
    assert found(stopping.stopping, stop=begun, motion=moving(-0.25, 0.0)) == [(fault, "still at -0.250")]
    assert found(stopping.stopping, stop=begun, motion=moving(0.0, 0.07)) == [(fault, "still at 0.070")]
    assert found(stopping.stopping, stop=begun, motion=None) == []
    over = replace(begun, started_ns=NOW_NS - S)
    assert found(stopping.stopping, stop=over, motion=moving(*Limits(rover()).rest)) == []
    told = [(fault, "nothing confirms that the robot came to rest")] if fault == "stop_late" else []
    assert found(stopping.stopping, stop=over, motion=None) == told


def brake(**changes) -> Brake:
    given = {"has_feedback": True, "margin": 2.0, "category": Reaction.STOP2} | changes
    return Brake(Limits(rover()), **given)


def test_a_stop_is_planned_with_less_than_the_deceleration_that_is_commanded():
    stopped = brake()
    stopped.demand(Reaction.STOP1, np.array([0.8, 0.0]), S, begins=True)
    assert (stopped.plan.category, stopped.plan.deceleration.tolist()) == (Reaction.STOP1, [1.0, 3.0])


def test_a_stop_from_rest_is_over_after_the_latency():
    plan = StopPlan(0, Reaction.STOP2, np.zeros(2), np.ones(2))
    assert (plan.over(STOP_LATENCY_NS), plan.over(STOP_LATENCY_NS + 1)) == (False, True)


def test_a_robot_is_at_rest_once_it_was_slow_for_long_enough():
    stopped, still = brake(), np.zeros(2)
    assert not stopped.at_rest(still, S)
    stopped.watch(Limits(rover()).rest, S)
    assert not stopped.at_rest(still, S + REST_NS - 1)
    assert stopped.at_rest(still, S + REST_NS)
    assert not stopped.at_rest(np.array([0.01, 0.0]), S + REST_NS)
    stopped.watch(2 * Limits(rover()).rest, S + REST_NS)
    assert not stopped.at_rest(still, S + REST_NS)


def test_a_robot_without_feedback_is_at_rest_a_latency_after_its_ramp():
    stopped, still = brake(has_feedback=False), np.zeros(2)
    assert stopped.at_rest(still, S)
    stopped.demand(Reaction.STOP2, np.array([0.8, 0.0]), S, begins=True)
    assert not stopped.at_rest(still, S + STOP_LATENCY_NS)
    assert stopped.at_rest(still, S + STOP_LATENCY_NS + 1)
    assert not stopped.at_rest(np.array([0.01, 0.0]), S + STOP_LATENCY_NS + 1)
