"""Percentiles of the newest values of something that is measured again and again."""

from __future__ import annotations

from math import nan

import numpy as np


class Window:
    """Keeps the newest `capacity` values; adding costs nothing, percentiles are worked out when asked."""

    __slots__ = ("_values", "count")

    def __init__(self, capacity: int) -> None:
        self._values = np.zeros(capacity)
        self.count = 0

    def add(self, value: float) -> None:
        self._values[self.count % len(self._values)] = value
        self.count += 1

    def percentiles(self, *points: float, since: int = 0) -> list[float | None]:
        """The percentiles, 0 to 100, of what is kept, without the first `since` values that were added; None
        where there is nothing.

        Sorted once for all of them: np.percentile on a minute of ticks would hold the loop for a millisecond.
        """
        size = len(self._values)
        kept = max(0, min(self.count - since, size))
        if not kept:
            return [None] * len(points)
        begin, end = (self.count - kept) % size, (self.count - 1) % size + 1
        values = self._values
        newest = values[begin:end] if begin < end else np.concatenate((values[begin:], values[:end]))
        ordered = np.sort(newest)
        return [float(ordered[round(point / 100 * (kept - 1))]) for point in points]

    def above(self, limit: float) -> float:
        """The part of what is kept that is above `limit`, 0 to 1; NaN where there is nothing yet."""
        kept = min(self.count, len(self._values))
        return float(np.count_nonzero(self._values[:kept] > limit)) / kept if kept else nan
