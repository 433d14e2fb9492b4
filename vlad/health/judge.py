"""From readings to a verdict on each component and on the whole. Pure: the time comes with the readings.

The whole is as well as its worst component: a mean of forty would hide the one that is about to fail.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf

from vlad.health.reading import Reading, Readings, Unit
from vlad.health.scale import level, score
from vlad.health.trend import Trend
from vlad.health.words import duration
from vlad.messages import Level

EASED = 0.05
"""What was bad must get better by this part of its threshold before it is well again."""


@dataclass(frozen=True, slots=True)
class Component:
    """How well one thing is."""

    name: str
    score: float | None
    """1: fine, 0: at the limit, None: nothing of it is known."""
    level: Level
    eased: Level
    """The level if every threshold were 5 % lower: it is well again only when this is too."""
    text: str
    """What is bad, or else all that is known."""
    readings: dict[str, float]
    trend_per_h: float | None = None
    """None: no line fits."""
    unit: Unit = ""
    time_to_limit_s: float | None = None
    """None: it will not get there, as far as can be told."""
    risk: float = 0.0
    """0 to 1: what to look at first. No probability: the larger of 1 - score, and how near the limit is on
    the line that fits, of the farthest time that the line is followed.
    """
    reason: str = ""
    action: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """How well everything is."""

    stamp_ns: int
    components: tuple[Component, ...]

    @property
    def score(self) -> float | None:
        """Of the worst component; None where nothing is known."""
        known = [component.score for component in self.components if component.score is not None]
        return min(known, default=None)

    @property
    def level(self) -> Level:
        return max((component.level for component in self.components), default=Level.SAFE)


@dataclass(frozen=True, slots=True)
class _Course:
    """Where one reading is going."""

    reading: Reading
    per_s: float
    left_s: float
    """Until its limit; infinity: never, or farther than can be told."""
    horizon_s: float


class Judge:
    """Remembers where the readings came from."""

    def __init__(self) -> None:
        self._trends: dict[tuple[str, str], Trend] = {}

    def judge(self, now_ns: int, components: Readings) -> Report:
        """The readings of this moment; the time never goes back."""
        return Report(
            now_ns, tuple(self._judge(now_ns, name, readings) for name, readings in components.items())
        )

    def _judge(self, now_ns: int, name: str, readings: tuple[Reading, ...]) -> Component:
        worst_score, worst = _worst(readings)
        course = min(self._courses(now_ns, name, readings), key=lambda course: course.left_s, default=None)
        risk, reason = _risk(worst_score, worst, course)
        near = course is not None and course.left_s < inf
        actions = [reading.action for reading in readings if level(reading.value, reading.scale) > Level.SAFE]
        return Component(
            name=name,
            score=worst_score,
            level=_highest(level(reading.value, reading.scale) for reading in readings),
            eased=_highest(level(reading.value, reading.scale, EASED) for reading in readings),
            text=_text(readings),
            readings={reading.name: reading.value for reading in readings},
            trend_per_h=course.per_s * 3_600 if course else None,
            unit=course.reading.unit if course else "",
            time_to_limit_s=course.left_s if course and near else None,
            risk=risk,
            reason=reason,
            action=actions[0] if actions else course.reading.action if course and near else "",
        )

    def _courses(self, now_ns: int, name: str, readings: tuple[Reading, ...]) -> Iterable[_Course]:
        for reading in readings:
            if not reading.window_s:
                continue
            trend = self._trends.setdefault((name, reading.name), Trend(reading.window_s))
            trend.add(now_ns, reading.value)
            if trend.line is not None:
                left_s = trend.line.until(reading.scale[-1], now_ns)
                told_s = left_s if left_s <= trend.horizon_s else inf
                yield _Course(reading, trend.line.per_s, told_s, trend.horizon_s)


def _worst(readings: tuple[Reading, ...]) -> tuple[float | None, Reading | None]:
    """The lowest score, and whose it is; nothing where none is known."""
    judged = ((score(reading.value, reading.scale), reading) for reading in readings if reading.scale)
    known = [(value, reading) for value, reading in judged if value is not None]
    return min(known, key=lambda pair: pair[0], default=(None, None))


def _highest(levels: Iterable[Level]) -> Level:
    return max(levels, default=Level.SAFE)


def _text(readings: tuple[Reading, ...]) -> str:
    """Only what is bad, if anything is."""
    bad = [reading.text for reading in readings if level(reading.value, reading.scale) > Level.SAFE]
    known = [reading.text for reading in readings if reading.text and reading.value == reading.value]
    judged = any(reading.scale and reading.value == reading.value for reading in readings)
    return ", ".join(bad or known) or ("well" if judged else "not known")


def _risk(known: float | None, worst: Reading | None, course: _Course | None) -> tuple[float, str]:
    """The risk, and why."""
    standing = 0.0 if known is None else 1.0 - known
    coming = 1.0 - course.left_s / course.horizon_s if course and course.left_s < inf else 0.0
    if course is not None and coming > standing:
        return coming, f"{course.reading.text}, at this rate at the limit in {duration(course.left_s)}"
    if worst is not None and standing > 0:
        return standing, worst.text
    return 0.0, ""
