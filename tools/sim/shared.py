"""Where the simulated rover is, for the processes of its sensors: one writer, any readers, no lock held."""

from __future__ import annotations

import mmap
import struct
import time
from dataclasses import dataclass

from tools.sim.world import Pose

_VERSION = struct.Struct("=q")
_STATE = struct.Struct("=qqdddq")
_RETRY_S = 0.0001


@dataclass(frozen=True, slots=True)
class Placement:
    """The rover's true pose in the world of `seed` at `stamp_ns` (CLOCK_MONOTONIC); `muted` has bits."""

    seed: int
    stamp_ns: int
    pose: Pose
    muted: int


class SharedPlacement:
    """A Placement in memory that forked processes share, behind a sequence lock.

    The version is odd while the writer writes. A reader that saw it odd or changed reads again.
    """

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _VERSION.size + _STATE.size)
        self._version = 0

    def write(self, placement: Placement) -> None:
        """By one process only."""
        self._set_version()
        _STATE.pack_into(
            self._memory, _VERSION.size,
            placement.seed, placement.stamp_ns, *placement.pose, placement.muted,
        )  # fmt: skip
        self._set_version()

    def read(self) -> Placement | None:
        """The newest; None before the first."""
        while True:
            before = self._get_version()
            seed, stamp_ns, x, y, yaw, muted = _STATE.unpack_from(self._memory, _VERSION.size)
            if before % 2 == 0 and before == self._get_version():
                return Placement(seed, stamp_ns, (x, y, yaw), muted) if before else None
            time.sleep(_RETRY_S)

    def _set_version(self) -> None:
        self._version += 1
        _VERSION.pack_into(self._memory, 0, self._version)

    def _get_version(self) -> int:
        version: int = _VERSION.unpack_from(self._memory)[0]
        return version
