"""What a chunk or a step of the policy must be to be followed, and what is said where it must not."""

from __future__ import annotations

from math import inf, nan

import numpy as np
import pytest

from tests.safety.rig import Rig, S, arm, settings
from vlad.messages import Kind
from vlad.robot import Robot
from vlad.safety.chunks import Admission, chunk_problem, exaggerations, jump, step_problem
from vlad.safety.view import FUTURE_NS, Rules

NOW_NS = 1_000 * S


def rig_of(kind: Kind = Kind.TWIST, **safety: float) -> tuple[Rig, Rules]:
    signals = None if kind is Kind.TWIST else {"joints": {"type": "joint_state"}}
    robot: Robot | None = None if kind is Kind.TWIST else arm(kind)
    rig = Rig(robot, settings(signals, safety=safety))
    return rig, Rules(rig.robot, rig.settings)


def actions(*rows) -> np.ndarray:
    return np.array(rows, dtype=np.float32)


def test_a_twist_beyond_three_times_its_limit_is_no_mere_exaggeration():
    assert problem(actions=actions((0, 6.0), (0, -6.0))) is None
    assert problem(actions=actions((0, 6.25))) is not None


def problem(command: Kind = Kind.TWIST, **changes) -> tuple[str, str] | None:
    rig, rules = rig_of(command)
    found = chunk_problem(rig.make_chunk(**changes), rules, rig.now_ns)
    assert found is None or found.subject == "policy"
    return found and (found.fault, found.detail)


@pytest.mark.parametrize(("changes", "fault", "detail"), [
    ({"kind": Kind.JOINT_POSITION}, "chunk_shape", "its actions are joint_position, the robot takes twist"),
    ({"names": ("angular_z", "linear_x")}, "chunk_shape",
     "its axes are angular_z, linear_x; the robot's are linear_x, angular_z"),
    ({"actions": np.zeros((5, 3), np.float32)}, "chunk_shape", "its shape is (5, 3), expected (horizon, 2)"),
    ({"actions": np.zeros((0, 2), np.float32)}, "chunk_shape", "its shape is (0, 2), expected (horizon, 2)"),
    ({"actions": np.zeros((5, 2, 1), np.float32)}, "chunk_shape",
     "its shape is (5, 2, 1), expected (horizon, 2)"),
    ({"actions": np.zeros(2, np.float32)}, "chunk_shape", "its shape is (2,), expected (horizon, 2)"),
    ({"actions": np.zeros((5, 2), np.int64)}, "chunk_shape",
     "its actions are int64, not floating-point numbers"),
    ({"actions": actions((0, 0), (0, inf))}, "chunk_not_finite", "it holds NaN or infinity"),
    ({"collision": nan}, "chunk_not_finite", "it holds NaN or infinity"),
    ({"collision": 0.1, "uncertainty": inf}, "chunk_not_finite", "it holds NaN or infinity"),
    ({"collision": 1.5}, "chunk_bounds", "its heads say [1.5]; probabilities are 0 to 1"),
    ({"uncertainty": -0.1}, "chunk_bounds", "its heads say [-0.1]; probabilities are 0 to 1"),
    ({"step_ns": 0}, "chunk_order", "its steps last 0 ns"),
    ({"stamp_ns": NOW_NS - S - 1}, "chunk_order", "its frame is 1.000 s old; 0 to 1 s is allowed"),
    ({"stamp_ns": NOW_NS + FUTURE_NS + 1}, "chunk_order", "its frame is -0.050 s old; 0 to 1 s is allowed"),
])  # fmt: skip
def test_a_chunk_that_must_not_be_followed_is_told_with_its_reason(changes, fault, detail):
    assert problem(**changes) == (fault, detail)


@pytest.mark.parametrize("changes", [
    {"actions": actions((0, 0))}, {"collision": 0.0, "uncertainty": 1.0}, {"collision": 1.0}, {"step_ns": 1},
    {"stamp_ns": NOW_NS - S}, {"stamp_ns": NOW_NS + FUTURE_NS}, {"stamp_ns": NOW_NS},
])  # fmt: skip
def test_a_chunk_at_its_limits_is_followed(changes):
    assert problem(**changes) is None


