"""What episodes leave behind: labelled frames, the way that the robot went, and how it went."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from tools.sim.world import Array

SLOTS = 4  # targets of a world at most; slot SLOTS of `chunks` is for a target that is not there


@dataclass(slots=True)
class Frames:
    """N frames. `names` index NAMES (-1: empty slot), `cells` the cells of the network's map."""

    images: NDArray[np.uint8]  # (N,H,W,3)
    scans: NDArray[np.float32]  # (N,K) [m]
    twists: NDArray[np.float32]  # (N,2)
    names: NDArray[np.int8]  # (N,SLOTS)
    cells: NDArray[np.int16]  # (N,SLOTS)
    distances: NDArray[np.float32]  # (N,SLOTS) to the surface [m]
    chunks: NDArray[np.float16]  # (N,SLOTS+1,HORIZON,2), all of a frame with the same rows that are committed
    committed: NDArray[np.int8]  # (N,) how many
    candidates: NDArray[np.float16]  # (N,C,HORIZON,2) chunks of all sorts, and
    collides: NDArray[np.bool_]  # (N,C) whether following them ends in a collision

    def __len__(self) -> int:
        return len(self.twists)


@dataclass(frozen=True, slots=True)
class Track:
    """The way that the robot went: at each frame its pose and twist, and the command in which the time until
    the next one ended."""

    poses: Array  # (N,3)
    twists: Array  # (N,2)
    done: NDArray[np.float32]  # (N,2)


@dataclass(slots=True)
class Tally:
    """How episodes went: tasks done and not done, and collisions."""

    reached: int = 0
    given_up: int = 0
    collided: int = 0

    def add(self, other: Tally) -> None:
        """Count the other's too."""
        self.reached += other.reached
        self.given_up += other.given_up
        self.collided += other.collided


def join(parts: list[Frames]) -> Frames:
    """All of them, in this order."""
    return Frames(
        *(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Frames))
    )
