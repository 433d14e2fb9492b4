"""A robot on paper: settings, sensors and motors for the kernel, moved by hand or by the tick."""

from __future__ import annotations

from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any

import numpy as np

from vlad.config import Settings, load_robot
from vlad.messages import (
    Battery,
    Chunk,
    CommandMode,
    Data,
    EStop,
    Image,
    JointState,
    Kind,
    LaserScan,
    Odometry,
    Proximity,
    Sample,
    Step,
)
from vlad.robot import Robot
from vlad.safety.kernel import Inputs, Kernel, Verdict
from vlad.safety.view import GuardReport

S = 1_000_000_000
TICK_NS = 10_000_000
BEAMS = 360
IMAGE = Image("rgb8", np.zeros((2, 2, 3), dtype=np.uint8))
ROVER_SIGNALS: dict[str, dict[str, Any]] = {
    "camera": {"type": "image", "max_age_s": 0.2},
    "laser": {"type": "laser_scan", "max_age_s": 0.3},
    "odometry": {"type": "odometry", "max_age_s": 0.1},
    "estop": {"type": "estop", "max_age_s": 0.5},
    "battery": {"type": "battery", "max_age_s": 5.0},
    "bumper": {"type": "proximity", "max_age_s": 0.5},
    "instruction": {"type": "instruction", "required": False},
}


def rover(**changes: Any) -> Robot:
    robot = load_robot(Path(__file__).parents[2] / "etc" / "robots" / "rover.toml")
    return robot.model_copy(update=changes)


def arm(kind: Kind = Kind.JOINT_POSITION, joints: int = 2, **changes: Any) -> Robot:
    axis = {"velocity": 1.0, "acceleration": 4.0, "deceleration": 5.0, "lower": -1.0, "upper": 1.5}
    values = {
        "name": "arm",
        "type": "arm",
        "command": kind,
        "feedback": "joints",
        "axes": {f"j{k}": axis for k in range(joints)},
    }
    return Robot.model_validate(values | changes)


def settings(signals: dict[str, dict[str, Any]] | None = None, **sections: Any) -> Settings:
    known = ROVER_SIGNALS if signals is None else signals
    return Settings.model_validate({"robot": {"limits": "r.toml"}, "signals": known, **sections})


def scan(ranges: Any = inf, **changes: Any) -> LaserScan:
    """360 beams; beam 180 looks ahead."""
    full = np.broadcast_to(np.asarray(ranges, dtype=np.float32), BEAMS).copy()
    step = 2 * np.pi / BEAMS
    return replace(LaserScan(-np.pi, step, 0.05, 8.0, full), **changes)


def points(*xy: tuple[float, float]) -> LaserScan:
    """A scan that sees just these points [m], each in the beam nearest to it."""
    ranges = np.full(BEAMS, inf)
    for x, y in xy:
        beam = round((np.arctan2(y, x) + np.pi) / (2 * np.pi / BEAMS)) % BEAMS
        ranges[beam] = np.hypot(x, y)
    return scan(ranges)


def odometry(linear: float = 0.0, angular: float = 0.0) -> Odometry:
    return Odometry("base_link", (0, 0, 0), (0, 0, 0, 1), (linear, 0, 0), (0, 0, angular))


