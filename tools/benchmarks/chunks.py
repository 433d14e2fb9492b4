"""The ways to follow chunks, and naive execution, in the simulator under inference delay."""

from __future__ import annotations

import argparse
import functools
import multiprocessing
import os
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np

from tools.benchmarks.report import Report, at_most, machine
from tools.sim.rover import STEP_S as TICK_S
from tools.sim.world import make_world
from tools.training.demo_drive import Drive
from vlad.clock import SystemClock
from vlad.config import Settings, load_settings
from vlad.messages import Chunk, Floats, Step
from vlad.policy.bundle import load_bundle
from vlad.policy.follower import Follower
from vlad.policy.policy import Policy
from vlad.policy_settings import PolicySettings
from vlad.robot import Robot

ROOT = Path(__file__).resolve().parents[2]
WAYS = ("naive", "latest", "ensemble", "blend", "rtc")
ADDED_MS = (0, 50, 100, 200, 400)
PICTURE_TO_CHUNK_MS = 40
"""What the demo takes by itself: the delays are added to it."""
UNSEEN_SEED = 2_000_000
DEFAULT = PolicySettings().follow
"""The way that vlad follows where nobody says otherwise."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One drive. `reached`: its target, without a touch. Jump and jerk are in units of velocity limits."""

    reached: bool
    collided: bool
    seconds: float
    jump: float
    jerk: float


class Recorder(Follower):
    """The daemon's follower, with a record of what it says and how far it jumps where a chunk joins."""

    def __init__(self, settings: PolicySettings, limits: Floats) -> None:
        super().__init__(settings)
        self._limits = limits
        self._said: list[Floats] = []
        self.jump = 0.0

    def put(self, chunk: Chunk, now_ns: int) -> bool:
        before = super().step(now_ns)
        taken = super().put(chunk, now_ns)
        after = super().step(now_ns)
        if before is not None and after is not None:
            self.jump = max(self.jump, float(np.abs((after.values - before.values) / self._limits).max()))
        return taken

    def step(self, now_ns: int) -> Step | None:
        step = super().step(now_ns)
        if step is not None:
            self._said.append(step.values / self._limits)
        return step

    @property
    def jerk(self) -> float:
        """The second difference over time of what it says, on the average [velocity limits / s^2]."""
        return float(np.abs(np.diff(self._said, 2, axis=0)).mean()) / TICK_S**2


class Naive(Recorder):
    """Each chunk from its first row on, whenever it comes, as a script does that knows nothing of time."""

    def put(self, chunk: Chunk, now_ns: int) -> bool:
        return super().put(replace(chunk, stamp_ns=now_ns - chunk.step_ns), now_ns)


@functools.cache
def _demo(way: str) -> tuple[Policy, Settings, Robot]:
    """The demo policy, or that which takes a prefix, loaded once in each process."""
    settings, robot = load_settings(ROOT / "etc/demo.toml")
    name = "demo-rtc" if way == "rtc" else "demo"
    bundle = load_bundle(ROOT / "tools/models" / name / "1", robot, settings.signals)
    return Policy(bundle, SystemClock()), settings, robot


def drive(way: str, added_ms: int, seed: int) -> Trial:
    """One drive in the unseen world of this seed, with so much inference delay added."""
    policy, settings, robot = _demo(way)
    limits = np.array([axis.velocity for axis in robot.axes.values()], np.float32)
    if way == "naive":
        follower: Recorder = Naive(PolicySettings(follow="latest"), limits)
    else:
        follower = Recorder(PolicySettings.model_validate({"follow": way}), limits)
    world = make_world(seed)
    targets = [target.name for target in world.targets]
    np.random.default_rng(seed).shuffle(targets)
    delay_ticks = round((PICTURE_TO_CHUNK_MS + added_ms) / 1000 / TICK_S)
    outcome = Drive(world, policy, settings, robot, delay_ticks, follower).run(targets[0])
    well = outcome.reached == outcome.told and not outcome.collided
    return Trial(well, outcome.collided, outcome.seconds, follower.jump, follower.jerk)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--worlds", type=int, default=40, help="for each way and delay (default: %(default)s)"
    )


def run(arguments: argparse.Namespace) -> Report:
    cases = list(product(WAYS, ADDED_MS))
    seeds = range(UNSEEN_SEED, UNSEEN_SEED + arguments.worlds)
    work = [(way, added_ms, seed) for way, added_ms in cases for seed in seeds]
    with ProcessPoolExecutor(os.cpu_count(), mp_context=multiprocessing.get_context("spawn")) as pool:
        trials = list(pool.map(drive, *zip(*work, strict=True), chunksize=4))
    of = {case: trials[k * len(seeds) : (k + 1) * len(seeds)] for k, case in enumerate(cases)}
    lost = _success(of[DEFAULT, 0]) - _success(of[DEFAULT, 200])
    return Report(
        "chunks",
        {
            **machine(),
            "worlds": len(seeds),
            "picture_to_chunk_ms": f"{PICTURE_TO_CHUNK_MS} and what is added",
            "default": DEFAULT,
            "rtc": "with demo-rtc, which takes a prefix",
        },
        {f"{way} + {added_ms} ms": _summary(of[way, added_ms]) for way, added_ms in cases},
        [at_most(f"points of success that {DEFAULT} loses by 200 ms", lost, 5.0)],
    )


def _success(trials: Iterable[Trial]) -> float:
    return 100.0 * float(np.mean([trial.reached for trial in trials]))


def _summary(trials: list[Trial]) -> dict[str, float]:
    return {
        "success_percent": round(_success(trials), 1),
        "collisions": sum(trial.collided for trial in trials),
        "seconds_p50": round(float(np.median([trial.seconds for trial in trials])), 2),
        "largest_jump": round(max(trial.jump for trial in trials), 4),
        "mean_jerk": round(float(np.mean([trial.jerk for trial in trials])), 2),
    }
