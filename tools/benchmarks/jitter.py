"""How late the safety tick is, with inference and ingest running flat out; naive loops beside it.

The daemon itself runs, eight times in turn: paced by its ticker with SCHED_FIFO and without, both without the
black box and with it; with SCHED_FIFO where two loops of other processes want each CPU, as it is and with its
other threads as ordinary as those; and the same loop paced by asyncio.sleep and by uvloop's call_at. Load:
four cameras of 640x480 at 30 Hz, 1,000 joint messages/s and 100 scans/s from another process, and a model of
about 20 ms that is run again as soon as it is done. Loops that do nothing run beside it, `bare`:
`missed_alone` is what is missed when the time is taken off for which a CPU stood still.
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import dataclass
from typing import Any

from tools.benchmarks.report import Report, at_most, machine, percentiles
from tools.benchmarks.rig import rig, write_policy
from tools.benchmarks.stalls import Bare, ticks_within
from vlad.driver import CommandReceiver

_CAMERAS = [f"camera{number}:image:30:640x480" for number in range(4)]
_FEED = [*_CAMERAS, "joints:joint_state:1000", "laser:laser_scan:100", "trigger:image:200:64x64"]
_SIGNALS = {line.split(":")[0]: {"type": line.split(":")[1], "required": False} for line in _FEED}
_BUSY_PER_CPU = 2
_BUSY = ("-n", "1000000000", "-r", "1000", "pass")
"""For timeit: nothing, again and again."""


@dataclass(frozen=True, slots=True)
class _Way:
    """One way to run the daemon."""

    pace: str = "ticker"
    priority: int = 50
    record: str = "off"
    busy: int = 0
    """Loops of other processes, for each CPU."""
    words: tuple[str, ...] = ()
    """For the host."""


_WAYS = {
    "fifo": _Way(),
    "fifo_recording": _Way(record="triggered"),
    "fifo_crowded": _Way(busy=_BUSY_PER_CPU),
    "fifo_crowded_ordinary_threads": _Way(busy=_BUSY_PER_CPU, words=("--ordinary-threads",)),
    "plain": _Way(priority=0),
    "plain_recording": _Way(priority=0, record="triggered"),
    "asyncio_sleep": _Way(pace="sleep", priority=0),
    "call_at": _Way(pace="call_at", priority=0),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--seconds", type=float, default=60, help="for each of the eight (default: %(default)s)"
    )


def _measure(way: _Way, seconds: float) -> dict[str, Any]:
    with rig(_SIGNALS, realtime={"fifo_priority": way.priority}, record={"mode": way.record}) as bench:
        folder = write_policy(bench.folder / "models" / "bench", "trigger", 64, rounds=24)
        bench.policy.update(bundle=str(folder), rate_hz=1000.0)
        notes = bench.folder / "notes.npz"
        bench.start_daemon(
            "tools.benchmarks.host", bench.write_settings(), notes, "--pace", way.pace, *way.words
        )
        host = len(bench.processes) - 1
        bench.feed(_FEED)
        bare = Bare(bench)
        time.sleep(2)
        with CommandReceiver(bench.commands):
            bench.arm()
            busy = [bench.start("timeit", *_BUSY) for _ in range(way.busy * (os.cpu_count() or 1))]
            before = bench.call("status")
            began_cpu, began_ns = sum(bench.daemon.cpu_times()[:2]), time.monotonic_ns()
            time.sleep(seconds)
            after, ended_ns = bench.call("status"), time.monotonic_ns()
            used = (sum(bench.daemon.cpu_times()[:2]) - began_cpu) / (ended_ns - began_ns) * 1e9
        for index in busy:
            bench.stop(index)
        bare.stop()
        bench.stop(host)
        _, late_ns = ticks_within(notes, began_ns, ended_ns)
        missed_alone = bare.missed_alone(notes, began_ns, ended_ns)
    return {
        "lateness": percentiles(late_ns / 1e6, "ms"),
        "bare": bare.report(),
        "ticks": after["tick"]["count"] - before["tick"]["count"],
        "missed": after["tick"]["missed"] - before["tick"]["missed"],
        "missed_alone": missed_alone,
        "inferences_per_s": round(
            (after["policy"]["inferences"] - before["policy"]["inferences"]) / seconds, 1
        ),
        "daemon_cores_used": round(used, 2),
        "fifo": after["realtime"]["fifo"],
    }


def run(arguments: argparse.Namespace) -> Report:
    conditions = {**machine(), "seconds_each": arguments.seconds, "tick_hz": 100, "feed": _FEED}
    results = {name: _measure(way, arguments.seconds) for name, way in _WAYS.items()}
    plain = results["plain"]
    targets = [
        at_most("p99 lateness without SCHED_FIFO [ms]", plain["lateness"]["p99_ms"], 4.0),
        at_most("missed ticks without SCHED_FIFO", plain["missed"], 0),
        at_most("missed ticks without SCHED_FIFO, recording", results["plain_recording"]["missed"], 0),
    ]
    if results["fifo"]["fifo"] == "applied":
        late = results["fifo"]["lateness"]
        targets += [
            at_most("p99 lateness with SCHED_FIFO [ms]", late["p99_ms"], 0.2),
            at_most("p99.9 lateness with SCHED_FIFO [ms]", late["p99_9_ms"], 4.0),
            at_most("missed ticks with SCHED_FIFO", results["fifo"]["missed"], 0),
            at_most("missed ticks with SCHED_FIFO, recording", results["fifo_recording"]["missed"], 0),
        ]
    conditions["load_1min_after"] = round(os.getloadavg()[0], 2)
    return Report("jitter", conditions, results, targets)
