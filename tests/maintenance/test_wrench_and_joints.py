"""Force sensors and joints in the calibration check."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlad.maintenance.sensors import joints, wrench
from vlad.maintenance.settings_checks import CalibrationCheckSettings
from vlad.messages import JointState, Wrench

LIMITS = CalibrationCheckSettings()
newtons = st.floats(-20, 20)


def wrenches(force=(0.0, 0.0, 0.0), torque=(0.0, 0.0, 0.0), drift=0.0, count=90, seed=0):
    """`drift` [N] along x from the first sample to the last."""
    rng = np.random.default_rng(seed)
    forces = np.array(force) + 0.1 * rng.standard_normal((count, 3))
    forces[:, 0] += np.linspace(0, drift, count)
    return [Wrench(tuple(row), tuple(torque)) for row in forces.tolist()]


def of_wrench(data, reference=None):
    reading = wrench.measure(data)
    assert wrench.unusable(reading, LIMITS) == ""
    return {figure.name: figure.state for figure in wrench.judge("wrist", reading, reference, LIMITS)}


def test_an_unloaded_force_sensor_that_says_zero_is_well():
    assert set(of_wrench(wrenches()).values()) == {"ok"}


@pytest.mark.parametrize(("offset", "state"), [(2.0, "warning"), (5.0, "problem")])
def test_an_offset_is_told_and_one_that_the_reference_has_is_not(offset, state):
    moved = wrenches(force=(0.0, 0.0, offset))
    assert of_wrench(moved)["force at zero"] == state
    assert of_wrench(moved, wrench.measure(wrenches(force=(0.0, 0.0, offset))))["force at zero"] == "ok"


def test_a_force_that_turned_round_is_off_though_it_is_as_large():
    reference = wrench.measure(wrenches(force=(5.0, 0.0, 0.0)))
    assert of_wrench(wrenches(force=(-5.0, 0.0, 0.0)), reference)["force at zero"] == "problem"


def test_a_torque_and_a_drift_are_told_apart_from_a_force():
    assert of_wrench(wrenches(torque=(0.1, 0.0, 0.0))) == {
        "force at zero": "ok", "torque at zero": "warning", "drift of the force": "ok"
    }  # fmt: skip
    assert of_wrench(wrenches(force=(-1.5, 0.0, 0.0), drift=3.0))["drift of the force"] == "warning"


@given(st.tuples(newtons, newtons, newtons), st.integers(0, 5))
def test_an_offset_is_found_if_and_only_if_it_is_too_large(force, seed):
    size = float(np.linalg.norm(force))
    if abs(size - LIMITS.force) > 0.15:
        state = of_wrench(wrenches(force=force, seed=seed))["force at zero"]
        assert (state == "ok") == (size < LIMITS.force)


def test_too_few_wrenches_say_nothing():
    assert "19 samples" in wrench.unusable(wrench.measure(wrenches(count=19)), LIMITS)


def states(position, count=20, noise=0.0005, seed=0):
    rng = np.random.default_rng(seed)
    names = tuple(position)
    values = np.array(list(position.values())) + noise * rng.standard_normal((count, len(names)))
    return [JointState(names, position=row.astype(np.float32)) for row in values]


def of_joints(data, pose=None, reference=None, named=("shoulder", "elbow")):
    limits = CalibrationCheckSettings(pose=pose or {})
    reading = joints.measure(data, named)
    assert joints.unusable(reading, limits) == ""
    return {figure.name: figure for figure in joints.judge("joints", reading, reference, limits)}


def test_a_joint_that_is_off_in_the_reference_pose_is_found_and_the_other_is_well():
    figures = of_joints(states({"shoulder": 0.0, "elbow": 1.03}), {"shoulder": 0.0, "elbow": 1.0})
    assert figures["position of shoulder"].state == "ok"
    assert figures["position of elbow"].state == "warning"
    assert figures["position of elbow"].measured == pytest.approx(1.03, abs=0.001)
    assert figures["position of elbow"].reference == 1.0


def test_a_robot_that_is_not_in_its_reference_pose_is_told_so_and_not_judged():
    figures = of_joints(states({"shoulder": 0.7, "elbow": 1.0}), {"shoulder": 0.0, "elbow": 1.0})
    assert figures["position of shoulder"].state == "unknown"
    assert "reference pose" in figures["position of shoulder"].mend


def test_the_settings_pose_counts_before_the_stored_one_which_fills_the_gaps():
    reference = joints.measure(states({"shoulder": 0.1, "elbow": 1.0}), ("shoulder", "elbow"))
    figures = of_joints(states({"shoulder": 0.1, "elbow": 1.0}), {"shoulder": 0.0}, reference)
    assert figures["position of shoulder"].state == "problem"
    assert figures["position of elbow"].state == "ok"


def test_without_any_reference_a_joint_is_unknown():
    figures = of_joints(states({"shoulder": 0.0, "elbow": 0.0}))
    assert {figure.state for figure in figures.values()} == {"unknown"}


def test_joints_that_are_not_asked_for_and_single_wrong_values_do_not_count():
    data = states({"shoulder": 0.0, "wheel": 55.0}, noise=0.0)
    data[3] = JointState(("shoulder", "wheel"), position=np.array([0.02, 55.0], np.float32))
    assert set(of_joints(data, {"shoulder": 0.0})) == {"position of shoulder"}
    assert of_joints(data, {"shoulder": 0.0})["position of shoulder"].measured == 0.0


@pytest.mark.parametrize(
    "data",
    [
        [],
        states({"shoulder": 0.0}, count=9),
        states({"shoulder": 0.0}, noise=0.1),
        [JointState(("shoulder",), velocity=np.zeros(1, np.float32))] * 20,
    ],
    ids=["none", "few", "moving", "without positions"],
)
def test_nothing_is_said_of_joints_that_move_or_are_not_heard(data):
    assert joints.unusable(joints.measure(data, ("shoulder",)), LIMITS) != ""
