"""What policies give back when memory is short: one step after another, and again one by one when it is not.

Pure: no I/O, no clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from math import isnan

from vlad.clock import NS_PER_S

RISE_S = 2.0
"""Memory must be short for so long before the next step is taken."""
FALL_S = 30.0
"""There must be room for so long before the last step is taken back."""
GAP = 0.05
"""So much of all memory must stay free below the limit when it is taken back."""
_LONGEST_S = 480.0


class Step(IntEnum):
    """In the order in which they are taken."""

    CACHES = 1
    """What encoders remember is forgotten, and policies that do not run are closed."""
    RESOLUTION = 2
    """All resolutions but the smallest are closed."""
    FALLBACK = 3
    """The policy itself is closed, and the fallback drives."""


@dataclass(frozen=True, slots=True)
class Relief:
    """The steps that were taken, and how long memory has asked for the next or made one unnecessary."""

    steps: tuple[Step, ...] = ()
    leaning: int = 0
    """1: memory is short, -1: there is room to take the last step back, 0: neither."""
    since_ns: int = 0
    """Since when; and when the last step was taken or taken back."""
    fall_s: float = FALL_S
    """How long there must be room. Twice as long after a step that had to be taken again soon."""
    back_ns: int | None = None
    """When a step was taken back last."""


def relief(
    before: Relief, used: float, start: float, possible: Sequence[Step], returns: float, now_ns: int
) -> Relief:
    """What to do now, at most one step more or less than before.

    `used` is the part of the memory that is in use, NaN where nobody knows, and from `start` on it is short.
    `possible` are the steps that would give something back now; `returns` is what would be in use again if
    the last one was taken back.
    """
    following = next((step for step in sorted(possible) if step > max(before.steps, default=0)), None)
    leaning = _leaning(before, used, start, returns)
    if leaning != before.leaning:
        return replace(before, leaning=leaning, since_ns=now_ns)
    for_s = (now_ns - before.since_ns) / NS_PER_S
    if leaning > 0 and for_s >= RISE_S and following is not None:
        soon = before.back_ns is not None and now_ns - before.back_ns < before.fall_s * NS_PER_S
        fall_s = min(2 * before.fall_s, _LONGEST_S) if soon else FALL_S
        return Relief((*before.steps, following), 0, now_ns, fall_s, before.back_ns)
    if leaning < 0 and for_s >= before.fall_s:
        return Relief(before.steps[:-1], 0, now_ns, before.fall_s, now_ns)
    return before


def _leaning(before: Relief, used: float, start: float, returns: float) -> int:
    if isnan(used):
        return 0
    if used >= start:
        return 1
    return -1 if before.steps and used + returns < start - GAP else 0
