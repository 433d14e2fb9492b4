"""How sure a policy is of what it says, measured on its answers alone, in the units of its training.

`uncertainty` is the model's own head, 0 to 1, where it has one. `spread` is how far the samples lie apart
that a model draws at once: of a flow or diffusion policy, an ensemble, or passes with dropout. `disagreement`
is how far a chunk is from those just before it about the same moments, for any policy: the temporal
consistency of STAC, with a single sample of each (Agia et al. 2024, "Unpacking Failure Modes of Generative
Policies: Runtime Monitoring of Consistency and Progress", arXiv 2410.04640). Distances are root mean squares
over steps and axes, so they mean the same for every horizon.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import inf, sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vlad.messages import Doubt, Floats
from vlad.policy.calibration import Calibration

_WINDOW_NS = 110_000_000
"""A chunk is compared with those that are up to this much older: a tenth of a second, and some jitter. So the
rate of inference hardly counts, and a policy that is of two minds in turn cannot hide behind a steady lag."""


class _Said(NamedTuple):
    stamp_ns: int
    instruction: str
    actions: NDArray[np.float64]
    changes: NDArray[np.float64]
    """From each step to the next."""


class Confidence:
    """Measures each chunk of one policy; what was calibrated for its bundle says how much is too much."""

    def __init__(self, step_ns: int, calibration: Calibration | None) -> None:
        self.calibration = calibration
        self._step_ns = step_ns
        self._limits = calibration.limits() if calibration else {}
        self._before: list[_Said] = []

    def judge(
        self,
        stamp_ns: int,
        instruction: str,
        actions: Floats,
        spread: float | None,
        uncertainty: float | None,
    ) -> tuple[Doubt, ...]:
        """The doubts about a chunk: `actions` (horizon, N) as the model gave them, for a frame of `stamp_ns`.

        A chunk with a number that is not finite is not compared with others.
        """
        disagreement = None
        if np.isfinite(actions).all():
            exact = actions.astype(np.float64)
            disagreement = self._disagreement(_Said(stamp_ns, instruction, exact, exact[1:] - exact[:-1]))
        measured = {"uncertainty": uncertainty, "spread": spread, "disagreement": disagreement}
        return tuple(
            Doubt(name, value, *self._limits.get(name, (inf, inf)))
            for name, value in measured.items()
            if value is not None
        )

    def _disagreement(self, said: _Said) -> float | None:
        """The largest distance to a recent chunk for the same instruction; None: there is none to compare."""
        self._before = list(self._recent(said))
        found = [
            gap for before in self._before if (gap := _distance(before, said, self._step_ns)) is not None
        ]
        self._before.append(said)
        return max(found, default=None)

    def _recent(self, said: _Said) -> Iterator[_Said]:
        """Those within the window, or the newest where inference is slower than that."""
        same = [
            old
            for old in self._before
            if old.stamp_ns <= said.stamp_ns and old.instruction == said.instruction
        ]
        for index, old in enumerate(same, 1):
            if index == len(same) or said.stamp_ns - old.stamp_ns <= _WINDOW_NS:
                yield old


def _distance(old: _Said, new: _Said, step_ns: int) -> float | None:
    """Root mean square over what both say, the old one's steps interpolated; None where it ends before."""
    skipped, rest_ns = divmod(new.stamp_ns - old.stamp_ns, step_ns)
    before = old.actions[skipped:]
    if rest_ns:
        before = before[:-1] + old.changes[skipped:] * (rest_ns / step_ns)
    if not len(before):
        return None
    gaps = (new.actions[: len(before)] - before).ravel()
    return sqrt(float(gaps @ gaps) / gaps.size)  # quicker than numpy's mean of squares


def choose(samples: Floats) -> tuple[Floats, float | None]:
    """Of (k, horizon, N) the one to follow, (horizon, N), and the spread: how far the others are from it.

    It is the medoid, the sample nearest to all others: their mean may be what no sample says, such as
    straight into the obstacle that half of them pass on the left and half on the right. A sample with a
    number that is not finite is chosen at once, so that the chunk is refused. A single one has no spread.
    """
    if len(samples) == 1:
        return samples[0], None
    broken = ~np.isfinite(samples).all(axis=(1, 2))
    if broken.any():
        return samples[broken.argmax()], None
    flat = samples.reshape(len(samples), -1).astype(np.float64)
    apart = np.array([np.sqrt(np.square(flat - one).mean(axis=1)) for one in flat]).mean(axis=1)
    medoid = int(apart.argmin())
    return samples[medoid], float(apart[medoid]) * len(samples) / (len(samples) - 1)
