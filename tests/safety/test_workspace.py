"""Where the end effector is, where it comes to rest, and where the policy wants it."""

from __future__ import annotations

import builtins
from math import inf, nan, pi
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.safety.arm_rig import AXIS, CUBE, ZONE, ArmRig, limits
from tests.safety.rig import TICK_NS, rover
from vlad.config import ConfigError, load_robot
from vlad.messages import EStop, Kind, Pose, Sample
from vlad.robot import Workspace
from vlad.safety.kinematics import Kinematics, KinematicsError
from vlad.safety.motion import Limits, Motion
from vlad.safety.workspace import TipWatch

URDF = """<robot name="arm">
<link name="base"/><link name="upper"/><link name="lower"/><link name="hand"/><link name="finger"/>
<joint name="j0" type="revolute"><parent link="base"/><child link="upper"/><axis xyz="0 0 1"/>
  <limit lower="-3" upper="3" velocity="1" effort="1"/></joint>
<joint name="j1" type="{kind}"><parent link="upper"/><child link="lower"/><origin xyz="0.6 0 0.5"/>
  <axis xyz="0 0 1"/><limit lower="-3" upper="3" velocity="1" effort="1"/></joint>
<joint name="wrist" type="fixed"><parent link="lower"/><child link="hand"/><origin xyz="0.3 0 0"/></joint>
<joint name="grip" type="prismatic"><parent link="hand"/><child link="finger"/><axis xyz="1 0 0"/>
  <limit lower="0" upper="1" velocity="1" effort="1"/></joint>
</robot>"""
STILL = (0.0, 0.0, 0.0, 1.0)


@pytest.fixture
def urdf(tmp_path) -> Path:
    path = tmp_path / "arm.urdf"
    path.write_text(URDF.format(kind="revolute"))
    return path


# Forward kinematics


@pytest.mark.parametrize("kind", ["revolute", "continuous"])
@pytest.mark.parametrize("names", [("j0", "j1"), ("j1", "j0")])
@given(st.floats(-3, 3), st.floats(-3, 3))
def test_the_tip_is_where_trigonometry_has_it(tmp_path_factory, kind, names, first, second):
    path = tmp_path_factory.getbasetemp() / f"{kind}.urdf"
    path.write_text(URDF.format(kind=kind))
    joints = {"j0": first, "j1": second}
    tip = Kinematics(path, "hand", names).tip(np.array([joints[name] for name in names]))
    x = 0.6 * np.cos(first) + 0.3 * np.cos(first + second)
    y = 0.6 * np.sin(first) + 0.3 * np.sin(first + second)
    assert tip == pytest.approx((x, y, 0.5))


def test_a_prismatic_joint_counts_in_metres(urdf):
    assert Kinematics(urdf, "finger", ("j0", "j1", "grip")).tip(np.array([0, 0, 0.1]))[0] == pytest.approx(
        1.0
    )


@pytest.mark.parametrize(("names", "tip", "says"), [
    (("j0", "j8", "j9"), "hand", " has no joint j8, j9: use"), (("j0", "j1"), "foot", " has no link 'foot'"),
    (("j1",), "hand", ": j0 moves 'hand' but is no axis"), (("j0", "j1"), "finger", ": grip moves 'finger'"),
    (("j0",), "finger", ": j1, grip moves 'finger'"),
])  # fmt: skip
def test_a_description_that_does_not_fit_the_robot_is_refused(urdf, names, tip, says):
    with pytest.raises(KinematicsError, match=f"^{urdf}{says}"):
        Kinematics(urdf, tip, names)


def test_an_axis_must_be_a_joint_of_one_number(tmp_path):
    path = tmp_path / "arm.urdf"
    path.write_text(URDF.format(kind="floating"))
    with pytest.raises(KinematicsError, match="must be revolute, continuous or prismatic"):
        Kinematics(path, "hand", ("j0", "j1"))


@pytest.mark.parametrize("content", [b"", b"no xml", b"<robot name='x'/>", b"\xff\xfe", None])
def test_a_description_that_cannot_be_read_is_refused(tmp_path, content):
    path = tmp_path / "arm.urdf"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(KinematicsError, match="cannot be read as a URDF"):
        Kinematics(path, "hand", ("j0",))


