"""A day in minutes: all on, small messages at up to 100 times the demo's rates, operators who never rest.

The simulated rover is armed, driven, stopped and disarmed, its settings are read anew, recordings are marked,
an e-stop is pressed and reset, status and events are asked for, pages are opened and closed, all the time.
Memory is what a line through the last three quarters of the time rises by, open files are the fewest at any
moment of the last quarter, beside those of the second; of all processes of the daemon that grew, together.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from tools.benchmarks.browser import Browser
from tools.benchmarks.report import Report, at_most, machine
from tools.benchmarks.rig import Rig, rig
from tools.benchmarks.whole import Used, used, write_demo_settings
from vlad.ctl.client import ControlError

_ON: dict[str, dict[str, Any]] = {
    "record": {"mode": "triggered", "disk_mb": 200, "free_mb": 0, "before_s": 5, "after_s": 2},
    "page": {"listen": "127.0.0.1:0"},
}
_FLOOD = {"flood_joints": "joint_state", "flood_odometry": "odometry", "flood_estop": "estop"}
_SAMPLE_S = 5.0
_DRIVE_S = 2.0
_TASKS = ("go to the red ball", "go to the blue box")


class _Operator:
    """Does the next thing at each `act`. What the daemon refuses, as in a stop, is counted and no matter."""

    def __init__(self, bench: Rig, address: str) -> None:
        self.done: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self._bench = bench
        self._address = address
        self._tasks = itertools.cycle(_TASKS)
        self._rates = itertools.cycle((9, 10))
        acts = (self._drive, self._look, self._record, self._reload, self._open_page, self._press)
        self._acts = itertools.cycle(acts)

    def act(self) -> None:
        act: Callable[[], None] = next(self._acts)
        name = act.__name__.removeprefix("_")
        try:
            act()
            self.done[name] += 1
        except ControlError:
            self.refused[name] += 1

    def _drive(self) -> None:
        if not self._bench.call("arm")["ok"]:
            self.refused["arm"] += 1
        self._bench.call("task", text=next(self._tasks))
        time.sleep(_DRIVE_S)
        self._bench.call("task", text="")
        self._bench.call("disarm")

    def _look(self) -> None:
        for method in ("status", "metrics", "models", "recordings"):
            self._bench.call(method)
        self._bench.call("events", limit=100)

    def _record(self) -> None:
        self._bench.call("record", what="mark", note="soak")

    def _reload(self) -> None:
        write_demo_settings(self._bench, **_ON, policy={"rate_hz": next(self._rates)}, signals=_signals())
        if not self._bench.call("reload")["ok"]:
            self.refused["reload"] += 1

    def _open_page(self) -> None:
        with Browser(self._address):
            time.sleep(1.0)

    def _press(self) -> None:
        self._bench.call("estop", reason="soak")
        time.sleep(0.5)
        if not self._bench.call("reset")["ok"]:
            self.refused["reset"] += 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--minutes", type=float, default=20, help="(default: %(default)s)")
    parser.add_argument(
        "--messages",
        type=float,
        default=34_000,
        help="small ones a second, to be sent (default: %(default)s)",
    )


def run(arguments: argparse.Namespace) -> Report:
    with rig({}) as bench:
        settings = write_demo_settings(bench, **_ON, signals=_signals())
        bench.start_daemon("vlad", "--config", settings)
        bench.start("vlad.guard", "--config", settings)
        bench.start("tools.sim", "--run-dir", bench.run_dir, "--seed", 1)
        bench.feed([f"{name}:{kind}:{arguments.messages / len(_FLOOD):g}" for name, kind in _FLOOD.items()])
        address = _page_address(bench)
        operator = _Operator(bench, address)
        with Browser(address) as browser:
            samples, messages_hz = _soak(bench, operator, arguments.minutes * 60)
        status = bench.call("status")
    grown = {name: _growth(samples, name) for name in samples[-1][1]}
    together = {
        key: sum(max(0.0, row[key]) for row in grown.values()) for key in ("memory_mb", "descriptors")
    }
    restarts = {name: part["restarts"] for name, part in status["parts"].items() if part["restarts"]}
    results = {
        "small_messages_a_second": round(messages_hz),
        "grown": {**grown, "together": {key: round(value, 2) for key, value in together.items()}},
        "course_mb": {name: _course(samples, name) for name in samples[-1][1]},
        "memory_mb": {name: round(now.proportional_mb, 1) for name, now in samples[-1][1].items()},
        "descriptors": {name: now.descriptors for name, now in samples[-1][1].items()},
        "done": dict(operator.done),
        "refused": dict(operator.refused),
        "browser": {
            "statuses": browser.statuses,
            "pictures": browser.pictures,
            "scrapes": browser.scrapes,
            "failures": browser.failures,
        },
        "ticks": {name: status["tick"][name] for name in ("count", "missed", "late_5ms")},
        "restarts": restarts,
    }
    targets = [
        at_most("memory grows by [MB]", round(together["memory_mb"], 2), 2.0),
        at_most("open files more", together["descriptors"], 0),
        at_most("parts that died", sum(restarts.values()), 0),
    ]
    return Report("soak", {**machine(), "minutes": arguments.minutes}, results, targets)


def _signals() -> dict[str, Any]:
    return {name: {"type": kind, "required": False} for name, kind in _FLOOD.items()}


def _page_address(bench: Rig) -> str:
    for _ in range(100):
        if address := bench.call("status")["page"]["address"]:
            return str(address)
        time.sleep(0.1)
    raise SystemExit(f"the page is not there: {bench.call('status')['page']}")


def _soak(
    bench: Rig, operator: _Operator, seconds: float
) -> tuple[list[tuple[float, dict[str, Used]]], float]:
    """What was used at each moment [s], and small messages a second that came in."""
    samples: list[tuple[float, dict[str, Used]]] = []
    began_s, before = time.monotonic(), _received(bench)
    while (passed_s := time.monotonic() - began_s) < seconds:
        if not samples or passed_s - samples[-1][0] >= _SAMPLE_S:
            samples.append((passed_s, used(bench.daemon)))
        operator.act()
    samples.append((time.monotonic() - began_s, used(bench.daemon)))
    return samples, (_received(bench) - before) / (time.monotonic() - began_s)


def _received(bench: Rig) -> int:
    rows = bench.call("status")["signals"]
    return sum(row["received"] for row in rows.values() if row["type"] not in ("image", "laser_scan"))


def _course(samples: list[tuple[float, dict[str, Used]]], name: str) -> list[float]:
    """How the memory went that one process has [MB]: nine moments, from the first to the last."""
    known = [one[name].resident_mb for _, one in samples if name in one]
    return [round(known[(len(known) - 1) * eighth // 8], 1) for eighth in range(9)]


def _growth(samples: list[tuple[float, dict[str, Used]]], name: str) -> dict[str, float]:
    """By how much one process grew: memory [MB] and open files."""
    known = [(at_s, one[name]) for at_s, one in samples if name in one]
    fitted = known[len(known) // 4 :]
    times_s = np.array([at_s for at_s, _ in fitted])
    sizes_mb = np.array([one.resident_mb for _, one in fitted])
    per_s = np.polyfit(times_s, sizes_mb, 1)[0] if len(fitted) > 2 else 0.0
    files = [one.descriptors for _, one in known]
    quarter = max(1, len(files) // 4)
    return {
        "memory_mb": round(float(per_s * (times_s[-1] - times_s[0])), 2),
        "descriptors": min(files[-quarter:]) - min(files[quarter : 2 * quarter] or files),
    }