@pytest.mark.parametrize(("kind", "low", "high"), [
    (Kind.JOINT_POSITION, -3.5, 4.0), (Kind.JOINT_DELTA, -2.5, 2.5), (Kind.JOINT_VELOCITY, -3.0, 3.0),
])  # fmt: skip
def test_what_could_be_bounded_is_let_through_and_no_more(kind, low, high):
    for value in (low, high):
        assert problem(kind, actions=actions((0, 0), (0, 0), (0, value))) is None
    for value in (low - 0.25, high + 0.25):
        bad = problem(kind, actions=actions((0, 0), (0, 0), (0, value)))
        assert bad == ("chunk_bounds", f"j1 reaches {abs(value):g}; {low:g} to {high:g} could be bounded")


@pytest.mark.parametrize(("age_s", "row"), [
    (-0.05, 0), (0.0, 0), (0.05, 0), (0.1, 0), (0.2, 1), (0.35, 2), (0.5, 4), (0.6, 4), (9.0, 4),
])  # fmt: skip
def test_a_chunk_joins_with_the_step_that_is_due(age_s, row):
    rig, rules = rig_of(Kind.JOINT_POSITION)
    rows = actions(*[(k, k) for k in range(5)])
    chunk = rig.make_chunk(actions=rows, step_ns=S // 10, stamp_ns=NOW_NS - round(age_s * S))
    for followed in range(5):
        told = jump(chunk, rules, NOW_NS, np.full(2, followed, np.float32), np.zeros(2))
        assert (told == "") == (followed == row)


@pytest.mark.parametrize(("kind", "first", "followed", "measured", "told"), [
    (Kind.JOINT_POSITION, (0.0, 0.5), (0.0, 0.0), (9.0, 9.0), ""),
    (Kind.JOINT_POSITION, (0.0, 0.75), (0.0, 0.0), None, "j1 begins 0.75 from what is followed; at most 0.5"),
    (Kind.JOINT_POSITION, (0.5, 0.0), None, (0.0, 0.0), ""),
    (Kind.JOINT_POSITION, (0.75, 0.0), None, (0.0, 0.0),
     "j0 begins 0.75 from the measured pose; at most 0.5"),
    (Kind.JOINT_POSITION, (9.0, 0.0), None, None, ""),
    (Kind.JOINT_DELTA, (0.0, -0.5), (9.0, 9.0), (9.0, 9.0), ""),
    (Kind.JOINT_DELTA, (0.0, -0.75), (9.0, 9.0), None, "j1 begins 0.75 from what is followed; at most 0.5"),
    (Kind.TWIST, (0.0, 3.0), (0.0, 0.0), None, ""), (Kind.TWIST, (1.1, 0.0), (0.0, 0.0), None, ""),
    (Kind.TWIST, (0.0, 3.25), (0.0, 0.0), None, "angular_z begins 3.25 from what is followed; at most 3"),
    (Kind.TWIST, (-1.3, 0.0), (0.0, 0.0), None, "linear_x begins 1.3 from what is followed; at most 1.2"),
    (Kind.TWIST, (9.0, 0.0), None, (0.0, 0.0), ""),
])  # fmt: skip
def test_a_chunk_begins_near_what_is_followed_or_measured(kind, first, followed, measured, told):
    rig, rules = rig_of(kind, start_distance=0.5)
    before = None if followed is None else np.array(followed, np.float32)
    pose = None if measured is None else np.array(measured)
    assert jump(rig.make_chunk(actions=actions(first, first)), rules, rig.now_ns, before, pose) == told


@pytest.mark.parametrize(("kind", "rows", "told"), [
    (Kind.JOINT_POSITION, [(1.5, -1.0)] * 2, []),
    (Kind.JOINT_POSITION, [(0.0, 1.5), (0.0, 1.51)], ["j1 at step 1"]),
    (Kind.JOINT_POSITION, [(-1.1, 1.6), (-1.1, 1.6)], ["j0 at step 0"]),
    (Kind.JOINT_POSITION, [(0.0, 0.0), (0.0, 0.0209), (0.0, 0.0)], []),
    (Kind.JOINT_POSITION, [(0.0, 0.0), (0.0, 0.0), (0.0, -0.0212)], ["j1 at step 2"]),
    (Kind.JOINT_DELTA, [(0.0209, -0.0209)], []),
    (Kind.JOINT_DELTA, [(0.0, 0.0), (-0.0212, 0.0)], ["j0 at step 1"]),
    (Kind.TWIST, [(0.83, 2.05), (-0.83, -2.05)], []),
    (Kind.TWIST, [(0.0, 0.0), (0.85, 0.0)], ["linear_x at step 1"]),
    (Kind.TWIST, [(-0.85, 0.0)], ["linear_x at step 0"]),
    (Kind.TWIST, [(0.0, 2.15)], ["angular_z at step 0"]),
    (Kind.TWIST, [(0.0, -2.15)], ["angular_z at step 0"]),
])  # fmt: skip
def test_the_first_step_beyond_the_limits_is_told(kind, rows, told):
    rig, rules = rig_of(kind)
    found = list(exaggerations(rig.make_chunk(actions=actions(*rows), step_ns=20_000_000), rules))
    assert [finding.detail for finding in found] == told
    assert {(finding.fault, finding.subject) for finding in found} <= {("chunk_envelope", "policy")}


def test_positions_are_looked_at_though_as_numbers_they_are_below_the_speed_limit():
    rig, rules = rig_of(Kind.JOINT_POSITION, start_distance=1.0)
    admission = Admission(rules)
    chunk = rig.make_chunk(actions=actions((0.0, 0.0), (0.0, 0.9)), step_ns=20_000_000)
    assert admission.admit(chunk, rig.now_ns, np.zeros(2, np.float32), None)
    assert [found.detail for found in admission.findings] == ["j1 at step 1"]


def test_what_was_wrong_with_chunks_is_kept_until_somebody_looks():
    rig, rules = rig_of()
    admission = Admission(rules)
    assert admission.newest_ns == 0
    admission.expect(rig.now_ns + 5)
    drive = actions((0.85, 0.0), (0.85, 0.0))
    stamp_ns = rig.now_ns - S // 10

    def admit(**changes) -> bool:
        return admission.admit(rig.make_chunk(**changes), rig.now_ns, np.zeros(2, np.float32), None)

    assert admit(actions=drive, stamp_ns=stamp_ns)
    assert admit(actions=drive, stamp_ns=stamp_ns)
    assert admission.newest_ns == rig.now_ns + 5
    assert not admit(stamp_ns=stamp_ns - S // 100)
    assert not admit(actions=2 * drive)
    assert not admit(actions=np.full((2, 2), inf, np.float32))
    assert {found.subject for found in admission.findings} == {"policy"}
    assert [(found.fault, found.detail) for found in admission.findings] == [
        ("chunk_envelope", "linear_x at step 0"), ("chunk_envelope", "linear_x at step 0"),
        ("chunk_order", "its frame is 0.010 s older than the one before"),
        ("chunk_jump", "linear_x begins 1.7 from what is followed; at most 1.2"),
        ("chunk_not_finite", "it holds NaN or infinity"),
    ]  # fmt: skip


@pytest.mark.parametrize(("values", "changes", "told"), [
    ([0.0, 0.0], {}, ""), ([0.0, 0.0], {"collision": 0.0, "uncertainty": 1.0}, ""),
    ([0.0, 0.0], {"kind": Kind.JOINT_POSITION}, "joint_position for linear_x, angular_z"),
    ([0.0, 0.0], {"names": ("linear_x", "linear_y")}, "twist for linear_x, linear_y"),
    ([0.0], {}, "not one finite value for each axis"), ([0.0, nan], {}, "not one finite value for each axis"),
    ([0.0, 0.0], {"collision": nan}, "its collision probability is no number"),
    ([0.0, 0.0], {"uncertainty": -inf}, "its uncertainty is no number"),
])  # fmt: skip
def test_a_step_that_must_not_be_followed_is_told_with_its_reason(values, changes, told):
    rig, rules = rig_of()
    assert step_problem(rig.make_step(values, **changes), rules) == told
