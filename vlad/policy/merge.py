"""Merging a new chunk into the plan that is followed, in the way that `policy.follow` names.

Each way is a share for each moment, between 0 (the plan stands) and 1 (the chunk alone). Speeds that fade in
also catch up: the chunk was made for where the robot was when its frame was taken, and the way that it would
have gone since then is not skipped but made up for. The robot may be faster for it than the chunk says, but
does not turn round: one that went too far before a chunk that says stop stays there.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vlad.clock import NS_PER_S
from vlad.messages import Floats
from vlad.policy.plan import Counts, Plan, Times
from vlad.policy_settings import PolicySettings

_DECAY = 0.01
"""ACT's m: the i-th chunk that tells about a moment weighs exp(-m i), so the oldest weighs most.
Zhao et al. 2023, "Learning Fine-Grained Bimanual Manipulation with Low-Cost Hardware", arXiv 2304.13705."""
_CATCH_UP = 2.0
"""What was missed is made up for in the blend and this many times as long as the chunk is late. In less time
the robot swings, as with any controller that corrects faster than it sees: `tools/bench chunks`."""
_MOST = 0.75
"""Catching up adds at most this part of how far the two are apart. With the times above it takes no more."""


class Merge:
    """How a new plan takes over from the one that is followed."""

    def __init__(self, settings: PolicySettings) -> None:
        self.blend_ns = settings.blend_s * NS_PER_S
        self._averages = settings.follow == "ensemble"
        self._blends = settings.follow in ("blend", "rtc") and self.blend_ns > 0

    @property
    def begins_with_the_old(self) -> bool:
        """At the moment of the join the merged plan says what the old one does."""
        return self._blends

    def __call__(
        self, old: Plan, new: Plan, frame_ns: int, now_ns: int, end_ns: int, catches_up: bool
    ) -> Plan:
        """The old plan since `frame_ns`, when the new one's frame was taken, and both as one until its end.

        `catches_up`: the values are speeds, and the new plan knows nothing of what was done meanwhile.
        """
        catches_up = catches_up and self._blends
        times_ns, late_ns = new.moments(now_ns, end_ns), old.moments(frame_ns, now_ns)
        past = len(late_ns) - 1
        if catches_up:
            late_ns = np.concatenate((late_ns, new.moments(frame_ns, now_ns)))
        # One question to each plan about all moments: those of the delay, then those to come.
        asked_ns, since = np.concatenate((late_ns, times_ns)), len(late_ns)
        said, meant, told = old.at_all(asked_ns), new.at_all(asked_ns), old.told(asked_ns)
        before, alone = said[since:], meant[since:]
        share = self._share(told[since:], times_ns - now_ns).astype(np.float32)[:, None]
        values = before * (1 - share) + alone * share
        if catches_up:
            apart = meant - said
            order = late_ns.argsort()  # a moment that is in both is there twice: nothing lies between the two
            missed = _area(late_ns[order], apart[:since].take(order, axis=0))
            missed += _area(times_ns, alone - values)
            within_ns = self.blend_ns + _CATCH_UP * max(0, now_ns - frame_ns)
            most = _MOST * np.abs(apart).max(axis=0)
            values += np.minimum(np.maximum(_hump(times_ns, within_ns) * missed, -most), most)
            values = _kept_on_the_way(values, np.concatenate((before, alone)))
        return Plan(
            np.concatenate((late_ns[:past], times_ns)),
            np.concatenate((said[:past], values)),
            np.concatenate((told[:past], told[since:] + new.told(times_ns))),
        )

    def _share(self, told: Counts, since_ns: Times) -> NDArray[np.float64]:
        """The new plan's, at moments about which so many chunks have told, so long after the join."""
        if self._averages:
            ratio = np.exp(-_DECAY)
            shares: NDArray[np.float64] = ratio**told * (1 - ratio) / (1 - ratio ** (told + 1))
            return shares
        return np.minimum(since_ns / self.blend_ns, 1.0) if self._blends else np.ones(len(told))


def _kept_on_the_way(values: Floats, said: Floats) -> Floats:
    """The values (K, N), but rest where they lead a way that nothing of what is said (L, N) does."""
    back, on = (said < 0).any(axis=0), (said > 0).any(axis=0)
    kept: Floats = np.where(((values < 0) & ~back) | ((values > 0) & ~on), np.float32(0), values)
    return kept


def _area(times_ns: Times, values: Floats) -> Floats:
    """The integral (N,) over time of values (K, N) that are linear in between [values x ns]."""
    area: Floats = ((times_ns[1:] - times_ns[:-1]) / 2).astype(np.float32) @ (values[1:] + values[:-1])
    return area


def _hump(times_ns: Times, within_ns: float) -> Floats:
    """A parabola (K, 1) over that time with an area of 1; zero where no moment lies within."""
    part = (times_ns - times_ns[0]) / within_ns
    hump: Floats = np.maximum(part * (1 - part), 0).astype(np.float32)
    area = float(_area(times_ns, hump))
    return (hump / area if area > 0 else hump)[:, None]
