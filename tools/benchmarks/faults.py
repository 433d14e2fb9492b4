"""The injection matrix: each kind of fault in each signal of a rover that drives, and when it stops."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import psutil

from tools.benchmarks.report import Report, at_least, at_most, machine
from tools.benchmarks.rig import ROOT, Rig, rig
from tools.injection.expected import EXPECTED, KINDS, SIGNALS
from tools.injection.kinds import Kind
from tools.injection.trial import Outcome, Stage, TrialError
from vlad.clock import SystemClock
from vlad.config import load_settings

_SETTINGS = ROOT / "etc" / "demo.toml"
_LATE_MS = 10.0
"""Beyond a signal's deadline: one tick."""


def _names(known: Iterable[str]) -> Any:
    def read(text: str) -> list[str]:
        chosen, unknown = text.split(","), set(text.split(",")) - set(known)
        if unknown:
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: choose from {', '.join(known)}")
        return chosen

    return read


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--signals", type=_names(SIGNALS), default=SIGNALS, help=", ".join(SIGNALS))
    parser.add_argument("--kinds", type=_names(KINDS), default=KINDS, help=", ".join(KINDS))
    parser.add_argument("--trials", type=int, default=1, help="of each (default: %(default)s)")


def run(arguments: argparse.Namespace) -> Report:
    cells = [(s, Kind(k)) for s in arguments.signals for k in arguments.kinds if (s, Kind(k)) in EXPECTED]
    _, robot = load_settings(_SETTINGS)
    rows: dict[str, Any] = {}
    with rig({}) as bench:
        listen = _start(bench)
        stage = Stage(bench.run_dir, listen, listen, robot, SystemClock())
        try:
            for number in range(arguments.trials):
                for signal, kind in cells:
                    rows[f"{signal} {kind} {number + 1}"] = _row(stage, signal, kind)
        finally:
            stage.close()
    return Report("faults", {**machine(), "settings": _SETTINGS.name}, rows, _targets(rows))


def _hasten(bench: Rig, index: int) -> None:
    """What stands in for wires and motors must not wait for its turn, where this user may say so."""
    with contextlib.suppress(psutil.AccessDenied):
        psutil.Process(bench.processes[index].pid).nice(-10)


def _start(bench: Rig) -> Any:
    """Daemon and guard in RUN; proxy and simulator in the folder that is returned."""
    listen = bench.folder / "drivers"
    words = ("--config", _SETTINGS, "--run-dir", bench.run_dir)
    bench.start_daemon("vlad", *words, "--state-dir", bench.folder / "state")
    bench.start("vlad.guard", *words)
    _hasten(bench, bench.start("tools.injection", "proxy", "--run-dir", bench.run_dir, "--listen", listen))
    _hasten(bench, bench.start("tools.sim", "--run-dir", listen))
    return listen


def _row(stage: Stage, signal: str, kind: Kind) -> dict[str, Any]:
    expected = EXPECTED[signal, kind]
    row: dict[str, Any] = {"expected": f"{expected.reaction}: {_cause(signal, kind)}"}
    try:
        outcome = stage.try_one(signal, kind, expected)
    except TrialError as error:
        return {**row, "ok": False, "verdict": str(error), "late_ms": None, "outside": []}
    return {**row, **_told(outcome), "late_ms": _late_ms(outcome, signal, kind)}


def _cause(signal: str, kind: Kind) -> str:
    expected = EXPECTED[signal, kind]
    return expected.why or " or ".join(sorted(expected.faults))


def _told(outcome: Outcome) -> dict[str, Any]:
    return {
        "ok": outcome.ok,
        "verdict": outcome.verdict,
        "faults": list(outcome.faults),
        "modes": list(outcome.modes),
        "stop_ms": None if outcome.stop_s is None else round(1000 * outcome.stop_s, 1),
        "stopped_by": outcome.stopped_by,
        "outside": list(outcome.outside),
        "spoiled": outcome.spoiled,
    }


def _late_ms(outcome: Outcome, signal: str, kind: Kind) -> float | None:
    """How long after the signal's deadline the stop came, below zero: before it; None: no stop expected."""
    expected = EXPECTED[signal, kind]
    if expected.reaction != "stop" or outcome.stop_s is None:
        return None
    return round(1000 * (outcome.stop_s - expected.within_s), 1)


def _targets(rows: dict[str, Any]) -> list[Any]:
    late = [row["late_ms"] for row in rows.values() if row["late_ms"] is not None]
    right = sum(row["ok"] for row in rows.values())
    targets = [
        at_least("expected reactions [%]", round(100 * right / max(1, len(rows)), 1), 100.0),
        at_most(
            "trials with a command outside the envelope", sum(bool(r["outside"]) for r in rows.values()), 0
        ),
    ]
    if late:
        worst = round(float(np.percentile(late, 99)), 1)
        targets.append(at_most("stop after the signal's deadline, p99 [ms]", worst, _LATE_MS))
    return targets
