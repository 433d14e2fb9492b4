"""A plan: values at some moments, and what they mean in between."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from vlad.messages import Floats

Times: TypeAlias = NDArray[np.int64]
Counts: TypeAlias = NDArray[np.int64]

_NEVER: Times = np.array([2**62])
"""Later than any moment; the difference to any moment still fits into 64 bits."""
_EVER, _NOBODY = -_NEVER, 0 * _NEVER


class Plan:
    """Knots: values at moments, linear in between, held before the first and after the last of them.

    `told` says of each knot how many chunks have told about the time up to it.
    """

    __slots__ = ("_from_ns", "_start", "_times_ns", "_told", "_until_ns", "_values", "_way")

    def __init__(self, times_ns: Times, values: Floats, told: Counts) -> None:
        """`times_ns` (K,) ascends, `values` (K, N) and `told` (K,) belong to it; at least one knot."""
        # One more at either end of time, with its neighbour's values: there is always one before and after.
        self._times_ns = np.concatenate((_EVER, times_ns, _NEVER))
        self._values = np.concatenate((values[:1], values, values[-1:]))
        self._told = np.concatenate((told[:1], told, _NOBODY))
        self._from_ns = self._until_ns = 0
        self._start = self._way = self._values[0]
        """Of the knots around the moment that was asked for last: their times, the first one's values, and
        how far it is from there to the second's."""

    def at(self, time_ns: int) -> Floats:
        """The values at this moment."""
        if not self._from_ns <= time_ns < self._until_ns:
            later = int(self._times_ns.searchsorted(time_ns, side="right"))
            self._from_ns, self._until_ns = self._times_ns[later - 1 : later + 1].tolist()
            self._start = self._values[later - 1]
            self._way = self._values[later] - self._start
        part = (time_ns - self._from_ns) / (self._until_ns - self._from_ns)
        between: Floats = self._start + self._way * np.float32(part)
        return between

    def at_all(self, times_ns: Times) -> Floats:
        """The values at these moments, a row for each."""
        later = self._times_ns.searchsorted(times_ns, side="right")
        before = later - 1
        since, values = self._times_ns.take(before), self._values.take(before, axis=0)
        part = ((times_ns - since) / (self._times_ns.take(later) - since)).astype(np.float32)
        between: Floats = values + (self._values.take(later, axis=0) - values) * part[:, None]
        return between

    def told(self, times_ns: Times) -> Counts:
        """How many chunks have told about these moments; none after the last knot."""
        return self._told[self._times_ns.searchsorted(times_ns)]

    def moments(self, first_ns: int, last_ns: int) -> Times:
        """Two moments and all knots between them; `first_ns` alone where the last is not later."""
        if last_ns <= first_ns:
            return np.array([first_ns])
        low = self._times_ns.searchsorted(first_ns, side="right")
        high = self._times_ns.searchsorted(last_ns)
        return np.concatenate(([first_ns], self._times_ns[low:high], [last_ns]))
