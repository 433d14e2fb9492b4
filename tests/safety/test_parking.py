"""A faulty joint that is not critical is parked; the others go on."""

from __future__ import annotations

import numpy as np
import pytest

from tests.safety.arm_rig import AXIS, ArmRig, limits
from vlad.messages import Kind
from vlad.safety.faults import FAULTS, active
from vlad.safety.parking import PARKING, Parking
from vlad.safety.reaction import Finding

FAULTY = {
    "position_limit": {"position": 10.3}, "effort_limit": {"effort": 120.0},
    "current_limit": {"current": 12.0}, "joint_hot": {"temperature": 81.0},
    "following_error": {"position": -0.6},
}  # fmt: skip


def robot(**changes):
    spare = {**AXIS, "safe_position": -0.2, "compensated_by": ("j0",)}
    sections = {"critical": ("j0",), "axes": {"j0": AXIS, "j1": spare}}
    return limits(Kind.JOINT_POSITION, **sections | changes)


def moving(**changes) -> ArmRig:
    rig = ArmRig(robot(**changes)).armed()
    rig.wanted = [0.3, 0.3]
    rig.tick(100)
    assert rig.position == pytest.approx([0.3, 0.3])
    rig.modes.clear()
    return rig


@pytest.mark.parametrize("fault", sorted(PARKING))
def test_a_faulty_spare_joint_goes_to_its_safe_position_and_the_others_follow_the_policy(fault):
    rig = moving()
    rig.lie(**FAULTY[fault])
    rig.wanted = [0.6, 0.6]
    rig.tick(200)
    assert (rig.verdict.mode, rig.ids()) == ("degraded", {"joint_parked"})
    assert rig.verdict.values == pytest.approx([0.6, -0.2])
    parked = rig.verdict.faults[0]
    assert parked.subject == "j1"
    assert parked.detail.startswith(fault)
    assert parked.detail.endswith("; j0 take over")


@pytest.mark.parametrize("fault", sorted(PARKING))
@pytest.mark.parametrize("critical", [None, ("j0", "j1"), ("j1",)])
def test_a_critical_joint_stops_the_robot(fault, critical):
    axes = {"j0": {**AXIS, "safe_position": 0.0}, "j1": AXIS}
    rig = moving(critical=critical, axes=axes)
    rig.lie(**FAULTY[fault])
    rig.tick(200)
    assert rig.verdict.mode == "stopped"
    assert fault in rig.ids()


def test_other_faults_of_a_spare_joint_stop_the_robot():
    rig = moving()
    rig.lie(ticks=20, velocity=0.99)
    rig.tick(100)
    assert "velocity_limit" in rig.ids()
    assert rig.verdict.mode == "stopped"


def test_it_stays_parked_until_a_reset_and_arming_goes_on_without_it():
    rig = moving()
    rig.lie(ticks=20, effort=120.0)
    rig.tick(200)
    assert rig.verdict.values == pytest.approx([0.3, -0.2], abs=0.01)
    rig.kernel.disarm("by test")
    rig.tick(50)
    assert rig.verdict.mode == "disarmed"
    assert rig.kernel.arm(rig.sense()) == ()
    rig.tick(100)
    assert (rig.verdict.mode, rig.ids()) == ("degraded", {"joint_parked"})
    assert rig.verdict.values == pytest.approx([0.3, -0.2], abs=0.01)
    rig.kernel.disarm("by test")
    rig.tick(50)
    assert rig.kernel.reset(rig.sense()) == ()
    assert rig.kernel.arm(rig.sense()) == ()
    rig.tick(200)
    assert rig.ids() == set()
    assert rig.verdict.values == pytest.approx([0.3, 0.3])


def test_a_reset_is_refused_while_the_joint_is_faulty():
    rig = moving()
    rig.lie(effort=120.0)
    rig.tick(20)
    rig.kernel.stop("by test")
    rig.tick(100)
    assert [fault.fault.id for fault in rig.kernel.reset(rig.sense())] == ["joint_parked"]
    rig.lies = 0
    assert rig.kernel.reset(rig.sense()) == ()


def test_a_moment_does_not_park_a_joint():
    rig = moving()
    rig.lie(ticks=5, effort=120.0)
    rig.tick(50)
    assert (rig.ids(), rig.modes) == (set(), [])


def test_a_joint_that_is_faulty_before_arming_does_not_refuse_it():
    rig = ArmRig(robot())
    rig.lie(temperature=90.0)
    rig.tick(30)
    assert rig.kernel.arm(rig.sense()) == ()


def test_without_spare_joints_nothing_changes():
    parking = Parking(limits(Kind.JOINT_POSITION))
    findings = [Finding("effort_limit", "j1", "")]
    assert parking.park(findings) is findings
    target = np.array([1.0, 2.0])
    assert parking.steer(target, ()) is target


def test_a_critical_joint_is_not_parked_though_it_has_a_safe_position():
    findings = [Finding("joint_hot", "j1", "hot")]
    assert Parking(robot(critical=("j0", "j1"))).park(findings) == findings


def test_all_joints_that_take_over_are_told():
    spare = {**AXIS, "safe_position": -0.2, "compensated_by": ("j0", "j2")}
    parking = Parking(robot(critical=("j0", "j2"), axes={"j0": AXIS, "j1": spare, "j2": AXIS}))
    (parked,) = parking.park([Finding("joint_hot", "j1", "hot")])
    assert parked.detail == "joint_hot: hot; j0, j2 take over"


def test_only_what_is_parked_is_steered():
    parking = Parking(robot(axes={"j0": AXIS, "j1": {**AXIS, "safe_position": -0.2}}))
    parked = parking.park([Finding("joint_hot", "j1", "hot"), Finding("joint_hot", "j0", "hot")])
    assert parked == [Finding("joint_parked", "j1", "joint_hot: hot"), Finding("joint_hot", "j0", "hot")]
    faults = tuple(active(finding, 0) for finding in parked)
    target = np.array([1.0, 2.0])
    assert parking.steer(target, faults).tolist() == [1.0, -0.2]
    assert target.tolist() == [1.0, 2.0]
    assert parking.steer(None, faults) is None
    assert parking.steer(target, faults[1:]) is target


def test_a_joint_is_parked_once_whatever_is_wrong_with_it():
    findings = [Finding(fault, "j1", fault) for fault in ("joint_hot", "effort_limit")]
    assert [f.detail for f in Parking(robot()).park(findings)] == ["joint_hot: joint_hot; j0 take over"]


def test_what_parks_a_joint_is_in_the_table():
    assert set(FAULTS) >= PARKING
