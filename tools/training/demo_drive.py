"""A drive of the simulated rover, in simulated time, through the daemon's policy, follower and kernel."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from tools.sim.rover import STEP_S as TICK_S
from tools.sim.rover import Rover
from tools.sim.sensors import LASER_BEAMS, LASER_RANGE_MAX_M, LASER_RANGE_MIN_M, Camera, Laser
from tools.sim.world import World
from tools.training.expert import reached
from vlad.clock import NS_PER_S, FakeClock
from vlad.config import Settings
from vlad.messages import (
    Battery,
    Chunk,
    CommandAck,
    CommandMode,
    Data,
    EStop,
    Image,
    Instruction,
    LaserScan,
    Mode,
    NearObject,
    Odometry,
    Proximity,
    Sample,
)
from vlad.policy.follower import Follower
from vlad.policy.policy import Policy
from vlad.robot import Robot
from vlad.safety.kernel import Inputs, Kernel, Verdict
from vlad.safety.view import GuardReport

TIME_LIMIT_S = 45.0
FRAME_TICKS = 10  # from one picture, scan and inference to the next
_TICK_NS = round(TICK_S * NS_PER_S)
_REST_TICKS = 50  # to stand in front of a target before it counts
_CAMERA_NOISE, _LASER_NOISE_M = 3.0, 0.01


@dataclass(slots=True)
class Outcome:
    """`reached`: the target in front of which the robot came to rest first; None: none in time."""

    told: str
    reached: str | None = None
    collided: bool = False
    seconds: float = 0.0
    nearest_m: float = 9.0
    held: Counter[str] = field(default_factory=Counter)
    """Ticks in which the kernel held the robot, by fault."""
    risk: list[float] = field(default_factory=list)
    """Collision probability of each chunk."""
    doubts: dict[str, float] = field(default_factory=dict)
    """The largest value in any chunk of each measure of the policy's confidence."""


class Drive:
    """One robot in one world; each `run` goes on from where the one before ended."""

    def __init__(
        self,
        world: World,
        policy: Policy,
        settings: Settings,
        robot: Robot,
        delay_ticks: int,
        follower: Follower | None = None,
    ) -> None:
        """`delay_ticks`: from a picture to the chunk that was made from it, in ticks of the safety kernel.

        `follower` stands in for the daemon's.
        """
        self._world, self._policy, self._delay = world, policy, delay_ticks
        self._rover = Rover(world)
        self._camera = Camera(self._rover, noise=_CAMERA_NOISE, seed=world.seed)
        self._laser = Laser(self._rover, noise_m=_LASER_NOISE_M, seed=world.seed)
        self._clock = FakeClock()
        self._kernel = Kernel(robot, settings, None)
        self._follower = follower or Follower(settings.policy)
        self._instruction = ""
        self._followed = CommandMode.HOLD
        self._samples: dict[str, Sample] = {}
        self._chunk: Chunk | None = None
        self._since_ns: int | None = None
        self._due = 0

    def run(self, target: str) -> Outcome:
        """Drive until the robot stands in front of any target, touches something, or the time is up."""
        self._instruction, self._chunk, self._since_ns = f"go to the {target}", None, None
        self._follower.clear()
        outcome, rest = Outcome(target), 0
        for tick in range(round(TIME_LIMIT_S / TICK_S)):
            self._sense(tick)
            self._infer(tick, outcome)
            self._act(self._judge(), outcome)
            outcome.seconds = (tick + 1) * TICK_S
            at = self._in_front_of()
            rest = rest + 1 if at else 0
            if rest == _REST_TICKS:
                outcome.reached = at
            if rest == _REST_TICKS or outcome.collided:
                break
        return outcome

    def _in_front_of(self) -> str | None:
        """The target that is reached now."""
        pose, twist = self._rover.pose, self._rover.twist
        return next((target.name for target in self._world.targets if reached(target, pose, twist)), None)

    def _sense(self, tick: int) -> None:
        """The samples that the drivers would send now."""
        now_ns = self._clock.now_ns()
        for topic, data in self._measure(tick):
            before = self._samples.get(topic)
            self._samples[topic] = Sample(
                topic, before.seq + 1 if before else 0, now_ns, now_ns, "base_link", data
            )

    def _measure(self, tick: int) -> Iterator[tuple[str, Data]]:
        linear, angular = self._rover.twist
        x, y, yaw = self._rover.odometry_pose
        turned = (0.0, 0.0, float(np.sin(yaw / 2)), float(np.cos(yaw / 2)))
        yield "odometry", Odometry("base_link", (x, y, 0.0), turned, (linear, 0.0, 0.0), (0.0, 0.0, angular))
        yield "bumper", Proximity(tuple(NearObject("bumper", 0.0, 0.0) for _ in self._rover.contacts()))
        yield "estop", EStop(pressed=False)
        yield "command_ack", CommandAck(tick + 1, self._clock.now_ns(), self._followed)
        yield "battery", Battery(1.0, 25.0, -1.0, 25.0)
        yield "instruction", Instruction(self._instruction)
        if tick % FRAME_TICKS == 0:
            step = 2 * np.pi / LASER_BEAMS
            yield "laser", LaserScan(-np.pi, step, LASER_RANGE_MIN_M, LASER_RANGE_MAX_M, self._laser.ranges())
            yield "camera", Image("rgb8", self._camera.image())

    def _infer(self, tick: int, outcome: Outcome) -> None:
        """A chunk from each picture that finds the policy idle; the follower gets it `delay_ticks` later."""
        if self._chunk is not None and tick >= self._due:
            if self._kernel.admit(self._chunk, self._clock.now_ns()):
                self._follower.put(self._chunk, self._clock.now_ns())
            self._chunk = self._since_ns = None
        if self._chunk is None and tick % FRAME_TICKS == 0:
            prefix = self._policy.prefix(self._samples, self._follower.ahead)
            self._chunk, self._due = self._policy.infer(self._samples, prefix), tick + self._delay
            self._since_ns = self._clock.now_ns()
            outcome.risk.append(self._chunk.collision or 0.0)
            for doubt in self._chunk.doubts:
                outcome.doubts[doubt.measure] = max(outcome.doubts.get(doubt.measure, 0.0), doubt.value)

    def _judge(self) -> Verdict:
        now_ns = self._clock.now_ns()
        inputs = Inputs(
            now_ns,
            self._samples,
            self._follower.step(now_ns),
            self._instruction,
            inference_since_ns=self._since_ns,
            listeners=1,
            guard=GuardReport(now_ns, "watching"),
        )
        if self._kernel.mode is Mode.DISARMED:
            self._kernel.arm(inputs)
        return self._kernel.judge(inputs)

    def _act(self, verdict: Verdict, outcome: Outcome) -> None:
        """Do what the kernel says for one tick; a stop without values is braked by the wheels."""
        linear, angular = (float(value) for value in verdict.values) if len(verdict.values) else (0.0, 0.0)
        self._rover.command(linear, angular)
        self._followed = verdict.command_mode
        if verdict.command_mode is not CommandMode.RUN:
            outcome.held.update(fault.fault.id for fault in verdict.faults)
        self._rover.step()
        self._clock.advance(TICK_S)
        gap = self._world.gap(np.array([self._rover.pose[:2]]))[0]
        outcome.nearest_m = min(outcome.nearest_m, float(gap))
        outcome.collided = self._rover.collided
