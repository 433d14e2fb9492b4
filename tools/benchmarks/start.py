"""Start to READY, and what the idle daemon costs: the demo bundle and the simulated robot, nothing to do.

It starts as the demo does, with recorder and page; what those cost is in the benchmark `overhead`, so for the
idle daemon they are off.
"""

from __future__ import annotations

import argparse
import statistics
import time

from tools.benchmarks.report import Report, at_most, machine
from tools.benchmarks.rig import ROOT, rig
from tools.benchmarks.whole import write_demo_settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--starts", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=20, help="of idling (default: %(default)s)")


def run(arguments: argparse.Namespace) -> Report:
    settings = ROOT / "etc" / "demo.toml"
    with rig({}) as bench:
        words = ("--config", settings, "--run-dir", bench.run_dir, "--state-dir", bench.folder / "state")
        ready_s = []
        for number in range(arguments.starts):
            ready_s.append(bench.start_daemon("vlad", *words))
            (bench.folder / "notify").unlink()
            bench.stop(number)
        idle = write_demo_settings(bench, record={"mode": "off"}, page={"listen": ""})
        bench.start_daemon("vlad", "--config", idle)
        bench.start("tools.sim", "--run-dir", bench.run_dir, "--seed", 1)
        time.sleep(5)
        began_cpu, began_s = sum(bench.daemon.cpu_times()[:2]), time.monotonic()
        time.sleep(arguments.seconds)
        used = (sum(bench.daemon.cpu_times()[:2]) - began_cpu) / (time.monotonic() - began_s)
        resident_mb = bench.daemon.memory_info().rss / 1e6
        status = bench.call("status")
    results = {
        "ready_s": [round(value, 2) for value in ready_s],
        "idle_cpu_percent_of_one_core": round(100 * used, 1),
        "resident_mb": round(resident_mb, 1),
        "signals_hz": {topic: row["rate_hz"] for topic, row in status["signals"].items()},
        "realtime": status["realtime"],
    }
    targets = [
        at_most("start to READY, median [s]", round(statistics.median(ready_s), 2), 2.0),
        at_most("idle CPU of one core [%]", results["idle_cpu_percent_of_one_core"], 10.0),
        at_most("resident memory [MB]", results["resident_mb"], 250.0),
    ]
    return Report("start", {**machine(), "idle_s": arguments.seconds}, results, targets)
