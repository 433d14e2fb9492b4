"""Percentiles of the newest values of something that is measured again and again."""

from __future__ import annotations

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

    def percentile(self, q: float) -> float | None:
        """The q-th percentile, 0 to 100, of what is kept; None where there is nothing yet."""
        kept = min(self.count, len(self._values))
        return float(np.percentile(self._values[:kept], q)) if kept else None
