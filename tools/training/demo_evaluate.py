"""`tools/evaluate demo`: the demo policy, closed loop, in worlds that it was not trained on.

In each world the robot is told to go to one target, and, from the same start, to another. A drive ends in
front of whatever target the robot comes to rest at first, so a policy that does not listen is found out.
From in front of the first target it is also told to go on to the other.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from rich.progress import track

from tools.benchmarks.report import Report, at_least, at_most
from tools.sim.rover import STEP_S as TICK_S
from tools.sim.world import make_world
from tools.training.demo_drive import TIME_LIMIT_S, Drive, Outcome
from vlad.clock import SystemClock
from vlad.config import load_settings
from vlad.policy.bundle import load_bundle
from vlad.policy.policy import Policy

ROOT = Path(__file__).resolve().parents[2]
UNSEEN_SEED = 2_000_000


@dataclass(frozen=True, slots=True)
class Trial:
    """The drives in one world: to one target, to another from the same start, and on from the first to it."""

    seed: int
    targets: int
    first: Outcome
    other: Outcome
    onward: Outcome


def main(arguments: Sequence[str]) -> None:
    """Parse the arguments, drive, print the report."""
    parser = argparse.ArgumentParser(
        prog="tools/evaluate demo", description="Drive the demo policy in unseen worlds."
    )
    parser.add_argument("--worlds", type=int, default=100, help="how many (default: %(default)s)")
    parser.add_argument(
        "--seed", type=int, default=UNSEEN_SEED, help="of the first world (default: %(default)s)"
    )
    parser.add_argument(
        "--delay-ms", type=int, default=40, help="from picture to chunk (default: %(default)s)"
    )
    parser.add_argument(
        "--bundle", type=Path, default=ROOT / "tools/models/demo/1", help="default: %(default)s"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)
    work = partial(try_world, bundle=options.bundle, delay_ticks=options.delay_ms // 10)
    seeds = range(options.seed, options.seed + options.worlds)
    with ProcessPoolExecutor(os.cpu_count(), mp_context=multiprocessing.get_context("spawn")) as pool:
        done = pool.map(work, seeds)
        trials = list(done if options.json else track(done, "driving", total=len(seeds)))
    report(trials, options.bundle, options.delay_ms).print(options.json)


def try_world(seed: int, bundle: Path, delay_ticks: int) -> Trial:
    """The drives in the world of this seed."""
    settings, robot = load_settings(ROOT / "etc/demo.toml")
    policy = Policy(load_bundle(bundle, robot, settings.signals), SystemClock())
    world = make_world(seed)
    names = [target.name for target in world.targets]
    np.random.default_rng(seed).shuffle(names)
    drive, anew = (Drive(world, policy, settings, robot, delay_ticks) for _ in range(2))
    trial = Trial(seed, len(names), drive.run(names[0]), anew.run(names[1]), drive.run(names[1]))
    policy.close()
    return trial


def report(trials: Sequence[Trial], bundle: Path, delay_ms: int) -> Report:
    """What the drives amount to, against the targets of issue 2."""
    share = 100.0 / len(trials)
    reached = share * sum(_well(trial.first) for trial in trials)
    clean = share * sum(not trial.first.collided for trial in trials)
    other = share * sum(_well(trial.other) for trial in trials)
    former = share * sum(trial.other.reached == trial.first.told for trial in trials)
    chance = share * sum(1.0 / trial.targets for trial in trials)
    return Report(
        name="demo policy, closed loop",
        conditions={
            "worlds": len(trials),
            "seeds": f"{trials[0].seed} to {trials[-1].seed}",
            "bundle": f"{bundle.parent.name}/{bundle.name}",
            "inference_rate_hz": 10,
            "picture_to_chunk_ms": delay_ms,
            "time_limit_s": TIME_LIMIT_S,
        },
        results={
            name: _summary([getattr(trial, name) for trial in trials])
            for name in ("first", "other", "onward")
        },
        targets=[
            at_least("reaches the named object, per 100 worlds", reached, 90.0),
            at_least("no collision, per 100", clean, 97.0),
            at_least("told another object goes to that one, per 100", other, 90.0),
            at_most("told another object goes to the first, per 100 (limit: chance)", former, chance),
        ],
    )


def _well(drive: Outcome) -> bool:
    return drive.reached == drive.told and not drive.collided


def _summary(drives: Sequence[Outcome]) -> dict[str, object]:
    seconds = [drive.seconds for drive in drives if _well(drive)]
    held = sum((drive.held for drive in drives), Counter[str]())
    return {
        "reached": len(seconds),
        "reached_another": sum(drive.reached not in (None, drive.told) for drive in drives),
        "out_of_time": sum(drive.reached is None and not drive.collided for drive in drives),
        "collisions": sum(drive.collided for drive in drives),
        "seconds_p50": round(float(np.median(seconds)), 1) if seconds else None,
        "nearest_m_min": round(min(drive.nearest_m for drive in drives), 3),
        "collision_probability_p99": round(float(np.percentile([p for d in drives for p in d.risk], 99)), 3),
        "held_s_by_fault": {fault: round(ticks * TICK_S, 2) for fault, ticks in held.most_common()},
    }