def test_without_pinocchio_it_says_what_to_install(urdf, monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "pinocchio":
            raise ImportError("No module named 'pinocchio'")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(KinematicsError, match=rf"^{urdf} .* pip install 'vlad\[kinematics\]'"):
        Kinematics(urdf, "hand", ("j0", "j1"))


def test_an_unusable_description_keeps_the_kernel_from_starting(tmp_path):
    workspace = {"urdf": tmp_path / "none.urdf", "tip": "hand", "box": CUBE}
    with pytest.raises(KinematicsError, match=r"none.urdf"):
        ArmRig(limits(workspace=workspace))


# With a description


def arm(urdf: Path, kind: Kind = Kind.JOINT_POSITION, **changes) -> ArmRig:
    box = {"min": (0.2, -2.0, 0.0), "max": (2.0, 2.0, 2.0)}
    zone = {"min": (0.5, 0.5, 0.0), "max": (2.0, 2.0, 1.0)}
    workspace = {"urdf": urdf, "tip": "hand", "box": box, "keep_out": [zone]} | changes
    axes = {f"j{k}": AXIS | {"lower": -3.0, "upper": 3.0, "soft_margin": 0.0} for k in range(2)}
    return ArmRig(limits(kind, workspace=workspace, axes=axes))


def faults(rig: ArmRig) -> dict[str, str]:
    return {fault.fault.id: fault.detail for fault in rig.verdict.faults}


def test_an_arm_inside_its_workspace_may_move(urdf):
    rig = arm(urdf).armed()
    rig.wanted = [0.2, 0.2]
    rig.tick(100)
    assert (rig.modes, rig.ids()) == ([], set())
    assert rig.position == pytest.approx([0.2, 0.2])


def test_an_arm_that_stands_outside_is_refused_and_stopped(urdf):
    rig = arm(urdf)
    rig.position[:] = 2.0, 0.0
    rig.tick(5)
    refused = rig.kernel.arm(rig.sense())
    assert [(fault.fault.id, fault.subject) for fault in refused] == [("workspace", "hand")]
    rig = arm(urdf).armed()
    rig.position[:] = 0.6, 0.3
    rig.tick()
    assert faults(rig)["keep_out"] == "at (0.682, 0.574, 0.500)"


def test_the_policy_is_stopped_before_it_goes_where_it_must_not(urdf):
    rig = arm(urdf).armed()
    rig.wanted = [0.8, 0.0]
    verdict = rig.tick()
    assert (verdict.mode, faults(rig)["keep_out"]) == (
        "stopping",
        "at (0.627, 0.646, 0.500), as the policy asks",
    )
    assert rig.position[0] < 0.001


def test_deltas_lead_from_where_the_joints_are(urdf):
    rig = arm(urdf, Kind.JOINT_DELTA)
    rig.position[:] = 0.5, 0.0
    rig.armed()
    rig.wanted = [0.1, 0.0]
    assert rig.tick().mode == "stopping"
    assert faults(rig)["keep_out"].endswith("as the policy asks")


def test_a_policy_that_only_thinks_does_not_refuse_arming(urdf):
    rig = arm(urdf)
    rig.wanted = [2.0, 0.0]
    rig.tick(5)
    assert rig.ids() == {"chunk_jump"}
    assert rig.kernel.refusals(rig.sense()) == ()


def test_a_step_that_makes_no_sense_is_asked_nowhere(urdf):
    rig = arm(urdf).armed()
    rig.wanted = [nan, 0.0]
    rig.tick()
    assert rig.ids() == {"chunk_not_finite", "step_invalid"}
    rig = arm(urdf).armed()
    rig.wanted = [0.0]
    rig.tick()
    assert "step_invalid" in rig.ids()


def test_a_moving_arm_stops_before_it_leaves(urdf):
    """At speed it begins to stop before the box is left, and comes to rest inside."""
    rig = arm(urdf, Kind.JOINT_VELOCITY, keep_out=[]).armed()
    rig.wanted = [0.8, 0.0]
    rig.tick(400)
    assert rig.verdict.mode == "stopped"
    assert faults(rig)["workspace"].endswith(" when it comes to rest")
    assert 0.2 < 0.9 * np.cos(rig.position[0]) < 0.4


def test_an_arm_that_is_not_measured_any_more_is_a_dead_signal(urdf):
    rig = arm(urdf).armed()
    rig.silent.add("joints")
    rig.tick(20)
    assert (rig.verdict.mode, rig.ids()) == ("stopping", {"signal_stale"})


def test_positions_are_enough_to_judge_the_tip(urdf):
    robot = limits(workspace={"urdf": urdf, "tip": "hand", "box": CUBE})
    tip = TipWatch(Limits(robot), robot.workspace)
    assert tip.of_joints(Motion(problem="broken")) == ()
    inside = Motion(None, np.zeros(2))
    assert tip.of_joints(inside) == ()
    found = tip.of_joints(Motion(None, np.array([-2.0, -1.5])))
    assert [finding.fault for finding in found] == []
    outside = Motion(np.zeros(2), np.array([pi, 0.5]))
    small = Workspace.model_validate({"urdf": urdf, "tip": "hand", "box": {**CUBE, "min": (0, 0, 0)}})
    tip = TipWatch(Limits(robot), small)
    assert tip.of_joints(outside)[0].fault == "workspace"
    assert tip.of_joints(outside) is tip.of_joints(outside)


# With a pose signal


def seen(*poses, speed=0.0, spacing=TICK_NS, **workspace) -> list[str]:
    """What is found in the last of these positions."""
    robot = limits(workspace={"pose": "pose", "box": CUBE, "keep_out": [ZONE]} | workspace)
    tip, found = TipWatch(Limits(robot), robot.workspace), ()
    for number, position in enumerate(poses):
        stamp_ns = number * spacing
        sample = Sample("pose", number, stamp_ns, stamp_ns, "", Pose(position, STILL))
        found = tip.of_pose(sample, np.array([speed, 0.0]))
        assert tip.of_pose(sample, np.zeros(2)) is found
        assert tip.of_command(np.zeros(2)) == tip.of_joints(Motion()) or found
    return [f"{finding.fault} {finding.subject} {finding.detail}" for finding in found]


@pytest.mark.parametrize(("position", "fault"), [
    ((0.0, 0.0, 1.0), None), ((1.0, 1.0, 2.0), None), ((-1.0, -1.0, 0.0), None),
    ((1.001, 0.0, 1.0), "workspace"), ((0.0, -1.001, 1.0), "workspace"), ((0.0, 0.0, -0.001), "workspace"),
    ((0.7, 0.7, 0.5), "keep_out"), ((0.5, 0.5, 1.0), "keep_out"), ((0.7, 0.7, 1.001), None),
    ((0.49, 0.7, 0.5), None), ((nan, 0.0, 1.0), "signal_invalid"), ((0.0, inf, 1.0), "signal_invalid"),
])  # fmt: skip
def test_the_end_effector_stays_in_its_box_and_out_of_the_zones(position, fault):
    assert [line.split()[0] for line in seen(position)] == ([fault] if fault else [])


@pytest.mark.parametrize(("axis", "at", "inside"), [
    (0, 0.0, True), (0, 1.0, True), (0, 1.5, False), (0, -0.5, False),
    (1, 10.0, True), (1, 11.0, True), (1, 11.5, False), (1, 9.5, False),
    (2, 20.0, True), (2, 21.0, True), (2, 21.5, False), (2, 19.5, False),
])  # fmt: skip
def test_each_axis_of_a_box_has_its_own_edges(axis, at, inside):
    position = [0.5, 10.5, 20.5]
    position[axis] = at
    box = {"min": (0.0, 10.0, 20.0), "max": (1.0, 11.0, 21.0)}
    assert bool(seen(tuple(position), box=box, keep_out=[])) is not inside


@pytest.mark.parametrize("position", [(nan, 0.0, 1.0), (0.0, 0.0, -inf)])
def test_a_pose_that_is_none_is_told_as_one(position):
    assert seen(position) == ["signal_invalid pose is no pose with finite numbers"]


def test_joints_are_asked_where_they_are_and_not_added_to_where_they_are(urdf):
    rig = arm(urdf)
    rig.position[:] = 0.4, 0.0
    rig.wanted = [0.4, 0.0]
    rig.armed()
    rig.tick(20)
    assert (rig.modes, rig.ids()) == ([], set())


def test_a_zone_is_named_or_numbered():
    assert seen((0.7, 0.7, 0.5)) == ["keep_out shelf at (0.700, 0.700, 0.500)"]
    zones = [{"min": (5, 5, 5), "max": (6, 6, 6)}, {**ZONE, "name": ""}]
    assert seen((0.7, 0.7, 0.5), keep_out=zones, box=None) == ["keep_out zone 2 at (0.700, 0.700, 0.500)"]


@pytest.mark.parametrize(("axis", "edge"), [(0, 1.0), (1, 1.0), (2, 2.0)])
def test_a_moving_tip_must_come_to_rest_inside(axis, edge):
    """0.5 m/s for 0.1 s, and for half the 0.16 s that a joint at 0.8 needs to stop: 0.09 m."""

    def at(value: float) -> tuple[float, float, float]:
        x, y, z = (value if axis == place else other for place, other in enumerate((0.0, 0.0, 1.0)))
        return x, y, z

    way = [at(edge - 0.12 + 0.005 * k) for k in range(5)]
    assert seen(*way) == []
    assert seen(*way, speed=-0.8) == []
    later = [at(edge - 0.105 + 0.005 * k) for k in range(5)]
    x, y, z = at(edge + 0.005)
    assert seen(*later, speed=-0.8) == [
        f"workspace pose at ({x:.3f}, {y:.3f}, {z:.3f}) when it comes to rest"
    ]
    assert seen(*reversed(later), speed=0.8) == []


def test_a_tip_that_heads_for_a_zone_must_stop_before_it():
    way = [(0.38 + 0.01 * k, 0.7, 0.5) for k in range(5)]
    assert seen(*way)[0].startswith("keep_out shelf at (0.520")


def test_numbers_beyond_all_measure_are_no_place():
    assert seen(*[((-1) ** k * 1e308, 0.0, 1.0) for k in range(9)])[0].startswith("workspace")
    free = {"box": None, "spacing": TICK_NS * 4}
    assert seen((-1e308, 0.0, 1.0), (1e308, 0.0, 1.0), **free) == [
        "signal_invalid pose at (inf, 0.000, 1.000) when it comes to rest"
    ]


@given(st.lists(st.tuples(st.floats(), st.floats(), st.floats()), min_size=1, max_size=6))
def test_whatever_the_poses_no_unknown_or_outside_one_passes(poses):
    found = seen(*poses)
    last = np.array(poses[-1])
    if not np.isfinite(last).all() or (last < (-1, -1, 0)).any() or (last > (1, 1, 2)).any():
        assert found


def test_the_pose_signal_is_judged_in_the_kernel():
    rig = ArmRig().armed()
    rig.data["pose"] = EStop(False)
    rig.tick()
    assert [(fault.fault.id, fault.subject) for fault in rig.verdict.faults] == [("signal_invalid", "pose")]
    rig = ArmRig().armed()
    del rig.samples["pose"]
    rig.silent.add("pose")
    rig.tick()
    assert rig.ids() == {"signal_missing"}


def test_a_base_that_carries_an_arm_may_have_a_workspace():
    workspace = Workspace.model_validate({"pose": "pose", "box": CUBE})
    assert TipWatch(Limits(rover()), workspace).of_command(np.zeros(2)) == ()


def test_a_limits_file_whose_description_does_not_fit_is_refused_with_file_and_reason(urdf, tmp_path):
    path = tmp_path / "arm.toml"
    text = """
    name = "arm"
    type = "arm"
    command = "joint_velocity"
    feedback = "joints"
    axes.j0 = { velocity = 1.0, acceleration = 1.0 }
    axes.j1 = { velocity = 1.0, acceleration = 1.0 }
    workspace = { urdf = "arm.urdf", tip = "TIP", box = { min = [0, 0, 0], max = [1, 1, 1] } }
    """
    path.write_text(text.replace("TIP", "hand"))
    assert load_robot(path).workspace.urdf == urdf
    path.write_text(text.replace("TIP", "foot"))
    with pytest.raises(ConfigError) as refused:
        load_robot(path)
    assert refused.value.problems == [f"{path}: {urdf} has no link 'foot' (workspace.tip)"]
