"""What health, metrics, page and recorder cost together: the idle daemon with all of them, and with none.

The demo's settings and simulated sensors. With all: one browser looks at the page and its camera, /metrics is
scraped once a second, and a mark has the recorder write. With and without take turns, and each pair is
compared: on a shared machine only that says something. All processes of the daemon count.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import dataclass
from typing import Any

from tools.benchmarks.browser import Browser
from tools.benchmarks.report import Report, at_most, machine
from tools.benchmarks.rig import Rig, rig
from tools.benchmarks.whole import used, write_demo_settings

_SETTLE_S = 8.0
"""Until the first health report, and until libraries that are loaded late are."""
_ON = {"record": {"mode": "triggered"}, "page": {"listen": "127.0.0.1:0"}}
_OFF = {"record": {"mode": "off"}, "page": {"listen": ""}}


@dataclass(frozen=True, slots=True)
class _Idled:
    """One of a pair."""

    cpu_percent: dict[str, float]
    """Of one core, by process."""
    memory_mb: dict[str, float]
    tick: dict[str, int]
    late_p99_ms: float
    seen: dict[str, int]
    """What the browser got."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--pairs", type=int, default=5, help="so many (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=30, help="for each (default: %(default)s)")


def run(arguments: argparse.Namespace) -> Report:
    pairs: list[tuple[_Idled, _Idled]] = []
    for number in range(arguments.pairs):
        first, second = (_without, _with) if number % 2 else (_with, _without)
        one, other = first(arguments.seconds), second(arguments.seconds)
        pairs.append((other, one) if number % 2 else (one, other))
    on, off = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    more_cpu = [_total(a.cpu_percent) - _total(b.cpu_percent) for a, b in pairs]
    more_mb = [_total(a.memory_mb) - _total(b.memory_mb) for a, b in pairs]
    results = {
        "with": _shown(on),
        "without": _shown(off),
        "more_cpu_percent_of_one_core": [round(value, 1) for value in more_cpu],
        "more_memory_mb": [round(value, 1) for value in more_mb],
    }
    targets = [
        at_most("more CPU of one core, median [%]", round(statistics.median(more_cpu), 1), 8.0),
        at_most("more memory, median [MB]", round(statistics.median(more_mb), 1), 120.0),
        at_most("ticks missed with all, less those without", _sum(on, "missed") - _sum(off, "missed"), 0),
    ]
    conditions = {**machine(), "pairs": arguments.pairs, "seconds_each": arguments.seconds}
    return Report("overhead", conditions, results, targets)


def _with(seconds: float) -> _Idled:
    with rig({}) as bench:
        _start(bench, "vlad", _ON)
        with Browser(bench.call("status")["page"]["address"]) as browser:
            time.sleep(_SETTLE_S)
            bench.call("record", what="mark")
            idled = _idle(bench, seconds)
        idled.seen.update(
            statuses=browser.statuses,
            pictures=browser.pictures,
            scrapes=browser.scrapes,
            failures=browser.failures,
        )
        return idled


def _without(seconds: float) -> _Idled:
    with rig({}) as bench:
        _start(bench, "tools.benchmarks.bare", _OFF)
        time.sleep(_SETTLE_S)
        return _idle(bench, seconds)


def _start(bench: Rig, module: str, sections: dict[str, dict[str, Any]]) -> None:
    settings = write_demo_settings(bench, **sections)
    bench.start_daemon(module, "--config", settings)
    bench.start("vlad.guard", "--config", settings)
    bench.start("tools.sim", "--run-dir", bench.run_dir, "--seed", 1)
    if not sections["page"]["listen"]:
        return
    for _ in range(100):
        if bench.call("status")["page"]["address"]:
            return
        time.sleep(0.1)
    raise SystemExit(f"the page is not there: {bench.call('status')['page']}")


def _idle(bench: Rig, seconds: float) -> _Idled:
    began, before, began_s = used(bench.daemon), bench.call("status")["tick"], time.monotonic()
    time.sleep(seconds)
    after, ended, passed_s = bench.call("status")["tick"], used(bench.daemon), time.monotonic() - began_s
    return _Idled(
        cpu_percent={
            name: 100 * (now.cpu_s - (began[name].cpu_s if name in began else 0.0)) / passed_s
            for name, now in ended.items()
        },
        memory_mb={name: now.proportional_mb for name, now in ended.items()},
        tick={name: after[name] - before[name] for name in ("count", "missed", "late_1ms", "late_5ms")},
        late_p99_ms=after["late_p99_ms"],
        seen={},
    )


def _shown(idled: list[_Idled]) -> dict[str, Any]:
    names = sorted({name for one in idled for name in one.cpu_percent})
    return {
        "cpu_percent": {name: _median([one.cpu_percent.get(name, 0.0) for one in idled]) for name in names},
        "memory_mb": {name: _median([one.memory_mb.get(name, 0.0) for one in idled]) for name in names},
        "ticks": {name: _sum(idled, name) for name in idled[0].tick},
        "late_p99_ms": _median([one.late_p99_ms for one in idled]),
        "seen": {name: sum(one.seen[name] for one in idled) for name in idled[0].seen},
    }


def _total(parts: dict[str, float]) -> float:
    return sum(parts.values())


def _median(values: list[float]) -> float:
    return round(statistics.median(values), 2)


def _sum(idled: list[_Idled], name: str) -> int:
    return sum(one.tick[name] for one in idled)
