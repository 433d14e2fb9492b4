"""One judgement of the safety kernel with everything on: 50 joints, 3 laser scans, all signals, moving."""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from tools.benchmarks.report import Report, at_most, machine, percentiles
from vlad.clock import NS_PER_S
from vlad.config import Settings
from vlad.messages import (
    Battery,
    CenterOfMass,
    Chunk,
    CommandAck,
    CommandMode,
    Data,
    Deadman,
    EStop,
    Image,
    Imu,
    JointState,
    Kind,
    LaserScan,
    NearObject,
    Odometry,
    Pose,
    Power,
    Proximity,
    Sample,
    Temperature,
    Wrench,
)
from vlad.policy.follower import Follower
from vlad.robot import Robot
from vlad.safety.kernel import Kernel
from vlad.safety.view import Computer, GuardReport, Inputs

JOINTS, LASERS, BEAMS = 50, 3, 720
TICK_NS = 10_000_000
FRAMES = 16
"""Made before the measurement, 15 MB of them: the daemon's loop makes no picture between two ticks either,
and what it meets is in no nearer cache."""
WARM_UP = 200
NAMES = tuple(f"joint{number}" for number in range(JOINTS))
LEVEL = (0.0, 0.0, 0.0, 1.0)
TYPES = {
    "camera": "image", "joints": "joint_state", "odometry": "odometry", "imu": "imu", "pose": "pose",
    "battery": "battery", "bumper": "proximity", "people": "proximity", "wrench": "wrench",
    "power": "power", "temperature": "temperature", "balance": "center_of_mass", "estop": "estop",
    "deadman": "deadman", "ack": "command_ack",
}  # fmt: skip
HZ = {"camera": 30, "battery": 1, "bumper": 10, "temperature": 1, "estop": 10, "power": 10} | {
    f"laser{number}": 10 for number in range(LASERS)
}


def _settings() -> Settings:
    lasers = {f"laser{number}": "laser_scan" for number in range(LASERS)}
    signals: dict[str, dict[str, Any]] = {
        topic: {"type": kind, "rate_hz": HZ.get(topic, 100), "max_age_s": 2.0, "frozen_s": 0.5}
        for topic, kind in (TYPES | lasers).items()
    }
    for topic in lasers:
        signals[topic]["max_age_s"] = 0.35
    for topic in ("battery", "bumper", "temperature", "estop", "deadman", "power", "people", "balance"):
        signals[topic]["frozen_s"] = 0.0
    return Settings.model_validate({"robot": {"limits": "robot.toml"}, "signals": signals})


def _robot(kind: Kind) -> Robot:
    joint = {"velocity": 2.0, "acceleration": 20.0, "lower": -3.0, "upper": 3.0, "jerk": 500.0,
             "effort": 50.0, "soft_margin": 0.05}  # fmt: skip
    wheel = {"velocity": 1.0, "acceleration": 2.0, "jerk": 50.0}
    base = kind is Kind.TWIST
    lasers = [{"signal": f"laser{k}", "x": 0.1 * k, "yaw": 2.0 * k} for k in range(LASERS)]
    box = {"min": [-1.0, -1.0, 0.0], "max": [1.0, 1.0, 2.0]}
    zones = [{"name": "post", "min": [0.5, 0.5, 0.0], "max": [0.6, 0.6, 2.0]}]
    return Robot.model_validate(
        {
            "name": "bench",
            "type": "bench",
            "command": kind,
            "axes": {"linear_x": wheel, "angular_z": wheel} if base else dict.fromkeys(NAMES, joint),
            "feedback": "odometry" if base else "joints",
            "acknowledged": "ack",
            "obstacle": {"lasers": lasers, "proximity": ["bumper"], "radius": 0.3} if base else None,
            "workspace": {"pose": "pose", "box": box, "keep_out": zones},
            "separation": {"signal": "people", "robot_speed": None if base else 0.5},
            "contact": {"signal": "wrench"},
            "body": {"power": 500.0},
        }
    )


