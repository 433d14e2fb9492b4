"""Did the machine stand still? A loop on each CPU that does nothing, with a priority above the daemon's.

What such a loop is late by, the kernel or the host let nobody run on that CPU.

`python -m tools.benchmarks.stalls NOTES CPU`: runs until SIGTERM, then writes NOTES (npz): of each turn
`late_ns`, and on CLOCK_MONOTONIC `ran_ns`.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from array import array
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tools.benchmarks.report import percentiles
from tools.benchmarks.rig import Rig
from vlad import realtime

_PRIORITY = 60
"""The daemon's is 50."""
_PERIOD_NS = 5_000_000
"""How much of a stall these loops may overlook; half a tick, so that none of them counts as a whole one."""
_TICK_NS = 10_000_000

_Turns = tuple[NDArray[np.int64], NDArray[np.int64]]
"""When each turn ran, on CLOCK_MONOTONIC, and how late [ns]."""


class Bare:
    """These loops, beside the processes of a rig; all of them run once it is made."""

    def __init__(self, bench: Rig) -> None:
        self._bench = bench
        self._notes = [bench.folder / f"bare{cpu}.npz" for cpu in sorted(os.sched_getaffinity(0))]
        self._running = [
            bench.start("tools.benchmarks.stalls", notes, cpu)
            for notes, cpu in zip(self._notes, sorted(os.sched_getaffinity(0)), strict=True)
        ]
        self._turns: list[_Turns] = []
        while not all(notes.exists() for notes in self._notes):
            if any(bench.processes[index].poll() is not None for index in self._running):
                raise SystemExit((bench.folder / "tools.benchmarks.stalls.log").read_text())
            time.sleep(0.02)

    def stop(self) -> None:
        for index in self._running:
            self._bench.stop(index)
        for notes in self._notes:
            kept = np.load(notes)
            self._turns.append((kept["ran_ns"], kept["late_ns"]))

    def report(self) -> dict[str, float]:
        """How late they were, how often by 5 ms, and how many times the length of a tick."""
        late_ns = np.concatenate([late for _, late in self._turns])
        return percentiles(late_ns / 1e6, "ms") | {
            "late_5ms": int((late_ns > 5_000_000).sum()),
            "missed": int((late_ns // _TICK_NS).sum()),
        }

    def missed_alone(self, notes: Path, began_ns: int, ended_ns: int) -> int:
        """Ticks of this span that a host with these notes missed, and not because a CPU stood still."""
        return missed_alone(ticks_within(notes, began_ns, ended_ns), self._turns)


def ticks_within(notes: Path, began_ns: int, ended_ns: int) -> _Turns:
    """The ticks of this span of which a host has these notes."""
    kept = np.load(notes)
    within = (kept["ran_ns"] >= began_ns) & (kept["ran_ns"] <= ended_ns)
    return kept["ran_ns"][within], kept["late_ns"][within]


def missed_alone(ticks: _Turns, loops: list[_Turns]) -> int:
    """Of a tick's lateness, the longest part in which one of these loops was late, too, is taken off."""
    missed = 0
    for ran_ns, late_ns in zip(*(row[ticks[1] >= _TICK_NS] for row in ticks), strict=True):
        stalls = (np.minimum(ran, ran_ns) - np.maximum(ran - late, ran_ns - late_ns) for ran, late in loops)
        stalled_ns = max(stall.max(initial=0) for stall in stalls)
        missed += int((late_ns - stalled_ns) // _TICK_NS)
    return missed


def _end(*_: Any) -> None:
    raise SystemExit


def main() -> None:
    notes, cpu = sys.argv[1], int(sys.argv[2])
    ran_ns, late_ns = array("q"), array("q")
    try:
        signal.signal(signal.SIGTERM, _end)
        os.sched_setaffinity(0, {cpu})
        realtime.fifo(_PRIORITY)
        Path(notes).touch()
        due_ns = time.monotonic_ns()
        while True:
            due_ns = max(due_ns + _PERIOD_NS, time.monotonic_ns())
            time.sleep(max(0, due_ns - time.monotonic_ns()) / 1e9)
            ran_ns.append(now_ns := time.monotonic_ns())
            late_ns.append(now_ns - due_ns)
    except SystemExit:
        count = len(late_ns)  # it may be one behind
        np.savez(notes, ran_ns=np.array(ran_ns[:count], np.int64), late_ns=np.array(late_ns, np.int64))


if __name__ == "__main__":
    main()
