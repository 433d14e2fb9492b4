"""From a reading to a score and a level. A scale has thresholds, ascending; the last one is the limit."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from vlad.messages import Level


def score(value: float, scale: Sequence[float]) -> float | None:
    """1: fine, below the first threshold; 0: at the limit; straight lines from each threshold to the next.

    None for NaN: what was not measured has no score.
    """
    if value != value:
        return None
    above = bisect_right(scale, value)
    if above == 0 or above == len(scale):
        return 0.0 if above else 1.0
    lower, upper = scale[above - 1], scale[above]
    return 1.0 - (above - 1 + (value - lower) / (upper - lower)) / (len(scale) - 1)


def level(value: float, scale: Sequence[float], eased: float = 0.0) -> Level:
    """CAUTION from the first threshold on, and so on; `eased`, thresholds count as lower by this part.

    SAFE for NaN, which a caller must tell apart by its score, and without a scale.
    """
    if not scale or not value >= scale[0] * (1 - eased):
        return Level.SAFE
    return Level(sum(value >= threshold * (1 - eased) for threshold in scale))
