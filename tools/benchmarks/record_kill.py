"""SIGKILL while everything is recorded, at random: does each recording open, and what of it is missing.

The daemon's recorder records continuously what other processes send. In turn the daemon is killed, which the
recorder survives for a moment; the recorder, which the daemon starts anew; and both at once, as by a power
cut. Each file is read by the mcap library. Missing is the time between the kill and the last message of that
topic whose last message is the oldest.
"""

from __future__ import annotations

import argparse
import math
import random
import time
from pathlib import Path
from typing import Any

import numpy as np
from mcap.exceptions import McapError
from mcap.reader import make_reader

from tools.benchmarks.report import Report, at_least, at_most, machine, percentiles
from tools.benchmarks.rig import Rig, rig, write_policy

_SIGNALS: dict[str, dict[str, Any]] = {
    "camera": {"type": "image", "max_age_s": 1.0},
    "joints": {"type": "joint_state", "required": False},
    "odometry": {"type": "odometry", "required": False},
    "laser": {"type": "laser_scan", "required": False},
}
_FEED = ["camera:image:30:640x480", "joints:joint_state:100", "odometry:odometry:100", "laser:laser_scan:10"]
_RECORD = {"mode": "continuous", "free_mb": 0}
_VICTIMS = ("daemon", "recorder", "both")
_LIMIT_S = 1.0
_LEAST_S, _MOST_S = 1.5, 4.0
_PATIENCE_S = 30.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--kills", type=int, default=50, help="so many (default: %(default)s)")


def run(arguments: argparse.Namespace) -> Report:
    rng = random.Random(1)
    missing_s: dict[str, list[float]] = {victim: [] for victim in _VICTIMS}
    with rig(_SIGNALS, realtime={"lock_memory": False}, record=_RECORD) as bench:
        bench.policy["bundle"] = str(write_policy(bench.folder / "models" / "bench", "camera", 32, rounds=0))
        settings = bench.write_settings()
        bench.start_daemon("vlad", "--config", settings)
        bench.feed(_FEED)
        for number in range(arguments.kills):
            victim = _VICTIMS[number % len(_VICTIMS)]
            part = _recording(bench)
            time.sleep(rng.uniform(_LEAST_S, _MOST_S))
            killed_ns = time.time_ns()
            _kill(bench, victim)
            if victim != "recorder":
                bench.daemon.wait()
                (bench.folder / "notify").unlink()
                bench.start_daemon("vlad", "--config", settings)
            last_ns = _last_ns(part)
            missing_s[victim].append((killed_ns - last_ns) / 1e9 if last_ns is not None else math.inf)
    every = [missing for found in missing_s.values() for missing in found]
    opened = sum(map(math.isfinite, every))
    results = {
        "kills": len(every),
        "opened": opened,
        **{
            f"missing_{victim}": percentiles(np.array(found), "s")
            for victim, found in missing_s.items()
            if found
        },
    }
    targets = [
        at_least(f"opened after repair, of {len(every)}", opened, len(every)),
        at_most("missing before the kill, the most [s]", round(max(every), 3), _LIMIT_S),
    ]
    return Report("record-kill", machine(), results, targets)


def _kill(bench: Rig, victim: str) -> None:
    recorder = [child for child in bench.daemon.children() if "vlad.record" in child.cmdline()]
    for process in {"daemon": [bench.daemon], "recorder": recorder}.get(victim, [*recorder, bench.daemon]):
        process.kill()


def _recording(bench: Rig) -> Path:
    """The file that is being written, once there is one."""
    end_s = time.monotonic() + _PATIENCE_S
    while time.monotonic() < end_s:
        if file := bench.call("status")["record"]["file"]:
            return Path(file)
        time.sleep(0.05)
    raise SystemExit(f"nothing is being recorded: {bench.call('status')['record']}")


def _last_ns(part: Path) -> int | None:
    """When the last message was recorded of whichever of these topics ends first; None: it does not open."""
    moment = part.name.removesuffix(".mcap.part")
    end_s = time.monotonic() + _PATIENCE_S
    while not (found := list(part.parent.glob(f"{moment}*.mcap"))) and time.monotonic() < end_s:
        time.sleep(0.05)
    if not found:
        return None
    newest: dict[str, int] = {}
    try:
        with found[0].open("rb") as file:
            for _, channel, message in make_reader(file, validate_crcs=True).iter_messages():
                newest[channel.topic] = message.log_time
    except (OSError, McapError, ValueError):
        return None
    return min(
        (newest.get(topic, 0) for topic in ("vlad/tick", "joints", "camera", "odometry")), default=None
    )
