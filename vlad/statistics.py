"""What is measured again and again: percentiles of its newest values, and a count of all by their size."""

from __future__ import annotations

from bisect import bisect_left
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


class Histogram:
    """Counts values since the start by their size; adding costs a search among a few bounds and two sums.

    `counts[k]` are those up to `bounds[k]` and above the bound before it, the last those above all bounds.
    """

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[int, ...]) -> None:
        """`bounds` ascend."""
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0

    def add(self, value: int) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value
