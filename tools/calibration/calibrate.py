"""From the scores of episodes to limits, and how these do on episodes that they were not taken from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from tools.calibration.conformal import least_alpha, least_scores, limit
from vlad.policy.calibration import Limits

Scores: TypeAlias = Mapping[str, float]
"""Of one episode: the largest value of each measure in any of its chunks."""


class TooFewError(Exception):
    """There are not enough episodes; the text says how many more it takes."""


@dataclass(frozen=True, slots=True)
class Alphas:
    """How often a limit may be exceeded in an episode in which all is well."""

    slow: float
    stop: float

    def each(self, measures: int) -> Alphas:
        """For each of so many measures, so that all together keep the promise (Bonferroni)."""
        return Alphas(self.slow / measures, self.stop / measures)


@dataclass(frozen=True, slots=True)
class Found:
    """The limits of a measure, and how many of the other half of the episodes exceeded them."""

    limits: Limits
    over_slow: int
    over_stop: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """`calibrated` episodes gave the limits, `verified` others were held against them."""

    calibrated: int
    verified: int
    measures: dict[str, Found]


def calibrate(episodes: Sequence[Scores], alphas: Alphas, seed: int) -> Outcome:
    """Draw half of the episodes by lot, take the limits from them, and count on the others; TooFewError."""
    names = sorted({name for scores in episodes for name in scores})
    half = (len(episodes) + 1) // 2
    each = alphas.each(max(1, len(names)))
    if half < (needed := least_scores(each.stop)):
        raise TooFewError(_too_few(len(episodes), half, needed, alphas.stop, len(names)))
    drawn = np.random.default_rng(seed).permutation(len(episodes))
    calibrating, verifying = ([episodes[index] for index in part] for part in (drawn[:half], drawn[half:]))
    measures = {}
    for name in names:
        scores = [episode.get(name, 0.0) for episode in calibrating]
        limits = Limits(slow=limit(scores, each.slow), stop=limit(scores, each.stop))
        others = [episode.get(name, 0.0) for episode in verifying]
        over = [sum(score > level for score in others) for level in (limits.slow, limits.stop)]
        measures[name] = Found(limits, *over)
    return Outcome(half, len(verifying), measures)


def _too_few(episodes: int, half: int, needed: int, alpha: float, measures: int) -> str:
    possible = least_alpha(half) * max(1, measures)
    instead = (
        f", or give --slow-alpha and --stop-alpha of {possible:.2g} or more" if half and possible < 1 else ""
    )
    return (
        f"{episodes} episodes are too few: half of them calibrate, and an alpha of {alpha:g} takes {needed}; "
        f"record {2 * needed - 1 - episodes} more{instead}"
    )
