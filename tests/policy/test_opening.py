"""What opening a bundle counts as its memory: real models, in a process that keeps what was freed."""

import json
import subprocess
import sys

import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

from tests.policy.bundles import make_bundle, manifest
from tests.policy.torch_models import Tiny, make_torch_bundle
from vlad.policy.backends.torch_memory import most_in_use
from vlad.policy.bundle import write_manifest

NUMBERS = 1_500_000
LARGE_MB = NUMBERS * 4 / 1e6
"""What the largest tensor in between takes."""

OPEN = """
import json, sys
from pathlib import Path
import numpy as np
from tests.policy.bundles import SIGNALS
from vlad import realtime
from vlad.clock import SystemClock
from vlad.config import Settings
from vlad.policy.bundle import BundleRefused, load_bundle
from vlad.policy.opening import open_policy

realtime.lock_memory()
bundle = load_bundle(Path(sys.argv[1]))
for budget_mb in (0, int(sys.argv[2])):
    settings = Settings.model_validate(
        {"robot": {"limits": "none.toml"}, "signals": SIGNALS, "policy": {"memory_mb": budget_mb}}
    )
    try:
        policy = open_policy(bundle, settings, SystemClock())
    except BundleRefused as refused:
        print(json.dumps({"refused": str(refused)}))
    else:
        print(json.dumps({"memory_mb": policy.memory_mb}))
        policy.close()
        del policy
    np.ones(100_000_000, np.uint8)
"""


class Wide(Tiny):
    """As Tiny, by way of a large tensor."""

    def forward(self, image, scan, tokens):
        wide = torch.sigmoid(image.mean().repeat(NUMBERS)).mean()
        return super().forward(image + 0 * wide, scan, tokens)


class Heavy(Tiny):
    """As Tiny, with a large parameter."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(NUMBERS))

    def forward(self, image, scan, tokens):
        return super().forward(image + self.weight[:1], scan, tokens)


def wide_onnx(folder):
    """The tiny policy of bundles.py, by way of a large tensor."""
    make_bundle(folder)
    model = onnx.load(folder / "model.onnx")
    nodes = model.graph.node
    nodes[1].input[1] = "brightness too"
    wide = [
        helper.make_node("Expand", ["brightness", "numbers"], ["wide"]),
        helper.make_node("Erf", ["wide"], ["wider"]),
        helper.make_node("ReduceMax", ["wider"], ["most"], keepdims=0),
        helper.make_node("Mul", ["most", "nothing"], ["zero"]),
        helper.make_node("Add", ["brightness", "zero"], ["brightness too"]),
    ]
    for node in reversed(wide):
        nodes.insert(1, node)
    shape = helper.make_tensor("numbers", TensorProto.INT64, [1], [NUMBERS])
    zero = helper.make_tensor("nothing", TensorProto.FLOAT, [], [0.0])
    model.graph.initializer.extend([shape, zero])
    onnx.save(model, folder / "model.onnx")


def make(folder, kind):
    if kind in ("onnx", "openvino"):
        wide_onnx(folder)
        write_manifest(folder, manifest(backend=kind))
    else:
        make_torch_bundle(folder, Wide() if kind == "torch" else Heavy())
    return folder


def opened(folder, budget_mb=0):
    """What became of it when it was opened again, in a process that keeps memory that was freed."""
    words = [sys.executable, "-c", OPEN, str(folder), str(budget_mb)]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=120)
    return json.loads(done.stdout.splitlines()[1])


@pytest.mark.parametrize("kind", ["onnx", "openvino", "torch", "parameters"])
def test_parameters_and_activations_count_also_where_they_lie_in_memory_that_was_in_use_before(
    tmp_path, kind
):
    takes_mb = opened(make(tmp_path / "tiny" / "1", kind))["memory_mb"]
    assert LARGE_MB <= takes_mb < 10 * LARGE_MB


def test_activations_over_the_budget_are_refused(tmp_path):
    refused = opened(make(tmp_path / "tiny" / "1", "torch"), budget_mb=5)["refused"]
    assert "and may take 5.0" in refused


def test_what_torch_has_at_a_time_counts_once_and_what_it_gave_back_in_between_does_not(monkeypatch):
    def run():
        for _ in range(3):
            torch.ones(1_000_000) + 1

    assert 8e6 <= most_in_use(run) < 8.1e6
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    assert most_in_use(run) == 0
