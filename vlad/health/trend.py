"""Where a reading is going: a straight line by least squares, told only where one fits."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vlad.clock import NS_PER_S

_POINTS, _FEWEST = 120, 30
_WELL = 0.9
"""The least coefficient of determination of a line that fits."""
_AHEAD = 20
"""A line is followed no farther than so many times the window that it was seen in."""


@dataclass(frozen=True, slots=True)
class Line:
    """`value` at `at_ns`, and its slope."""

    at_ns: int
    value: float
    per_s: float

    def until(self, limit: float, now_ns: int) -> float:
        """Seconds from now until it reaches `limit`; 0 where it has, infinity where it never will."""
        left = limit - self.value - self.per_s * (now_ns - self.at_ns) / NS_PER_S
        if left <= 0:
            return 0.0
        return left / self.per_s if self.per_s > 0 else float("inf")


class Trend:
    """The readings of the last window, as at most 120 means of equally long times."""

    def __init__(self, window_s: float) -> None:
        self.horizon_s = _AHEAD * window_s
        """Nothing is foretold that is farther away than this."""
        self.line: Line | None = None
        """None: no line fits, or there are too few readings to tell."""
        self._window_ns = round(window_s * NS_PER_S)
        self._step_ns = self._window_ns // _POINTS
        self._points: deque[tuple[int, float]] = deque()
        self._gathered: list[float] = []
        self._since_ns: int | None = None

    def add(self, now_ns: int, value: float) -> None:
        """One more reading. A line is sought whenever a time is full."""
        if not np.isfinite(value):
            return
        if self._since_ns is None:
            self._since_ns = now_ns
        self._gathered.append(value)
        if now_ns - self._since_ns < self._step_ns:
            return
        self._points.append(((self._since_ns + now_ns) // 2, sum(self._gathered) / len(self._gathered)))
        self._gathered, self._since_ns = [], None
        while now_ns - self._points[0][0] > self._window_ns:
            self._points.popleft()
        self.line = self._fit(now_ns)

    def _fit(self, now_ns: int) -> Line | None:
        """A line must explain the readings, and each half of them alone must say about the same."""
        if len(self._points) < _FEWEST:
            return None
        times = np.array([(at_ns - now_ns) / NS_PER_S for at_ns, _ in self._points])
        values = np.array([value for _, value in self._points])
        per_s, explained = _slope(times, values)
        half = len(times) // 2
        halves = _slope(times[:half], values[:half])[0], _slope(times[half:], values[half:])[0]
        low, high = sorted((per_s / 2, per_s * 2))
        if explained < _WELL or not all(low <= slope <= high for slope in halves):
            return None
        return Line(now_ns, float(values.mean() - per_s * times.mean()), per_s)


def _slope(times: NDArray[np.float64], values: NDArray[np.float64]) -> tuple[float, float]:
    """The slope by least squares, and the part of the variance that it explains; 0 where nothing varies."""
    times, values = times - times.mean(), values - values.mean()
    together, apart = float(times @ values), float(times @ times)
    varies = float(values @ values)
    if apart == 0 or varies == 0:
        return 0.0, 0.0
    return together / apart, together * together / (apart * varies)
