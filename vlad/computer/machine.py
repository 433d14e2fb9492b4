"""Processors, memory and disk, as psutil says."""

from __future__ import annotations

from math import nan
from pathlib import Path

import psutil


def cpu_used() -> float:
    """Since the last call, 0 to 1; the first has nothing to compare with and says 0."""
    return float(psutil.cpu_percent()) / 100


def memory_used() -> float:
    return float(psutil.virtual_memory().percent) / 100


def disk_used(folder: Path) -> float:
    """Of what an ordinary user may fill, as `df` says; NaN while the folder cannot be looked at.

    Not psutil's percentage: rounded to a tenth, it would hide for hours how fast a large disk fills.
    """
    try:
        disk = psutil.disk_usage(str(folder))
    except OSError:
        return nan
    total = disk.used + disk.free
    return float(disk.used / total) if total else nan
