"""Which of a bundle's resolutions to run: the largest that keeps time. Pure: no I/O, no clock.

Down is quick, since late chunks cost distance; up is slow, and only where the larger one is expected to keep
time with something to spare. One that had to be taken back soon is tried again after twice the time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from vlad.clock import NS_PER_S

SLOW_RUNS = 5
"""So many inferences in a row that take too long, and the next smaller one runs."""
HOLD_S = 5.0
"""After a change no larger one is tried for at least so long."""
MARGIN = 0.8
"""A larger one must be expected to take no more than this part of the time that there is."""
_LONGEST_HOLD_S = 80.0
_LOOKED_AT = 20


class Resolution:
    """Says before each inference at which resolution it shall be; 0 is the largest."""

    def __init__(self, usual_s: Sequence[float], target_s: float) -> None:
        """`usual_s` has what an inference at each of them takes when nothing else runs, largest first."""
        self._usual_s = [max(usual, 1e-9) for usual in usual_s]
        self.target_s = target_s
        """What an inference may take."""
        self._least = 0
        self._changed_ns = 0
        self._raised_ns: int | None = None
        """When the last change was one to a larger one."""
        self._hold_s = HOLD_S
        self._slow = 0
        self._recent_s: deque[float] = deque(maxlen=_LOOKED_AT)
        in_time = (at for at, usual in enumerate(usual_s) if usual <= target_s)
        self.at = next(in_time, len(usual_s) - 1)
        self.why = ""
        """Why it is not the largest; empty: it is."""
        if self.at:
            self.why = self._one_larger(self._usual_s[self.at - 1])

    def ran(self, took_s: float, now_ns: int) -> None:
        """An inference took so long; the next one may be at another resolution."""
        self._recent_s.append(took_s)
        self._slow = self._slow + 1 if took_s > self.target_s else 0
        if self._slow >= SLOW_RUNS and self.at + 1 < len(self._usual_s):
            back = self._raised_ns is not None and now_ns - self._raised_ns < self._hold_s * NS_PER_S
            self._hold_s = min(2 * self._hold_s, _LONGEST_HOLD_S) if back else HOLD_S
            self._change(self.at + 1, self._one_larger(took_s), now_ns)
        elif self.at > self._least and self._may_rise(now_ns):
            self._change(self.at - 1, self.why if self.at > 1 else "", now_ns)
            self._raised_ns = now_ns

    def lower(self, now_ns: int, why: str) -> None:
        """Use only the smallest from now on."""
        self._least = len(self._usual_s) - 1
        self._change(self._least, why, now_ns)

    def _may_rise(self, now_ns: int) -> bool:
        if len(self._recent_s) < _LOOKED_AT or now_ns - self._changed_ns < self._hold_s * NS_PER_S:
            return False
        expected_s = max(self._recent_s) * self._usual_s[self.at - 1] / self._usual_s[self.at]
        return expected_s <= MARGIN * self.target_s

    def _change(self, at: int, why: str, now_ns: int) -> None:
        self.at, self.why, self._changed_ns = at, why, now_ns
        self._raised_ns = None
        self._slow = 0
        self._recent_s.clear()

    def _one_larger(self, took_s: float) -> str:
        return f"the next larger one took {took_s * 1e3:.0f} ms, and may take {self.target_s * 1e3:.0f} ms"
