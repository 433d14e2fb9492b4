"""What a maintenance task gets, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from vlad.config import Settings
from vlad.robot import Robot

Verdict: TypeAlias = Literal["ok", "warning", "failed"]


@dataclass(frozen=True, slots=True)
class Job:
    """One run of a task, in a process of its own."""

    settings: Settings
    robot: Robot
    config: Path
    """The settings file."""
    params: dict[str, Any]
    """What was given with `vladctl maintenance run`; empty for a run that was due."""
    status: dict[str, Any]
    """The daemon's status report (vlad/status.py) from when the task began."""
    wall_ns: int
    """When the task began."""
    progress: Callable[[float, str], None]
    """Tell how far it is, 0 to 1, and what it does just now."""


@dataclass(frozen=True, slots=True)
class Result:
    """What came of it. `warning`: done, and somebody should look; `failed`: not done, and tried again."""

    verdict: Verdict
    summary: str
    """One line for people."""
    rows: tuple[dict[str, Any], ...] = ()
    """Findings, for people and machines: plain values, the same keys in each row."""
