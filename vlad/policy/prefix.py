"""What will be done until a policy has answered, as the tensors that a model takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vlad.messages import Floats
from vlad.policy.bundle import Bundle
from vlad.policy.inputs import PrefixInput
from vlad.policy.manifest import Output


@dataclass(frozen=True, slots=True)
class Prefix:
    """What will be done from a frame on: row k of `rows` (n, N) is meant for stamp + (k + 1) * step.

    The first `committed` of them will have been done, or begun, before the next chunk can be there.
    """

    rows: Floats
    committed: int


Ahead: TypeAlias = Callable[[int, int, int], Prefix | None]
"""From the stamp and the step [ns] and the most rows to what will be done; None: nothing is promised."""


def without_effect(follow: str, bundle: Bundle) -> str:
    """Why the setting policy.follow does not do what it says with this bundle; empty: it does."""
    if follow != "rtc" or bundle.manifest.prefix is not None:
        return ""
    return (
        f'policy.follow = "rtc": {bundle} has no input of the kind prefix, so its chunks are joined as with '
        f'"blend"; use a bundle that has one, or set policy.follow = "blend"'
    )


class PrefixReader:
    """(1, P, N) in the output's normalisation, 0 where nothing is known; and how many rows are committed."""

    def __init__(self, spec: PrefixInput, output: Output) -> None:
        self.rows = spec.shape[1]
        self._rows = np.zeros(spec.shape, np.float32)
        self._committed = np.zeros(1, np.int64)
        self._mean, self._std = (np.asarray(row, np.float32) for row in output.scale())
        length = {spec.length: self._committed} if spec.length else {}
        self.tensors: dict[str, NDArray[Any]] = {spec.name: self._rows, **length}
        """What the model is given, the same arrays for ever."""

    def read(self, prefix: Prefix | None) -> None:
        """Fill the tensors; None: nothing is known."""
        self._rows[:] = 0
        self._committed[0] = 0
        if prefix is not None:
            self._rows[0, : len(prefix.rows)] = (prefix.rows - self._mean) / self._std
            self._committed[0] = prefix.committed
