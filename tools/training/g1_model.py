"""The G1 policy's network: a small picture branch beside the moving joints, and an ensemble of a few."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from tools.lerobot.dataset import Floats
from tools.training.g1_data import IMAGE_HEIGHT, IMAGE_WIDTH, Frames, moving_joints

IMAGE_MEAN = (0.5, 0.5, 0.5)
IMAGE_STD = (0.25, 0.25, 0.25)
_KEYPOINTS = 16
_HIDDEN = 256
_DROPOUT, _PICTURE_DROPOUT = 0.1, 0.3
_NOISE = 0.3
_FLOOR = 1e-4
"""Below any joint's real spread; keeps a joint that never moves from dividing by zero."""


@dataclass(frozen=True, slots=True)
class Statistics:
    """Means and spreads of the training frames: for the manifest, and for scales inside the network."""

    moving: list[int]
    state: tuple[Floats, Floats]
    target: tuple[Floats, Floats]
    target_velocity: tuple[Floats, Floats]
    lag: tuple[Floats, Floats]
    """Of target - state, for the moving joints."""
    reach: Floats
    """(HORIZON, joints): mean absolute difference of the chunk from the target."""


def measure(frames: Frames) -> Statistics:
    """The statistics of the training frames."""
    moving = moving_joints(frames)
    lag = (frames.target - frames.state)[:, moving]
    return Statistics(
        moving,
        _mean_and_std(frames.state),
        _mean_and_std(frames.target),
        _mean_and_std(frames.target_velocity),
        _mean_and_std(lag),
        np.abs(frames.chunk - frames.target[:, None]).mean(axis=0) + np.float32(_FLOOR),
    )


def _mean_and_std(values: Floats) -> tuple[Floats, Floats]:
    return values.mean(axis=0), values.std(axis=0) + np.float32(_FLOOR)


class PictureBranch(nn.Module):
    """(B, 3, H, W) -> (B, 2 * _KEYPOINTS): where in the picture each feature is (a spatial softmax).

    Levine et al., "End-to-end training of deep visuomotor policies" (2016). So few numbers cannot store which
    episode a picture is from, as a larger branch does.
    """

    rows: Tensor
    columns: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 16, 5, 2, 2), nn.BatchNorm2d(16), nn.ReLU(),
            nn.Conv2d(16, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.ReLU(),
            nn.Conv2d(32, 32, 3, 1, 1), nn.BatchNorm2d(32), nn.ReLU(),
            nn.Conv2d(32, _KEYPOINTS, 1),
        )  # fmt: skip
        height, width = IMAGE_HEIGHT // 4, IMAGE_WIDTH // 4
        rows, columns = torch.meshgrid(
            torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij"
        )
        self.register_buffer("rows", rows.reshape(-1), persistent=False)
        self.register_buffer("columns", columns.reshape(-1), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        weights = functional.softmax(self.layers(image).flatten(2).float(), dim=2)
        return torch.cat([(weights * self.columns).sum(2), (weights * self.rows).sum(2)], dim=1)


class ChunkNet(nn.Module):
    """One network: normalised inputs -> (B, HORIZON, joints) commands in physical units.

    It predicts how the commands leave the target that the motors hold now: holding still is what it does
    where it knows nothing better.
    """

    def __init__(self, statistics: Statistics) -> None:
        super().__init__()
        self.moving = statistics.moving
        for name in ("state", "target", "lag"):
            mean, std = getattr(statistics, name)
            self.register_buffer(f"{name}_mean", torch.from_numpy(mean))
            self.register_buffer(f"{name}_std", torch.from_numpy(std))
        self.register_buffer("reach", torch.from_numpy(statistics.reach))
        self.picture = PictureBranch()
        self.picture_dropout = nn.Dropout(_PICTURE_DROPOUT)
        self.head = nn.Sequential(
            nn.Linear(3 * len(self.moving) + 2 * _KEYPOINTS, _HIDDEN), nn.ReLU(), nn.Dropout(_DROPOUT),
            nn.Linear(_HIDDEN, _HIDDEN), nn.ReLU(), nn.Dropout(_DROPOUT),
            nn.Linear(_HIDDEN, statistics.reach.size),
        )  # fmt: skip

    def forward(self, image: Tensor, state: Tensor, target: Tensor, target_velocity: Tensor) -> Tensor:
        """All inputs as the manifest's preprocessing gives them; in training the joints are made noisy."""
        held = target * self._buffer("target_std") + self._buffer("target_mean")
        measured = state * self._buffer("state_std") + self._buffer("state_mean")
        lag = ((held - measured)[:, self.moving] - self._buffer("lag_mean")) / self._buffer("lag_std")
        joints = torch.cat([state[:, self.moving], lag, target_velocity[:, self.moving]], dim=1)
        if self.training:
            joints = joints + _NOISE * torch.rand(len(joints), 1) * torch.randn_like(joints)
        picture = self.picture_dropout(self.picture(image))
        reach = self._buffer("reach")
        change = self.head(torch.cat([joints, picture], dim=1)).reshape(-1, *reach.shape)
        return cast(Tensor, held[:, None] + change * reach)

    def _buffer(self, name: str) -> Tensor:
        return self.get_buffer(name)


class Ensemble(nn.Module):
    """The mean of several networks."""

    def __init__(self, members: Iterable[ChunkNet]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, image: Tensor, state: Tensor, target: Tensor, target_velocity: Tensor) -> Tensor:
        chunks = [member(image, state, target, target_velocity) for member in self.members]
        return torch.stack(chunks).mean(dim=0)
