"""What a fault is: how bad, what the robot does about it, and when it is over."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum

from vlad.messages import Level, Request


class Reaction(IntEnum):
    """What the robot does; ordered, the worst active one wins. Stop categories as in IEC 60204-1."""

    REPORT = 0
    SLOW = 1
    STOP2 = 2
    """Controlled stop, then hold under power."""
    STOP1 = 3
    """Controlled stop, then power off."""
    STOP0 = 4
    """Power off now."""
    ESTOP = 5
    """Latched emergency stop: category 1, and 0 once at rest or when the stop takes too long."""

    def __str__(self) -> str:
        return self.name.lower()


class Clears(StrEnum):
    """When a fault that acted on an armed robot is over, once its cause is gone."""

    ITSELF = "by itself"
    """After `clear_s` without the cause."""
    DISARM = "on disarm"
    RESET = "on reset"
    NEVER = "never"
    """Not before the daemon is started anew."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A row of the table. A fault that was raised while the robot was not armed clears by itself, too."""

    id: str
    meaning: str
    level: Level
    reaction: Reaction
    clears: Clears
    hint: str
    """For the operator: how to mend it."""
    hold_s: float = 0.0
    """The cause must last this long before the fault acts."""
    clear_s: float = 0.3
    """The cause must be gone this long before the fault is over."""
    factor: float = 1.0
    """What the speed limits are multiplied by, for Reaction.SLOW."""
    request: Request | None = None
    """What the robot's own controller is asked for while the fault acts."""
    only_armed: bool = False
    """Looked for only while the robot is armed, so that it never refuses arming."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check saw in one judgement. `subject` is a signal, a joint or a part; `severity` 0 to 1."""

    fault: str
    subject: str
    detail: str
    severity: float = 1.0


@dataclass(frozen=True, slots=True)
class ActiveFault:
    """A fault that acts, or that refuses arming or a reset."""

    fault: Fault
    subject: str
    detail: str
    severity: float
    """0 to 1, where it is graded."""
    since_ns: int
