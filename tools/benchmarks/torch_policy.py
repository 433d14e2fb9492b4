"""The benchmarks' policy as an exported program of torch."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from tools.benchmarks.rig import HORIZON, write_camera_bundle


class _Network(nn.Module):
    """As the nodes of the ONNX model are: the image and the products change nothing."""

    plan: Tensor
    weights: Tensor

    def __init__(self, rounds: int, twist: tuple[float, float]) -> None:
        super().__init__()
        self._rounds = rounds
        self.register_buffer("plan", torch.tensor(twist).repeat(1, HORIZON, 1))
        self.register_buffer("weights", torch.randn(512, 512) * 0.01)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        product = torch.ones(512, 512) + image.mean()
        for _ in range(self._rounds):
            product = product @ self.weights
        return {"actions": self.plan + 0.0 * product.mean()}


def write_torch_policy(
    folder: Path,
    signal_name: str,
    size: int,
    rounds: int,
    twist: tuple[float, float] = (0.05, 0.05),
    version: str = "1",
) -> Path:
    """As `write_policy`, for the backend torch."""
    folder.mkdir(parents=True)
    torch.manual_seed(0)
    program = torch.export.export(_Network(rounds, twist).eval(), (torch.zeros(1, 3, size, size),))
    torch.export.save(program, folder / "model.pt2")
    return write_camera_bundle(folder, "torch", "model.pt2", signal_name, size, rounds, version)
