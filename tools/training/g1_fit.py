"""Training one member of the G1 policy's ensemble, on one core."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tools.lerobot.dataset import Pixels
from tools.training.g1_data import IMAGE_HEIGHT, IMAGE_WIDTH, Frames
from tools.training.g1_model import IMAGE_MEAN, IMAGE_STD, ChunkNet, Statistics

_BATCH = 128
_RATE = 1e-3
_WARM_STEPS = 100
_DECAY = 0.05
_SHIFT = 2
"""Pixels that pictures are shifted by, at most: the camera never sits quite the same."""
_GAIN, _TINT, _OFFSET = 0.25, 0.1, 25.0


def fit(
    frames: Frames, statistics: Statistics, seed: int, steps: int, report: Callable[[float], object]
) -> ChunkNet:
    """Train for a fixed number of steps; `report` gets the loss (mean absolute error) of each.

    Nothing is chosen by the validation episodes: the last weights are the result.
    """
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    net = ChunkNet(statistics).train()
    net.picture.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    matrices = [value for value in net.parameters() if value.dim() > 1]
    others = [value for value in net.parameters() if value.dim() <= 1]
    groups = [{"params": matrices, "weight_decay": _DECAY}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=_RATE)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, steps))
    joints, chunks = normalised_joints(frames, statistics), torch.from_numpy(frames.chunk)
    for _ in range(steps):
        rows = random.integers(0, len(frames.chunk), _BATCH)
        image = _pictures(_augmented(frames.images[rows], random))
        chosen = torch.from_numpy(rows)
        with torch.autocast("cpu", torch.bfloat16):
            chunk = net(image, *(value[chosen] for value in joints))
        loss = (chunk - chunks[chosen]).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        report(loss.item())
    net.eval()
    return net


def predict(net: nn.Module, frames: Frames, statistics: Statistics) -> NDArray[np.float32]:
    """(n, HORIZON, joints): what the network says at each frame."""
    joints = normalised_joints(frames, statistics)
    chunks = []
    with torch.inference_mode():
        for first in range(0, len(frames.images), _BATCH):
            rows = slice(first, first + _BATCH)
            image = _pictures(frames.images[rows].astype(np.float32))
            chunks.append(net(image, *(value[rows] for value in joints)).numpy())
    return np.concatenate(chunks)


def normalised_joints(frames: Frames, statistics: Statistics) -> tuple[Tensor, Tensor, Tensor]:
    """State, target and target velocity, as the manifest's normalisation makes them."""
    pairs = (
        (frames.state, statistics.state),
        (frames.target, statistics.target),
        (frames.target_velocity, statistics.target_velocity),
    )
    state, target, velocity = (torch.from_numpy((values - mean) / std) for values, (mean, std) in pairs)
    return state, target, velocity


def _rate(step: int, steps: int) -> float:
    """A short rise, then half a cosine down to zero."""
    return min(1.0, (step + 1) / _WARM_STEPS) * 0.5 * (1 + math.cos(math.pi * step / steps))


def _augmented(images: Pixels, random: np.random.Generator) -> NDArray[np.float32]:
    """Pictures shifted, brightened and tinted at random, each in its own way; 0 to 255."""
    count = len(images)
    padded = np.pad(images, ((0, 0), (_SHIFT, _SHIFT), (_SHIFT, _SHIFT), (0, 0)), mode="edge")
    starts = random.integers(0, 2 * _SHIFT + 1, (count, 2))
    moved = np.stack([
        picture[row : row + IMAGE_HEIGHT, column : column + IMAGE_WIDTH]
        for picture, (row, column) in zip(padded, starts, strict=True)
    ])  # fmt: skip
    gain = random.uniform(1 - _GAIN, 1 + _GAIN, (count, 1, 1, 1))
    tint = random.uniform(1 - _TINT, 1 + _TINT, (count, 1, 1, 3))
    offset = random.uniform(-_OFFSET, _OFFSET, (count, 1, 1, 1))
    scale, offset = (gain * tint).astype(np.float32), offset.astype(np.float32)
    return np.clip(moved * scale + offset, 0, 255).astype(np.float32)


def _pictures(images: NDArray[np.float32]) -> Tensor:
    """(n, H, W, 3) of 0 to 255 -> (n, 3, H, W), normalised."""
    mean, std = np.array(IMAGE_MEAN, np.float32), np.array(IMAGE_STD, np.float32)
    return torch.from_numpy((images / np.float32(255) - mean) / std).permute(0, 3, 1, 2)