class World:
    """Fresh samples at each tick, at the rates of real sensors, of a robot that does as it is told."""

    def __init__(self, robot: Robot, seed: int = 0) -> None:
        self.robot = robot
        self.names = tuple(robot.axes)
        self.now_ns = 1_000 * NS_PER_S
        self.command_ns = self.now_ns
        self.position = np.zeros(len(self.names))
        self.velocity = np.zeros(len(self.names))
        self.samples: dict[str, Sample] = {}
        self.counts: dict[str, Any] = {}
        self._random = np.random.default_rng(seed)
        self._frames = [np.full((480, 640, 3), shade, np.uint8) for shade in range(FRAMES)]
        self._makers: dict[str, Callable[[], Data]] = {
            "camera": self._image, "joints": self._joints, "odometry": self._odometry,
            "imu": lambda: Imu(LEVEL, self._noise(3), self._noise(3)),
            "pose": lambda: Pose((0.2 + self._noise(1)[0], 0.1, 0.8), LEVEL),
            "battery": lambda: Battery(0.8, 24.0, -3.0, 30.0),
            "bumper": lambda: Proximity(()),
            "people": lambda: Proximity((NearObject("person", 6.0, 0.0),)),
            "wrench": lambda: Wrench(self._noise(3), self._noise(3)),
            "power": lambda: Power(100.0), "temperature": lambda: Temperature({"motor": 40.0, "board": 45.0}),
            "balance": lambda: CenterOfMass(*self._noise(3)), "estop": lambda: EStop(False),
            "deadman": lambda: Deadman(True),
            "ack": lambda: CommandAck(1, self.command_ns, CommandMode.RUN),
        }  # fmt: skip
        self._makers |= {f"laser{number}": self._scan for number in range(LASERS)}

    def inputs(self, tick: int) -> Inputs:
        """All that came in until this tick."""
        self.now_ns += TICK_NS
        for topic, make in self._makers.items():
            if tick % (100 // HZ.get(topic, 100)) == 0 or topic not in self.samples:
                sample = Sample(topic, tick, self.now_ns, self.now_ns, "base_link", make())
                self.samples[topic] = sample
                self.counts[topic] = Came(self.counts[topic].received + 1 if topic in self.counts else 1)
        return Inputs(
            now_ns=self.now_ns,
            samples=dict(self.samples),
            task="go",
            counts=self.counts,
            computer=Computer(self.now_ns, 0.5, 0.5, 0.5, 0.5, 50.0),
            listeners=1,
            guard=GuardReport(self.now_ns, "watching"),
        )

    def chunk(self, seq: int) -> Chunk:
        """A gentle plan from where the robot is."""
        times_s = np.arange(1, 21) * 0.1
        plan = 0.2 * np.sin(self.now_ns / NS_PER_S + times_s)[:, None] * np.ones(len(self.names))
        if self.robot.command is not Kind.TWIST:
            plan += self.position
        return Chunk(seq, self.now_ns - 40_000_000, self.now_ns, NS_PER_S // 10, self.robot.command,
                     self.names, plan.astype(np.float32), "go", 10_000_000, 0.1, 0.1)  # fmt: skip

    def obey(self, values: np.ndarray[Any, Any], now_ns: int) -> None:
        """The motors follow."""
        self.command_ns = now_ns
        if self.robot.command is Kind.TWIST:
            self.velocity = values.astype(float)
        else:
            self.velocity = (values - self.position) * (NS_PER_S / TICK_NS)
            self.position = values.astype(float)

    def _noise(self, size: int) -> Any:
        return tuple((self._random.random(size) * 1e-3).tolist())

    def _image(self) -> Image:
        self._frames.append(self._frames.pop(0))
        return Image("rgb8", self._frames[0])

    def _joints(self) -> JointState:
        still = np.full(JOINTS, 0.1, np.float32) + self._random.random(JOINTS, np.float32) * 1e-3
        moving = self.robot.command is not Kind.TWIST
        position, velocity = (self.position, self.velocity) if moving else (still, still)
        return JointState(
            NAMES,
            position.astype(np.float32),
            velocity.astype(np.float32),
            still,
            still + np.float32(40),
            still,
        )

    def _odometry(self) -> Odometry:
        linear, angular = (float(value) for value in self.velocity[:2])
        x, y, z = self._noise(3)
        return Odometry("base_link", (x, y, z), LEVEL, (linear, 0.0, 0.0), (0.0, 0.0, angular))

    def _scan(self) -> LaserScan:
        ranges = np.float32(1.2) + np.float32(4.0) * self._random.random(BEAMS, np.float32)
        return LaserScan(-np.pi, 2 * np.pi / BEAMS, 0.05, 10.0, ranges)


class Came:
    """Counts of a topic on which all is well."""

    gaps = refused = off_clock = 0

    def __init__(self, received: int) -> None:
        self.received = received


def _measure(kind: Kind, ticks: int) -> tuple[dict[str, float], str]:
    """Judge so many ticks; microseconds, and how the last one ended."""
    robot, settings = _robot(kind), _settings()
    world, kernel = World(robot), Kernel(robot, settings, None)
    follower = Follower(settings.policy)
    for tick in range(10):
        kernel.judge(world.inputs(tick))
    refused = kernel.arm(world.inputs(10))
    if refused:
        raise RuntimeError(f"the {kind} robot cannot be armed: {[fault.fault.id for fault in refused]}")
    took_ns, faults = [], ""
    for tick in range(11, ticks + WARM_UP):
        inputs = world.inputs(tick)
        chunk = world.chunk(tick) if tick % 10 == 1 else None
        began_ns = time.perf_counter_ns()
        if chunk is not None and kernel.admit(chunk, world.now_ns):
            follower.put(chunk, world.now_ns)
        object.__setattr__(inputs, "step", follower.step(world.now_ns))
        verdict = kernel.judge(inputs)
        took_ns.append(time.perf_counter_ns() - began_ns)
        if len(verdict.values):
            world.obey(verdict.values, world.now_ns)
        faults = ", ".join(fault.fault.id for fault in verdict.faults)
    return percentiles(np.array(took_ns[WARM_UP:]) / 1000, "us"), f"{verdict.mode.value} {faults}".strip()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--ticks", type=int, default=6000, help="for each robot (default: %(default)s)")


def run(arguments: argparse.Namespace) -> Report:
    gc.collect()
    gc.freeze()
    gc.disable()
    results: dict[str, Any] = {}
    targets = []
    for name, kind in (("50 joints", Kind.JOINT_POSITION), ("base", Kind.TWIST)):
        took, ended = _measure(kind, arguments.ticks)
        gc.collect()
        results[name] = took | {"ended": ended}
        targets += [
            at_most(f"{name}, 3 laser scans, p50 [us]", took["p50_us"], 150.0),
            at_most(f"{name}, 3 laser scans, p99 [us]", took["p99_us"], 400.0),
        ]
    signals = len(TYPES) + LASERS
    return Report(
        "safety-tick", {**machine(), "signals": signals, "ticks": arguments.ticks}, results, targets
    )
