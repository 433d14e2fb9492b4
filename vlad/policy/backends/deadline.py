"""A moment by which a whole call to a policy's server must be over."""

from __future__ import annotations

import time


class Deadline:
    """The end of a call, however many steps it has."""

    def __init__(self, timeout_s: float) -> None:
        self._end_s = time.monotonic() + timeout_s

    def left_s(self) -> float:
        """Seconds that are left, more than none; TimeoutError when there are none."""
        left_s = self._end_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        return left_s
