"""Noise as an input: what a flow or diffusion policy makes its samples from."""

from __future__ import annotations

import numpy as np

from vlad.policy.inputs import NoiseInput


class NoiseReader:
    """Standard normal float32 numbers, drawn anew for each inference, the same ones after each start."""

    def __init__(self, spec: NoiseInput) -> None:
        self.buffer = np.zeros(spec.shape, np.float32)
        """What the model is given; C-contiguous, the same array for ever."""
        self._random = np.random.default_rng(spec.seed)

    def draw(self) -> None:
        """Fill the buffer."""
        self._random.standard_normal(dtype=np.float32, out=self.buffer)
