"""`tools/evaluate demo`: the demo policy, closed loop, in worlds that it was not trained on.

In each world the robot is told to go to one target, and then, from the same start, to another. A drive ends
in front of whatever target the robot comes to rest at first, so a policy that does not listen is found out.
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
from tools.sim.world import make_world
from tools.training.demo_drive import TIME_LIMIT_S, Drive, Outcome
from vlad.clock import SystemClock
from vlad.config import load_settings
from vlad.policy.bundle import load_bundle
from vlad.policy.policy import Policy

ROOT = Path(__file__).resolve().parents[2]
UNSEEN_SEED = 2_000_000


@dataclass(frozen=True, slots=True)
class Pair:
    """Two drives from the same start of one world, told two different targets."""

    seed: int
    targets: int
    first: Outcome
    second: Outcome


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
    work = partial(drive_pair, bundle=options.bundle, delay_ticks=options.delay_ms // 10)
    seeds = range(options.seed, options.seed + options.worlds)
    with ProcessPoolExecutor(os.cpu_count(), mp_context=multiprocessing.get_context("spawn")) as pool:
        done = pool.map(work, seeds)
        pairs = list(done if options.json else track(done, "driving", total=len(seeds)))
    report(pairs, options.bundle, options.delay_ms).print(options.json)


def drive_pair(seed: int, bundle: Path, delay_ticks: int) -> Pair:
    """Both drives in the world of this seed."""
    settings, robot = load_settings(ROOT / "etc/demo.toml")
    policy = Policy(load_bundle(bundle, robot, settings.signals), SystemClock())
    world = make_world(seed)
    names = [target.name for target in world.targets]
    np.random.default_rng(seed).shuffle(names)
    first, second = (Drive(world, name, policy, settings, robot, delay_ticks).run() for name in names[:2])
    policy.close()
    return Pair(seed, len(names), first, second)


def report(pairs: Sequence[Pair], bundle: Path, delay_ms: int) -> Report:
    """What the drives amount to, against the targets of issue 2."""
    count = len(pairs)
    reached = sum(pair.first.reached == pair.first.told for pair in pairs)
    clean = sum(not pair.first.collided for pair in pairs)
    other = sum(pair.second.reached == pair.second.told for pair in pairs)
    former = sum(pair.second.reached == pair.first.told for pair in pairs)
    chance = sum(1.0 / pair.targets for pair in pairs)
    return Report(
        name="demo policy, closed loop",
        conditions={
            "worlds": count,
            "seeds": f"{pairs[0].seed} to {pairs[-1].seed}",
            "bundle": bundle.name if bundle.is_absolute() else str(bundle),
            "inference_rate_hz": 10,
            "picture_to_chunk_ms": delay_ms,
            "time_limit_s": TIME_LIMIT_S,
        },
        results=_results(pairs)
        | {"collision_free_told_other": sum(not pair.second.collided for pair in pairs)},
        targets=[
            at_least("reaches the named object, per 100", 100 * reached / count, 90),
            at_least("no collision, per 100", 100 * clean / count, 97),
            at_least("told another object, goes to that one, per 100", 100 * other / count, 90),
            at_most(
                "told another object, goes to the first, per 100", 100 * former / count, 100 * chance / count
            ),
        ],
    )


def _results(pairs: Sequence[Pair]) -> dict[str, object]:
    drives = [drive for pair in pairs for drive in (pair.first, pair.second)]
    good = [drive.seconds for drive in drives if drive.reached == drive.told]
    held = sum((drive.held for drive in drives), Counter[str]())
    return {
        "drives": len(drives),
        "reached": len(good),
        "reached_another": sum(drive.reached not in (None, drive.told) for drive in drives),
        "out_of_time": sum(drive.reached is None and not drive.collided for drive in drives),
        "collisions": sum(drive.collided for drive in drives),
        "seconds_p50": round(float(np.median(good)), 1) if good else None,
        "nearest_m_p5": round(float(np.percentile([drive.nearest_m for drive in drives], 5)), 3),
        "held_ticks_by_fault": dict(held.most_common()),
        "failed": [f"{p.seed}: {d.told} -> {'collision' if d.collided else d.reached}" for p in pairs
                   for d in (p.first, p.second) if d.reached != d.told],
    }  # fmt: skip
