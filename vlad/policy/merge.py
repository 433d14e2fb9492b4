"""How much a new chunk counts where an older plan has something to say about the same moments.

Shares lie between 0 (the plan stands) and 1 (the chunk alone), so what is merged lies between the two.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from vlad.clock import NS_PER_S
from vlad.config import PolicySettings
from vlad.policy.plan import Counts, Times

Share: TypeAlias = Callable[[Counts, Times], NDArray[np.float64]]
"""From how many chunks told about each moment before, and how long after the join it is, to the share."""

_DECAY = 0.01
"""ACT's m: the i-th chunk that tells about a moment weighs exp(-m i), so the oldest weighs most.
Zhao et al. 2023, "Learning Fine-Grained Bimanual Manipulation with Low-Cost Hardware", arXiv 2304.13705."""


def share(settings: PolicySettings) -> Share:
    """The way that `policy.follow` names. Real-time chunking blends what the prefix leaves of a jump."""
    blend_ns = settings.blend_s * NS_PER_S
    match settings.follow:
        case "ensemble":
            return _ensemble
        case "blend" | "rtc" if blend_ns > 0:
            return partial(_blend, blend_ns)
        case _:
            return _latest


def _latest(told: Counts, since_ns: Times) -> NDArray[np.float64]:
    return np.ones(len(told))


def _blend(blend_ns: float, told: Counts, since_ns: Times) -> NDArray[np.float64]:
    return np.clip(since_ns / blend_ns, 0.0, 1.0)


def _ensemble(told: Counts, since_ns: Times) -> NDArray[np.float64]:
    """The last weight of exp(-m i), i = 0 .. told, over the sum of them all."""
    ratio = np.exp(-_DECAY)
    shares: NDArray[np.float64] = ratio**told * (1 - ratio) / (1 - ratio ** (told + 1))
    return shares
