"""From a minute's values to what can be drawn: as many points as a plot has room for, and gaps as gaps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from vlad.clock import NS_PER_S
from vlad.messages import Level
from vlad.record.history import Minute

COLUMNS = 240
"""As many points as can be told apart in a plot."""
LARGEST = 1e12
"""Whatever is beyond it is no measurement."""
_MINUTE_NS = 60 * NS_PER_S
_GAP = 2.5
"""From this many steps without a value on nothing joins two points."""

Point: TypeAlias = tuple[int, float]
"""Wall clock [ns], value."""


@dataclass(frozen=True, slots=True)
class Span:
    """The time that a plot shows."""

    since_ns: int
    until_ns: int

    @property
    def step_ns(self) -> int:
        """How much time a point stands for."""
        return max(_MINUTE_NS, (self.until_ns - self.since_ns) // COLUMNS)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def line(
    minutes: Sequence[Minute], name: str, span: Span, *, factor: float = 1.0, highest: bool = False
) -> list[list[Point]]:
    """Runs of points, the mean or the highest of each step; between two runs nothing was measured."""
    together: Callable[[Sequence[float]], float] = max if highest else _mean
    points = [
        (minute.wall_ns, value * factor)
        for minute in minutes
        if (value := minute.values.get(name)) is not None and abs(value * factor) <= LARGEST
    ]
    thinned = _thinned(points, span, together)
    runs: list[list[Point]] = []
    for point in thinned:
        if not runs or point[0] - runs[-1][-1][0] > _GAP * span.step_ns:
            runs.append([])
        runs[-1].append(point)
    return runs


def _thinned(
    points: Sequence[Point], span: Span, together: Callable[[Sequence[float]], float]
) -> list[Point]:
    steps: dict[int, list[Point]] = {}
    for point in points:
        steps.setdefault((point[0] - span.since_ns) // span.step_ns, []).append(point)
    return [
        (sum(at_ns for at_ns, _ in step) // len(step), together([value for _, value in step]))
        for _, step in sorted(steps.items())
    ]


@dataclass(frozen=True, slots=True)
class Band:
    """A while at one level."""

    since_ns: int
    until_ns: int
    level: Level


def bands(minutes: Sequence[Minute], span: Span, *, worst: bool) -> list[Band]:
    """The level that lasted longest in each step, or the worst that was reached; neighbours are one."""
    steps: dict[int, dict[Level, float]] = {}
    for minute in minutes:
        spent = steps.setdefault((minute.wall_ns - span.since_ns) // span.step_ns, {})
        for level in Level:
            seconds = minute.values.get(f"level_{level.name.lower()}_s", 0.0)
            if 0 < seconds <= LARGEST:
                spent[level] = spent.get(level, 0.0) + seconds
    found: list[Band] = []
    for number, spent in sorted(steps.items()):
        if not spent:
            continue
        level = max(spent) if worst else max(spent, key=lambda level: spent[level])
        since_ns = span.since_ns + number * span.step_ns
        if found and found[-1].level is level and found[-1].until_ns >= since_ns:
            since_ns = found.pop().since_ns
        until_ns = span.since_ns + (number + 1) * span.step_ns
        found.append(Band(since_ns, min(until_ns, span.until_ns), level))
    return found
