"""How the robot moves and what the policy plans, as the status has it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from vlad.clock import NS_PER_S
from vlad.config import Settings
from vlad.daemon import Daemon
from vlad.jsontext import to_json
from vlad.messages import Chunk, Data, JointState, Kind, Odometry, Power, Sample
from vlad.motion_report import MotionReport
from vlad.queues import Latest
from vlad.robot import Robot

NOW_NS = 50 * NS_PER_S
ROVER = {
    "name": "rover", "type": "rover", "command": "twist", "feedback": "odometry",
    "axes": {"linear_x": {"velocity": 0.8, "acceleration": 1.0},
             "angular_z": {"velocity": 2.0, "acceleration": 1.0}},
}  # fmt: skip
LIMITED = {"velocity": 2.0, "acceleration": 5.0, "lower": -1.0, "upper": 1.5}
ARM = {
    "name": "arm", "type": "arm", "command": "joint_position", "feedback": "joints",
    "axes": {"shoulder": LIMITED, "elbow": LIMITED},
}  # fmt: skip


class Stand:
    """What the report reads of a daemon."""

    def __init__(self, robot: dict[str, Any]) -> None:
        self.robot = Robot.model_validate(robot)
        types = {"odometry": "odometry", "joints": "joint_state", "meter": "power"}
        signals = {topic: {"type": kind, "max_age_s": 0.5} for topic, kind in types.items()}
        self.settings = Settings.model_validate({"robot": {"limits": Path("x")}, "signals": signals})
        self.ingest = SimpleNamespace(latest={topic: Latest[Sample]() for topic in types})
        self.watchdog = SimpleNamespace(chunk=None)
        self.motion = MotionReport(cast(Daemon, self))

    def put(self, topic: str, data: Data, age_s: float = 0.0) -> None:
        stamp_ns = NOW_NS - round(age_s * NS_PER_S)
        self.ingest.latest[topic].put(Sample(topic, 1, stamp_ns, stamp_ns, "", data))

    def plan(self, rows: int, columns: int = 2, age_s: float = 0.0, fill: float = 0.1) -> None:
        names = ("linear_x", "angular_z")[:columns]
        actions = np.full((rows, columns), fill, np.float32)
        stamp_ns = NOW_NS - round(age_s * NS_PER_S)
        self.watchdog.chunk = Chunk(7, stamp_ns, NOW_NS, 100_000_000, Kind.TWIST, names, actions, "go", 1)

    def report(self) -> dict[str, Any]:
        return self.motion.report(NOW_NS)


def odometry(x: float, turn: float) -> Odometry:
    return Odometry("base_link", (0, 0, 0), (0, 0, 0, 1), (x, 0, 0), (0, 0, turn))


def test_a_base_has_speeds_beside_their_limits_and_no_positions() -> None:
    stand = Stand(ROVER)
    stand.put("odometry", odometry(0.25, -1.5))
    told = stand.report()
    assert told["names"] == ["linear_x", "angular_z"]
    assert (told["velocity"], told["velocity_limits"]) == ([0.25, -1.5], [0.8, 2.0])
    assert (told["position"], told["lower"], told["upper"]) == (None, [None, None], [None, None])


def test_joints_have_positions_between_their_limits_in_the_order_of_the_axes() -> None:
    stand = Stand(ARM)
    position, velocity = np.array([0.5, -0.25], np.float32), np.array([0.1, 0.0], np.float32)
    stand.put("joints", JointState(("elbow", "shoulder"), position, velocity))
    told = stand.report()
    assert told["names"] == ["shoulder", "elbow"]
    assert told["position"] == [-0.25, 0.5]
    assert told["velocity"] == pytest.approx([0.0, 0.1])
    assert (told["lower"], told["upper"]) == ([-1.0, -1.0], [1.5, 1.5])


@pytest.mark.parametrize("age_s", [0.51, 10.0])
def test_what_is_old_is_not_told(age_s: float) -> None:
    stand = Stand(ROVER)
    stand.put("odometry", odometry(0.25, 0.0), age_s)
    stand.put("meter", Power(80.0), age_s)
    told = stand.report()
    assert (told["velocity"], told["watts"]) == (None, None)


@pytest.mark.parametrize(("watts", "told"), [(81.27, 81.3), (float("nan"), None), (float("inf"), None)])
def test_the_power_that_the_robot_draws(watts: float, told: float | None) -> None:
    stand = Stand(ROVER)
    stand.put("meter", Power(watts))
    assert stand.report()["watts"] == told


def test_without_any_sample_there_is_a_report_all_the_same() -> None:
    told = Stand(ROVER).report()
    assert (told["velocity"], told["position"], told["watts"], told["chunk"]) == (None, None, None, None)


@pytest.mark.parametrize("rows", [1, 11, 12, 13, 50, 100])
def test_a_plan_is_told_by_a_dozen_rows_and_when_each_is_due(rows: int) -> None:
    stand = Stand(ROVER)
    stand.plan(rows, age_s=0.25)
    told = stand.report()["chunk"]
    assert 0 < len(told["rows"]) <= 12
    assert len(told["due_s"]) == len(told["rows"])
    assert told["due_s"][0] == pytest.approx(-0.15)
    assert all(earlier < later for earlier, later in zip(told["due_s"], told["due_s"][1:], strict=False))
    assert told["due_s"][-1] <= (rows + 1) * 0.1 - 0.25
    assert (told["seq"], told["kind"], told["names"]) == (7, "twist", ["linear_x", "angular_z"])
    assert told["rows"][0] == [0.1, 0.1]


def test_a_plan_of_nonsense_is_told_in_strict_json() -> None:
    stand = Stand(ROVER)
    stand.plan(3, fill=float("nan"))
    assert "[null,null]" in to_json(stand.report())


def test_other_limits_are_told_at_once() -> None:
    stand = Stand(ROVER)
    stand.report()
    axes = {**ROVER["axes"], "linear_x": {"velocity": 0.3, "acceleration": 1.0}}
    stand.robot = Robot.model_validate({**ROVER, "axes": axes})
    assert stand.report()["velocity_limits"] == [0.3, 2.0]
