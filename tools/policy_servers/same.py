"""A policy that says the same all the time, and can misbehave."""

from __future__ import annotations

import time

import numpy as np

HORIZON = 20
TWIST = (0.05, 0.05)
FAULTS = ("", "nan", "shape", "error")


class SamePolicy:
    """Drives slowly ahead in a bend, whatever it sees; what is asked of it is checked all the same."""

    def __init__(self, fault: str = "", slow_s: float = 0.0) -> None:
        self.misbehaves = False
        self._fault = fault
        self._slow_s = slow_s

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """(HORIZON, 2)"""
        time.sleep(self._slow_s)
        self._slow_s = 0.0
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(f"an image must be uint8 (H, W, 3), not {image.dtype} {image.shape}")
        actions = np.tile(np.array(TWIST, np.float32), (HORIZON, 1))
        match self._fault if self.misbehaves else "":
            case "nan":
                actions[3, 0] = np.nan
            case "shape":
                actions = actions[1:]
            case "error":
                raise RuntimeError("CUDA error: out of memory")
        return actions
