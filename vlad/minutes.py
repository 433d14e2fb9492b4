"""What is remembered of each minute: gathered on the loop, stored by the event log's thread.

| name | what it was in that minute |
|---|---|
| seconds | how long it took: 60, less at the end, more where the process was held up |
| inference_hz, inference_p50_ms, _p99_ms | answers of the policy that drives, and how long each took |
| age_p50_ms, _p99_ms | from a frame to the first command that came of it |
| late_p50_ms, _p99_ms, missed_ticks | lateness of the safety tick, and periods that nobody served |
| cpu, memory, disk, gpu_memory, gpu_busy | used, 0 to 1: means |
| celsius, power_w, gpu_w | hottest sensor, power of the largest rail, of all GPUs: means |
| robot_w, battery | of the signals `power` and `battery` (0 to 1): means |
| process_mb, health | memory of the daemon, and the score of its health, at the end |
| uptime_s ... (`vlad.operation`) | by how much these grew; left out where they did not |

What could not be measured is left out too.
"""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

from vlad.clock import NS_PER_S
from vlad.computer.measured import Measured, highest
from vlad.messages import Battery, Power, Sample
from vlad.record.history import Minute
from vlad.record.store import Totals
from vlad.statistics import Window

if TYPE_CHECKING:
    from vlad.daemon import Daemon

_PERIOD_S = 1.0
_MINUTE_NS = 60 * NS_PER_S
_OLD_NS = 5 * NS_PER_S
_NS_PER_MS = 1e6
_PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 1e6


class Minutes:
    """All on the loop's thread."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._began_ns = daemon.clock.now_ns()
        self._before: Mapping[str, float] = {}
        self._marks: dict[str, tuple[object, int]] = {}
        self._sums: defaultdict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
        self._bodies = [
            topic
            for topic, known in daemon.settings.signals.items()
            if known.type in ("power", "battery") and topic in daemon.ingest.latest
        ]

    async def run(self) -> None:
        """Once a second, look at what has to be averaged; once a minute, have it all stored."""
        self._daemon.events.keep(Totals(self._daemon.operation.totals()))
        while True:
            await asyncio.sleep(_PERIOD_S)
            self._look()
            if self._daemon.clock.now_ns() - self._began_ns >= _MINUTE_NS:
                self._keep()

    def end(self, *, clean: bool) -> None:
        """The last of it; `clean`: nothing failed."""
        self._daemon.operation.counts["clean_ends"] += clean
        self._keep()

    def _keep(self) -> None:
        minute = Minute(self._daemon.clock.wall_ns(), dict(self._values()))
        self._daemon.events.keep(minute, Totals(self._before))

    def _look(self) -> None:
        """Take in what is measured now."""
        now_ns = self._daemon.clock.now_ns()
        measured = self._daemon.computer.measured.peek()
        if measured is not None and now_ns - measured.stamp_ns < _OLD_NS:
            self._add(_computer(measured))
        for topic in self._bodies:
            sample = self._daemon.ingest.latest[topic].peek()
            if sample is not None and now_ns - sample.stamp_ns < _OLD_NS:
                self._add(_body(sample))

    def _add(self, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            if isfinite(value):
                pair = self._sums[name]
                pair[0] += value
                pair[1] += 1

    def _values(self) -> Iterator[tuple[str, float]]:
        """What is known of the time since the last call."""
        daemon, now_ns = self._daemon, self._daemon.clock.now_ns()
        seconds, self._began_ns = max(now_ns - self._began_ns, 1) / NS_PER_S, now_ns
        yield "seconds", seconds
        yield from self._percentiles("late", daemon.watchdog.lateness_ns)
        yield from self._percentiles("age", daemon.watchdog.age_ns)
        counts = daemon.operation.counts
        counts["missed_ticks"] += self._grown("missed", daemon.watchdog, daemon.watchdog.counts.missed)
        if (loop := daemon.inference) is not None:
            inferences = self._grown("inferences", loop, loop.inferences)
            counts["inferences"] += inferences
            yield "inference_hz", inferences / seconds
            yield from self._percentiles("inference", loop.latency_ns)
        for name, (total, count) in self._sums.items():
            yield name, total / count
        self._sums.clear()
        if (score := daemon.health.report()["score"]) is not None:
            yield "health", score
        yield "process_mb", int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_MB
        totals, before = daemon.operation.totals(), self._before
        self._before = totals
        for name, value in totals.items():
            grown = value - before.get(name, 0.0)
            if grown and "/" not in name:
                yield name, grown

    def _percentiles(self, name: str, window: Window) -> Iterator[tuple[str, float]]:
        since = window.count - self._grown(name, window, window.count)
        points = zip(("p50", "p99"), window.percentiles(50, 99, since=since), strict=True)
        for point, value in points:
            if value is not None:
                yield f"{name}_{point}_ms", value / _NS_PER_MS

    def _grown(self, name: str, owner: object, count: int) -> int:
        """By how much a count of its owner grew; another policy brings another, that began at 0."""
        known, before = self._marks.get(name, (owner, 0))
        self._marks[name] = (owner, count)
        return count - before if known is owner else count


def _computer(measured: Measured) -> dict[str, float]:
    gpus = measured.gpus
    return {
        "cpu": measured.cpu,
        "memory": measured.memory,
        "disk": measured.disk,
        "celsius": highest((*measured.celsius.values(), *(gpu.celsius for gpu in gpus))),
        "gpu_memory": highest(gpu.memory for gpu in gpus),
        "gpu_busy": highest(gpu.busy for gpu in gpus),
        "gpu_w": sum(gpu.watts for gpu in gpus) if gpus else float("nan"),
        "power_w": highest(measured.rails.values()),
    }


def _body(sample: Sample) -> dict[str, float]:
    match sample.data:
        case Power(watts):
            return {"robot_w": watts}
        case Battery(percentage):
            return {"battery": percentage}
    return {}
