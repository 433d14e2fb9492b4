"""From collected frames to training batches: each frame with several instructions."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor

from tools.sim.world import COLOURS, KINDS
from tools.training.demo_frames import SLOTS, Frames
from tools.training.demo_model import (
    ACTION_MEAN,
    ACTION_STD,
    IMAGE_MEAN,
    IMAGE_STD,
    MAP_HEIGHT,
    MAP_WIDTH,
    PREFIX_ROWS,
    SCAN_MEAN_M,
    SCAN_STD_M,
    TWIST_STD,
)
from tools.training.instructions import NAMES, UNKNOWN, token_table

ASKED = 3  # instructions for each frame
_ABSENT_HANDICAP = 0.4  # an absent target is asked for less often than one that is there
_UNKNOWN_SHARE = 0.03


@dataclass(frozen=True, slots=True)
class Batch:
    """B frames with M instructions each; everything normalised as the network takes it."""

    image: Tensor  # (B,3,H,W)
    scan: Tensor  # (B,K)
    odometry: Tensor  # (B,2)
    tokens: Tensor  # (B,M,L)
    prefix: Tensor  # (B,P,2)
    committed: Tensor  # (B,)
    actions: Tensor  # (B*M,HORIZON,2)
    cells: Tensor  # (B*M,)
    distances: Tensor  # (B*M,) [m]
    candidates: Tensor  # (B,C,HORIZON,2)
    collides: Tensor  # (B,C)


class FrameStore:
    """Room for `capacity` frames; batches are drawn from all of them alike."""

    def __init__(self, capacity: int, tokenizer: Tokenizer, seed: int) -> None:
        self._capacity = capacity
        self._frames: Frames | None = None
        self._size = 0
        self._rng = np.random.default_rng(seed)
        self._table = token_table(tokenizer)
        named = [*COLOURS, *KINDS, "sphere", "pillar", "cube"]
        self._named = np.array([tokenizer.token_to_id(word) for word in named])

    def __len__(self) -> int:
        return self._size

    def add(self, frames: Frames) -> None:
        """Keep these frames, as far as there is room."""
        if self._frames is None:
            rooms = (np.empty((self._capacity, *v.shape[1:]), v.dtype) for v in _arrays(frames))
            self._frames = Frames(*rooms)
        end = min(self._size + len(frames), self._capacity)
        for kept, new in zip(_arrays(self._frames), _arrays(frames), strict=True):
            kept[self._size : end] = new[: end - self._size]
        self._size = end

    def batch(self, count: int) -> Batch:
        """`count` frames drawn at random, with ASKED different instructions each."""
        frames, rows = self._frames, self._rng.integers(self._size, size=count)
        assert frames is not None, "add frames first"
        names = frames.names[rows]
        slots = self._slots(names)
        at = (rows[:, None], slots)
        present = np.minimum(slots, SLOTS - 1)
        there = slots < SLOTS
        asked = np.where(there, np.take_along_axis(names, present, axis=1), self._absent(names)[:, None])
        cells = np.where(there, frames.cells[rows[:, None], present], MAP_HEIGHT * MAP_WIDTH)
        return Batch(
            image=self._image(frames.images[rows]),
            scan=torch.from_numpy((frames.scans[rows] - SCAN_MEAN_M) / SCAN_STD_M),
            odometry=torch.from_numpy(frames.twists[rows]) / torch.tensor(TWIST_STD),
            tokens=torch.from_numpy(self._tokens(asked)),
            prefix=_normalised(frames.chunks[rows, SLOTS, :PREFIX_ROWS]),
            committed=torch.from_numpy(frames.committed[rows].astype(np.int64)),
            actions=_normalised(frames.chunks[at]).flatten(0, 1),
            cells=torch.from_numpy(cells.astype(np.int64)).flatten(),
            distances=torch.from_numpy(frames.distances[rows[:, None], present]).flatten(),
            candidates=_normalised(frames.candidates[rows]),
            collides=torch.from_numpy(frames.collides[rows].astype(np.float32)),
        )

    def _slots(self, names: NDArray[np.int8]) -> NDArray[np.int64]:
        """ASKED different slots for each frame; SLOTS stands for an absent target."""
        order = self._rng.random((len(names), SLOTS + 1))
        order[:, :SLOTS][names < 0] = 9.0
        order[:, SLOTS] += _ABSENT_HANDICAP
        return np.argsort(order, axis=1)[:, :ASKED]

    def _absent(self, names: NDArray[np.int8]) -> NDArray[np.int64]:
        """A name for each frame that none of its targets has."""
        drawn = self._rng.integers(len(NAMES), size=len(names))
        while (clash := (names == drawn[:, None]).any(axis=1)).any():
            drawn[clash] = self._rng.integers(len(NAMES), size=int(clash.sum()))
        return drawn

    def _tokens(self, asked: NDArray[np.int64]) -> NDArray[np.int64]:
        """Any wording of each name; words that name nothing are sometimes unknown ones."""
        tokens = self._table[asked, self._rng.integers(self._table.shape[1], size=asked.shape)]
        replaced = (
            (self._rng.random(tokens.shape) < _UNKNOWN_SHARE) & (tokens > 0) & ~np.isin(tokens, self._named)
        )
        return np.where(replaced, UNKNOWN, tokens)

    def _image(self, images: NDArray[np.uint8]) -> Tensor:
        """Pictures in another light: brightness, contrast and tint vary a little."""
        pixels = torch.from_numpy(images).permute(0, 3, 1, 2).to(torch.float32) / 255.0
        gain = self._rng.uniform(0.8, 1.2, (len(images), 1, 1, 1)) * self._rng.uniform(
            0.94, 1.06, (len(images), 3, 1, 1)
        )
        bias = self._rng.uniform(-0.05, 0.05, (len(images), 1, 1, 1))
        pixels = pixels * torch.from_numpy(gain.astype(np.float32)) + torch.from_numpy(
            bias.astype(np.float32)
        )
        return (pixels.clamp(0.0, 1.0) - IMAGE_MEAN) / IMAGE_STD


def _arrays(frames: Frames) -> list[NDArray[np.generic]]:
    return [getattr(frames, field.name) for field in fields(Frames)]


def _normalised(chunks: NDArray[np.float16]) -> Tensor:
    return (torch.from_numpy(chunks.astype(np.float32)) - torch.tensor(ACTION_MEAN)) / torch.tensor(
        ACTION_STD
    )