class Rig:
    """A kernel with sensors that are fresh at every tick unless a test silences them."""

    def __init__(
        self, robot: Robot | None = None, set_up: Settings | None = None, estop: str | None = None
    ) -> None:
        self.robot = rover() if robot is None else robot
        joints = self.robot.command is not Kind.TWIST
        signals = {"camera": ROVER_SIGNALS["camera"], "joints": {"type": "joint_state", "max_age_s": 0.1}}
        anywhere = {"start_distance": 10.0}
        self.settings = set_up or (settings(signals, safety=anywhere) if joints else settings())
        self.kernel = Kernel(self.robot, self.settings, estop)
        self.now_ns = 1_000 * S
        self.names = tuple(self.robot.axes)
        self.velocity = np.zeros(len(self.names))
        self.position = np.zeros(len(self.names))
        self.obeys = True
        self.data: dict[str, Data] = {"camera": IMAGE}
        if not joints:
            self.data |= {"laser": scan(), "estop": EStop(False), "battery": Battery(0.9, 24.0, -1.0, 30.0)}
            self.data |= {"bumper": Proximity(())}
        self.silent: set[str] = set()
        self.samples: dict[str, Sample] = {}
        self.wanted: list[float] | None = None
        self.step: Step | None = None
        self.task = ""
        self.chunks = True
        self.inputs: dict[str, Any] = {}
        self.verdict: Verdict | None = None
        self.causes: list[str] = []
        self.modes: list[str] = []

    def sense(self) -> Inputs:
        """Fresh samples of all that is not silent, and the inputs as of now."""
        if self.robot.feedback == "odometry":
            self.data["odometry"] = odometry(*self.velocity)
        elif self.robot.feedback:
            row = (self.position.astype(np.float32), self.velocity.astype(np.float32))
            self.data["joints"] = JointState(self.names, *row)
        for topic, data in self.data.items():
            if topic not in self.silent:
                self.samples[topic] = self.sample(topic, data)
        self.step = None if self.wanted is None else self.make_step(self.wanted)
        guard = GuardReport(self.now_ns, "watching")
        base = Inputs(self.now_ns, dict(self.samples), step=self.step, task=self.task, guard=guard)
        return replace(base, **self.inputs)

    def sample(self, topic: str, data: Data, age_s: float = 0.0) -> Sample:
        stamp_ns = self.now_ns - round(age_s * S)
        return Sample(topic, self.now_ns // TICK_NS, stamp_ns, self.now_ns, "base_link", data)

    def make_step(self, values: list[float], **changes: Any) -> Step:
        array = np.array(values, dtype=np.float32)
        step = Step(self.now_ns - 50_000_000, S, self.robot.command, self.names, array, None)
        return replace(step, **changes)

    def make_chunk(self, **changes: Any) -> Chunk:
        actions = np.tile(np.float32(self.wanted or np.zeros(len(self.names))), (5, 1))
        stamp_ns = self.now_ns - 50_000_000
        chunk = Chunk(
            1, stamp_ns, self.now_ns, S // 10, self.robot.command, self.names, actions, "", 5_000_000, None
        )
        return replace(chunk, **changes)

    def tick(self, count: int = 1, dt_s: float = 0.01) -> Verdict:
        """Let time pass, sense, judge, and let the motors follow; the last verdict."""
        for _ in range(count):
            self.now_ns += round(dt_s * S)
            if self.chunks:
                self.kernel.admit(self.make_chunk(), self.now_ns)
            self.verdict = self.kernel.judge(self.sense())
            self.causes += [change.cause for change in self.verdict.transitions]
            self.modes += [change.after.value for change in self.verdict.transitions]
            if self.obeys:
                self._follow(self.verdict, dt_s)
        assert self.verdict is not None
        return self.verdict

    def _follow(self, verdict: Verdict, dt_s: float) -> None:
        before = self.position
        if verdict.command_mode is CommandMode.STOP0 or not verdict.values.size:
            self.velocity = np.zeros_like(self.velocity)
        elif self.robot.command is Kind.JOINT_POSITION:
            self.velocity = (verdict.values.astype(np.float64) - before) / dt_s
        elif self.robot.command is Kind.JOINT_DELTA:
            self.velocity = verdict.values.astype(np.float64) / dt_s
        else:
            self.velocity = verdict.values.astype(np.float64)
        self.position = before + self.velocity * dt_s

    def armed(self) -> Rig:
        """Armed, with the speed ramp over."""
        self.tick(10)
        assert self.kernel.arm(self.sense()) == ()
        self.tick(round(self.settings.safety.arm_ramp_s * 100) + 2)
        assert self.verdict is not None
        assert self.verdict.mode == "active", self.causes
        self.causes.clear()
        self.modes.clear()
        return self

    def driving(self, *values: float) -> Rig:
        """Armed and at full speed."""
        self.armed()
        self.wanted = list(values) if values else [0.8, 0.0]
        self.tick(100)
        return self

    def ids(self) -> set[str]:
        assert self.verdict is not None
        return {fault.fault.id for fault in self.verdict.faults}
