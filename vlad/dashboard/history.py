"""The figures of the last ten minutes, one row a second, so that a browser sees them at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

Row: TypeAlias = list[float | None]

SECONDS = 600
_LEVELS = ("SAFE", "CAUTION", "WARNING", "DANGER", "EMERGENCY")
_PAGE_BYTES = 4096
_MEGA = 1e6

FIGURES: dict[str, tuple[str, ...]] = {
    "age_p50_ms": ("policy", "age_p50_ms"),
    "age_p99_ms": ("policy", "age_p99_ms"),
    "latency_p50_ms": ("policy", "latency_p50_ms"),
    "latency_p99_ms": ("policy", "latency_p99_ms"),
    "late_p50_ms": ("tick", "late_p50_ms"),
    "late_p99_ms": ("tick", "late_p99_ms"),
    "inferences_hz": ("policy", "rate_hz"),
    "cpu": ("computer", "cpu"),
    "memory": ("computer", "memory"),
    "gpu": ("computer", "gpu"),
    "gpu_memory": ("computer", "gpu_memory"),
    "watts": ("computer", "watts"),
    "celsius": ("computer", "celsius"),
    "robot_watts": ("motion", "watts"),
}
"""Where in the status each of them is."""

NAMES = ("seconds", "level", *FIGURES, "messages_hz", "daemon_mb")


class History:
    """`rows` are in the order of NAMES; `seconds` is the time of a clock that only runs forward."""

    def __init__(self) -> None:
        self.rows: deque[Row] = deque(maxlen=SECONDS)

    def add(self, now_s: float, status: Mapping[str, Any]) -> Row:
        """Take in a status report; its row. What the report does not tell is None."""
        level = status.get("level")
        signals = status.get("signals") or {}
        row: Row = [
            round(now_s, 2),
            _LEVELS.index(level) if level in _LEVELS else None,
            *(_number(status, *where) for where in FIGURES.values()),
            round(sum(_number(signal, "rate_hz") or 0.0 for signal in signals.values()), 1),
            resident_mb(status.get("pid")),
        ]
        self.rows.append(row)
        return row


def resident_mb(pid: object) -> float | None:
    """Memory that a process of this user takes; None: there is none, or it cannot be seen."""
    if not isinstance(pid, int):
        return None
    try:
        pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    except (OSError, IndexError):
        return None
    return round(int(pages) * _PAGE_BYTES / _MEGA, 1)


def _number(status: Mapping[str, Any], *where: str) -> float | None:
    node: Any = status
    for key in where:
        node = node.get(key) if isinstance(node, Mapping) else None
    return node if isinstance(node, int | float) and not isinstance(node, bool) else None
