"""Split conformal prediction: a limit that the next score exceeds with a known probability, at most.

If n scores and the next one are exchangeable, the next is above the ceil((n + 1)(1 - alpha))-th smallest of
the n with a probability of at most alpha, whatever their distribution. Vovk et al. 2005, "Algorithmic
Learning in a Random World"; of robot policies: Agia et al. 2024, arXiv 2410.04640.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import ceil


def least_scores(alpha: float) -> int:
    """So many scores are needed: with fewer no score is high enough."""
    return ceil(1 / _exact(alpha)) - 1


def least_alpha(count: int) -> float:
    """The smallest probability that so many scores can promise."""
    return 1 / (count + 1)


def limit(scores: Sequence[float], alpha: float) -> float:
    """The limit; ValueError where there are fewer scores than `least_scores`."""
    rank = ceil((len(scores) + 1) * (1 - _exact(alpha)))
    if rank > len(scores):
        raise ValueError(f"{len(scores)} scores are too few for {alpha:g}; it takes {least_scores(alpha)}")
    return sorted(scores)[rank - 1]


def _exact(alpha: float) -> Fraction:
    """As it is written, 0.1 as a tenth: a rank must not be one higher for a rounding error."""
    return Fraction(str(alpha))
