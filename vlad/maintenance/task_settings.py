"""What every task has below [maintenance] of vlad.toml: when it runs, and what it may take."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, StrictBool

from vlad.maintenance.schedule import parse
from vlad.schema import Positive, Section

Priority: TypeAlias = Literal["low", "normal", "high", "critical"]
PRIORITIES: tuple[Priority, ...] = ("low", "normal", "high", "critical")


def _is_a_schedule(text: str) -> str:
    parse(text)
    return text


When = Annotated[str, AfterValidator(_is_a_schedule)]


class TaskSettings(Section):
    """When one task runs, and what it may take."""

    schedule: When
    """In local time: "daily 03:00", "weekly sun 04:00", "monthly 1 05:00"; "warning": health raised an alert
    of WARNING or worse; several of these with commas; "off": by hand only.
    """
    priority: Priority = "normal"
    """Which of two that are due runs first; one that is high or critical and fails is an alert."""
    only_disarmed: StrictBool = False
    """It waits while the robot is armed, and is ended and put back when the robot is armed while it runs."""
    time_limit_s: Positive = 600.0
    """It is killed after this time."""
