"""What there is to show at one moment, gathered from the daemon, the simulator and the referee."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from tools.demonstration.pictures import Pixels
from tools.demonstration.referee import Referee, Truth

_KEPT_EVENTS = 100


@dataclass(frozen=True, slots=True)
class Happening:
    """A line of the event list. `at_s` counts from the start of the demo, `level` is a Level's name."""

    at_s: float
    level: str
    text: str


@dataclass(slots=True)
class View:
    """`status` is the daemon's report ({} before it answers), `camera` its newest picture."""

    referee: Referee
    elapsed_s: float = 0.0
    waiting: str = "starting"
    status: dict[str, Any] = field(default_factory=dict)
    truth: Truth | None = None
    camera: Pixels | None = None
    happenings: deque[Happening] = field(default_factory=lambda: deque(maxlen=_KEPT_EVENTS))

    def note(self, level: str, text: str) -> Happening:
        """Add a line to the event list."""
        happening = Happening(self.elapsed_s, level, text)
        self.happenings.append(happening)
        return happening

    def look(self, *keys: str) -> Any:
        """A value from the status, None where there is none."""
        node: Any = self.status
        for key in keys:
            node = node.get(key) if isinstance(node, dict) else None
        return node

    @property
    def commanded(self) -> tuple[float, float]:
        """The twist that the daemon commands now [m/s, rad/s]; zeros where it commands none."""
        values = self.look("commands", "values") or []
        return (values[0], values[1]) if len(values) == 2 else (0.0, 0.0)
