"""The tiny policy of bundles.py as programs of torch."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from tests.policy.bundles import make_bundle, manifest
from vlad.policy.bundle import write_manifest


class Tiny(nn.Module):
    """As bundles.write_model: actions = plan + mean(image), collision = sigmoid(mean(scan))."""

    def __init__(self, form: type = tuple, plan: float = 0.0) -> None:
        super().__init__()
        self.form, self.plan = form, plan

    def forward(self, image: Tensor, scan: Tensor, tokens: Tensor) -> object:
        actions = torch.full((1, 4, 2), self.plan) + image.mean()
        collision = torch.sigmoid(scan.mean(dim=1, keepdim=True))
        if self.form is dict:
            return {"extra": scan, "collision": collision, "actions": actions}
        return (actions, collision) if self.form is tuple else (actions, collision, scan)


def make_torch_bundle(folder: Path, net: nn.Module, version: str = "1") -> Path:
    """A whole bundle in `folder`, which is made, with `net` as an exported program."""
    make_bundle(folder)
    arguments = (torch.zeros(1, 3, 6, 8), torch.zeros(1, 4), torch.zeros(1, 5, dtype=torch.int64))
    torch.export.save(torch.export.export(net, arguments), folder / "model.pt2")
    (folder / "model.onnx").unlink()
    write_manifest(folder, manifest(backend="torch", model="model.pt2", version=version))
    return folder
