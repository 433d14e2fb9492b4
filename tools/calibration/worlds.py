"""The scores of drives of the simulated rover, closed loop, in worlds that its policy was not trained on."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from tools.calibration.calibrate import Scores
from tools.sim.world import make_world
from tools.training.demo_drive import Drive
from vlad.clock import SystemClock
from vlad.config import load_settings
from vlad.policy.bundle import load_bundle
from vlad.policy.policy import Policy

ROOT = Path(__file__).resolve().parents[2]
FIRST_SEED = 3_000_000
"""Neither the training nor tools/evaluate has these worlds."""
_DELAY_TICKS = 4


def drive(seed: int, bundle: Path) -> Scores | None:
    """Drive to one target of the world of this seed; None where the robot did not get there unharmed."""
    settings, robot = load_settings(ROOT / "etc/demo.toml")
    policy = Policy(load_bundle(bundle, robot, settings.signals), SystemClock())
    world = make_world(seed)
    told = world.targets[int(np.random.default_rng(seed).integers(len(world.targets)))].name
    outcome = Drive(world, policy, settings, robot, _DELAY_TICKS).run(told)
    policy.close()
    return outcome.doubts if outcome.reached == told and not outcome.collided else None


def drives(bundle: Path, count: int) -> Iterator[Scores | None]:
    """One drive in each of so many worlds, on all cores; BundleRefused where it is not for this robot."""
    settings, robot = load_settings(ROOT / "etc/demo.toml")
    load_bundle(bundle, robot, settings.signals)
    seeds = range(FIRST_SEED, FIRST_SEED + count)
    with ProcessPoolExecutor(os.cpu_count(), mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(partial(drive, bundle=bundle), seeds)
