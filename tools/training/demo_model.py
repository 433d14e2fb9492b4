"""The demo policy's network: what to look for is a query over what the camera sees.

A small convolution net makes a map of features; the instruction becomes a query; attention over the map
(with one extra cell for "not in view") says where the target is. That, the laser scan and the odometry make
the chunk. The second head follows the chunk through the scan's points: how likely does it end in a collision?

A network with `prefix_rows` is also told what will be done until its answer is there, repeats that, and goes
on from where it leads: Black et al. 2025, "Training-Time Action Conditioning for Efficient Real-Time
Chunking", arXiv 2512.05964.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from tools.training.expert import HORIZON, STEP_S

IMAGE_HEIGHT, IMAGE_WIDTH = 96, 128
MAP_HEIGHT, MAP_WIDTH = 24, 32
IMAGE_MEAN, IMAGE_STD = 0.5, 0.25
SCAN_BEAMS = 90
SCAN_MEAN_M, SCAN_STD_M = 3.0, 1.5
TWIST_STD = (0.5, 1.0)
FOLLOWED = 10  # steps of a chunk that may be followed before it is too old: the risk is that of these
ACTION_MEAN, ACTION_STD = (0.2, 0.0), (0.3, 0.7)
PREFIX_ROWS = 8

_CHANNELS = 64
_HEADS = 4
_WORD = 32
_CLEARANCE_SCALE_M = 0.3
_BEFORE = 128 + 128 + 2  # what the chunk is made of without a prefix


@dataclass(frozen=True, slots=True)
class Output:
    """For each of B instructions: the chunk (B,H,2), normalised; where the target is, as log probabilities
    (B,cells+1), the last for "not in view"; its distance (B,) [m]."""

    actions: Tensor
    where: Tensor
    distance: Tensor


class DemoNet(nn.Module):
    """Inputs as in the bundle's manifest, normalised; `forward` is the graph that is exported."""

    cells: Tensor
    beams: Tensor

    def __init__(self, vocabulary: int, prefix_rows: int = 0) -> None:
        super().__init__()
        self.prefix_rows = prefix_rows
        self.eye = nn.Sequential(
            _convolution(3, 16, 5, 2),
            _convolution(16, 32, 3, 2),
            _convolution(32, 48, 3, 1),
            _convolution(48, _CHANNELS, 3, 1),
        )
        self.key = nn.Conv2d(_CHANNELS, _CHANNELS * 2, 1)
        self.word = nn.Embedding(vocabulary, _WORD, padding_idx=0)
        self.weight = nn.Embedding(vocabulary, 1, padding_idx=0)
        self.query = nn.Sequential(nn.Linear(_WORD, 128), nn.ReLU(), nn.Linear(128, _HEADS * (_CHANNELS + 1)))
        self.scan = nn.Sequential(
            nn.Conv1d(1, 16, 5, padding=2, padding_mode="circular"), nn.ReLU(),
            nn.Conv1d(16, 32, 5, 2, padding=2, padding_mode="circular"), nn.ReLU(),
            nn.Conv1d(32, 32, 5, 2, padding=2, padding_mode="circular"), nn.ReLU(),
            nn.Flatten(), nn.Linear(32 * 23, 128), nn.ReLU(),
        )  # fmt: skip
        self.look = nn.Sequential(nn.Linear(_HEADS * (_CHANNELS + 3), 128), nn.ReLU())
        self.range = nn.Linear(128, 1)
        self.act = nn.Sequential(
            nn.Linear(_BEFORE + (3 * prefix_rows + 3 if prefix_rows else 0), 256),
            nn.ReLU(),
            nn.Linear(256, 256),
            nn.ReLU(),
            nn.Linear(256, HORIZON * 2),
        )
        self.risk = nn.Sequential(
            nn.Linear(FOLLOWED * 3 + 2, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1)
        )
        columns = torch.linspace(-1, 1, MAP_WIDTH).repeat(MAP_HEIGHT)
        rows = torch.linspace(-1, 1, MAP_HEIGHT).repeat_interleave(MAP_WIDTH)
        self.register_buffer("cells", torch.stack([columns, rows]))
        angles = -math.pi + (torch.arange(SCAN_BEAMS) + 0.5 - 0.5 / 4) * (math.tau / SCAN_BEAMS)
        self.register_buffer("beams", torch.stack([angles.cos(), angles.sin()]))

    def forward(
        self,
        image: Tensor,
        scan: Tensor,
        odometry: Tensor,
        tokens: Tensor,
        prefix: Tensor | None = None,
        committed: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Chunk (1,H,2), normalised, and collision probability (1,1)."""
        actions = self.policy(image, scan, odometry, tokens[:, None], prefix, committed).actions
        return actions, torch.sigmoid(self.collision(actions, scan, odometry))

    def policy(
        self,
        image: Tensor,
        scan: Tensor,
        odometry: Tensor,
        tokens: Tensor,
        prefix: Tensor | None = None,
        committed: Tensor | None = None,
    ) -> Output:
        """For each of B frames and each of its M instructions (tokens (B,M,L)): B*M rows, frame by frame.

        Each chunk begins with the first `committed` (B,) rows of `prefix` (B,P,2), normalised like itself; of
        the other rows nothing is known. A network without `prefix_rows` looks at neither.
        """
        frames, asked = tokens.shape[0], tokens.shape[1]
        keys, values = self.key(self.eye(image)).flatten(2).chunk(2, dim=1)
        values = torch.cat([values, self.cells.expand(frames, -1, -1)], dim=1)
        query = self.query(self._sentence(tokens)).view(frames, asked * _HEADS, _CHANNELS + 1)
        seen = torch.bmm(query[..., :-1], keys) / math.sqrt(_CHANNELS)
        where = torch.log_softmax(torch.cat([seen, query[..., -1:]], dim=-1), dim=-1)
        weights = where.exp()
        found = torch.cat([torch.bmm(weights[..., :-1], values.transpose(1, 2)), weights[..., -1:]], dim=-1)
        look = self.look(found.view(frames * asked, -1))
        around = torch.cat([self.scan(scan[:, None]), odometry], dim=1)
        if self.prefix_rows:
            assert prefix is not None
            assert committed is not None
            kept = torch.arange(self.prefix_rows) < committed[:, None]
            around = torch.cat([around, self._known(prefix, kept)], dim=1)
        around = around[:, None].expand(-1, asked, -1).reshape(frames * asked, -1)
        actions = self.act(torch.cat([look, around], dim=1)).view(-1, HORIZON, 2)
        if prefix is not None and self.prefix_rows:
            first, rest = actions.split([self.prefix_rows, HORIZON - self.prefix_rows], dim=1)
            repeats, rows = (given.repeat_interleave(asked, 0) for given in (kept[..., None], prefix))
            actions = torch.cat([torch.where(repeats, rows, first), rest], dim=1)
        attended = where.view(frames * asked, _HEADS, -1)[:, 0]
        return Output(actions, attended, self.range(look)[:, 0])

    def collision(self, actions: Tensor, scan: Tensor, odometry: Tensor) -> Tensor:
        """Logits (B,1) that following these chunks (B,H,2) ends in a collision."""
        actions = actions[:, :FOLLOWED]
        clearance = self.clearance(actions, scan) / _CLEARANCE_SCALE_M
        known = [clearance.clamp(max=5.0), actions.flatten(1), odometry]
        return cast(Tensor, self.risk(torch.cat(known, dim=1)))

    def clearance(self, actions: Tensor, scan: Tensor) -> Tensor:
        """From the robot's centre on its way along these chunks (B,H,2) to what the scan shows: (B,H) [m]."""
        x, y, _ = _way(_twist(actions))
        ranges = scan * SCAN_STD_M + SCAN_MEAN_M
        to_x = ranges[:, None] * self.beams[0] - x[..., None]
        to_y = ranges[:, None] * self.beams[1] - y[..., None]
        return (to_x.square() + to_y.square() + 1e-6).amin(dim=2).sqrt()

    def _known(self, prefix: Tensor, kept: Tensor) -> Tensor:
        """The rows of the prefix that are kept (B,P), which these are, and the pose that they lead to."""
        rows = kept[..., None] * prefix
        x, y, yaw = _way(kept[..., None] * _twist(prefix))
        end = torch.stack([x[:, -1], y[:, -1], yaw[:, -1]], dim=1)
        return torch.cat([rows.flatten(1), kept.to(rows.dtype), end], dim=1)

    def _sentence(self, tokens: Tensor) -> Tensor:
        """The meaning (..., words) of an instruction: its words, each as loud as its weight."""
        loud = self.weight(tokens)[..., 0].masked_fill(tokens == 0, -1e4)
        meaning = functional.softmax(loud, dim=-1)[..., None] * self.word(tokens)
        return cast(Tensor, meaning.sum(dim=-2))


def _twist(actions: Tensor) -> Tensor:
    """Normalised actions (...,2) as speeds [m/s, rad/s]."""
    return actions * torch.tensor(ACTION_STD) + torch.tensor(ACTION_MEAN)


def _way(twist: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """x, y [m] and yaw [rad], each (B,H), after each row of these speeds (B,H,2)."""
    yaw = torch.cumsum(twist[..., 1], dim=1) * STEP_S
    x = torch.cumsum(twist[..., 0] * yaw.cos(), dim=1) * STEP_S
    y = torch.cumsum(twist[..., 0] * yaw.sin(), dim=1) * STEP_S
    return x, y, yaw


def _convolution(inputs: int, outputs: int, size: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )
