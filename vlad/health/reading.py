"""What is known of a component before it is judged: figures, and what to do about each that is bad."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from math import nan
from typing import Literal, TypeAlias

from vlad.clock import NS_PER_S

Unit: TypeAlias = Literal["part", "degrees", ""]


@dataclass(frozen=True, slots=True)
class Reading:
    """One figure of a component: the higher the worse, NaN: not known.

    `text` is how a person reads it. Without a `scale` it is only told, not judged. With a `window_s` a line
    is sought through it, over that time.
    """

    name: str
    value: float
    text: str
    scale: tuple[float, ...] = ()
    action: str = ""
    unit: Unit = ""
    window_s: float = 0.0


Readings: TypeAlias = Mapping[str, tuple[Reading, ...]]
"""By the name of the component."""


class Growth:
    """By how much a counter grew over the last `window_s`; a counter that began anew counts from there."""

    def __init__(self, window_s: float) -> None:
        self._window_ns = round(window_s * NS_PER_S)
        self._marks: deque[tuple[int, int]] = deque()
        self._began_ns: int | None = None

    def add(self, now_ns: int, count: int) -> int:
        marks = self._marks
        if self._began_ns is None or (marks and count < marks[-1][1]):
            self._began_ns = now_ns
            marks.clear()
        if not marks or count != marks[-1][1]:
            marks.append((now_ns, count))
        while len(marks) > 1 and now_ns - marks[1][0] >= self._window_ns:
            marks.popleft()
        return count - marks[0][1]

    def rate_hz(self, now_ns: int, count: int) -> float:
        """`add`, a second; NaN before half a window has passed."""
        grown = self.add(now_ns, count)
        passed_ns = min(now_ns - (self._began_ns or 0), self._window_ns)
        return nan if passed_ns < self._window_ns / 2 else grown * NS_PER_S / passed_ns
