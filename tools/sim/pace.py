"""Waiting for absolute deadlines, so that a rate does not drift."""

from __future__ import annotations

import time

_FORGIVEN_PERIODS = 5


class Pace:
    """`wait` returns once a period; after a hang it catches up a few periods and lets go of the rest."""

    def __init__(self, period_s: float) -> None:
        self._period_s = period_s
        self._due_s = time.monotonic()

    def wait(self) -> None:
        self._due_s += self._period_s
        left_s = self._due_s - time.monotonic()
        if left_s > 0:
            time.sleep(left_s)
        elif left_s < -_FORGIVEN_PERIODS * self._period_s:
            self._due_s = time.monotonic()
