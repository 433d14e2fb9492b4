"""What every benchmark prints: its conditions, what it measured, and how that stands against its targets."""

from __future__ import annotations

import json
import os
import platform
import sys
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import psutil
from numpy.typing import ArrayLike
from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Target:
    """A limit that the issue or the design sets; `ok` is the verdict of this run on this machine."""

    name: str
    value: float
    limit: float
    ok: bool


def at_most(name: str, value: float, limit: float) -> Target:
    return Target(name, value, limit, value <= limit)


def at_least(name: str, value: float, limit: float) -> Target:
    return Target(name, value, limit, value >= limit)


@dataclass(frozen=True, slots=True)
class Report:
    name: str
    conditions: dict[str, Any]
    results: dict[str, Any]
    targets: list[Target] = field(default_factory=list)

    def print(self, as_json: bool) -> None:
        if as_json:
            json.dump(asdict(self), sys.stdout, indent=2)
            sys.stdout.write("\n")
            return
        console = Console()
        console.print(
            f"[bold]{self.name}[/bold]  " + "  ".join(f"{k}={v}" for k, v in self.conditions.items())
        )
        for key, value in self.results.items():
            console.print(f"  {key}: {value}")
        table = Table("target", "value", "limit", "")
        for target in self.targets:
            table.add_row(
                target.name, f"{target.value:g}", f"{target.limit:g}", "ok" if target.ok else "MISSED"
            )
        if self.targets:
            console.print(table)


def machine() -> dict[str, Any]:
    """The conditions that every figure depends on."""
    return {
        "cpus": os.cpu_count(),
        "load_1min_before": round(psutil.getloadavg()[0], 2),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def percentiles(values: ArrayLike, unit: str) -> dict[str, float]:
    """p50, p99, p99.9 and the maximum, with the unit in the key."""
    array = np.asarray(values, dtype=float)
    if not array.size:
        raise ValueError("nothing was measured")
    points = {"p50": 50, "p99": 99, "p99_9": 99.9, "max": 100}
    return {f"{key}_{unit}": round(float(np.percentile(array, q)), 4) for key, q in points.items()}
