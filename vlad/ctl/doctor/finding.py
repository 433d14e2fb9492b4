"""What a look at something came to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

State: TypeAlias = Literal["ok", "warning", "problem"]


@dataclass(frozen=True, slots=True)
class Finding:
    """`what` was seen of `topic`; how to `mend` it, empty where nothing needs mending.

    problem: vlad cannot run so, or the robot is not safe. warning: it runs, less well.
    """

    state: State
    topic: str
    what: str
    mend: str = ""
