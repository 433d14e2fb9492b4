"""The demo policy as a bundle: ONNX export, its check against torch, and the manifest."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from tokenizers import Tokenizer

from tools.training.demo_data import SCAN_RANGE_M
from tools.training.demo_model import (
    ACTION_MEAN,
    ACTION_STD,
    IMAGE_HEIGHT,
    IMAGE_MEAN,
    IMAGE_STD,
    IMAGE_WIDTH,
    SCAN_BEAMS,
    SCAN_MEAN_M,
    SCAN_STD_M,
    TWIST_STD,
    DemoNet,
)
from tools.training.expert import HORIZON, STEP_S
from tools.training.instructions import LENGTH
from tools.training.onnx_traces import forget_traces
from vlad.policy.bundle import write_manifest

_OPSET = 18
_TOLERANCE = 1e-3


def write_bundle(folder: Path, net: DemoNet, tokenizer: Tokenizer, provenance: dict[str, Any]) -> None:
    """Write model.onnx, tokenizer.json and policy.toml. ValueError if ONNX Runtime and torch disagree."""
    folder.mkdir(parents=True, exist_ok=True)
    model = folder / "model.onnx"
    example: dict[str, torch.Tensor] = {
        "image": torch.randn(1, 3, IMAGE_HEIGHT, IMAGE_WIDTH), "scan": torch.randn(1, SCAN_BEAMS),
        "odometry": torch.randn(1, 2), "tokens": torch.randint(1, tokenizer.get_vocab_size(), (1, LENGTH)),
    }  # fmt: skip
    if net.prefix_rows:
        example |= {"prefix": torch.randn(1, net.prefix_rows, 2), "committed": torch.tensor([3])}
    torch.onnx.export(
        net, tuple(example.values()), str(model), input_names=list(example),
        output_names=["actions", "collision"], opset_version=_OPSET, dynamo=True, external_data=False,
        verbose=False,
    )  # fmt: skip
    forget_traces(model)
    latency_s = _check(model, net, example)
    tokenizer.save(str(folder / "tokenizer.json"))
    write_manifest(folder, _manifest(latency_s, net.prefix_rows, provenance))


def _check(model: Path, net: DemoNet, example: dict[str, torch.Tensor]) -> float:
    """The model's latency on one thread [s], after a comparison with torch."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    feed = {name: value.numpy() for name, value in example.items()}
    with torch.inference_mode():
        expected = net(*example.values())
    for name, mine, theirs in zip(("actions", "collision"), expected, session.run(None, feed), strict=True):
        error = float(np.abs(mine.numpy() - theirs).max())
        if error > _TOLERANCE:
            raise ValueError(f"{model}: output {name!r} differs from torch by {error:.2g}; try another opset")
    times = []
    for _ in range(50):
        begun = time.perf_counter()
        session.run(None, feed)
        times.append(time.perf_counter() - begun)
    return float(np.median(times))


def _manifest(latency_s: float, prefix_rows: int, provenance: dict[str, Any]) -> dict[str, Any]:
    prefix = {"name": "prefix", "kind": "prefix", "shape": [1, prefix_rows, 2], "length": "committed"}
    return {
        "schema": 1,
        "name": "demo-rtc" if prefix_rows else "demo",
        "version": "1",
        "robot_type": "rover",
        "backend": "onnx",
        "precision": "float32",
        "model": "model.onnx",
        "expected_latency_s": round(max(latency_s, 0.001), 4),
        "inputs": [
            {
                "name": "image", "kind": "image", "signal": "camera",
                "shape": [1, 3, IMAGE_HEIGHT, IMAGE_WIDTH], "mean": [IMAGE_MEAN] * 3, "std": [IMAGE_STD] * 3,
            },
            {
                "name": "scan", "kind": "laser_scan", "signal": "laser", "shape": [1, SCAN_BEAMS],
                "range_max_m": SCAN_RANGE_M, "mean": [SCAN_MEAN_M], "std": [SCAN_STD_M],
            },
            {
                "name": "odometry", "kind": "odometry", "signal": "odometry",
                "fields": ["linear_x", "angular_z"], "shape": [1, 2],
                "mean": [0.0, 0.0], "std": list(TWIST_STD),
            },
            {
                "name": "tokens", "kind": "instruction", "signal": "instruction", "shape": [1, LENGTH],
                "tokenizer": "tokenizer.json",
            },
            *([prefix] if prefix_rows else []),
        ],
        "output": {
            "name": "actions", "kind": "twist", "names": ["linear_x", "angular_z"], "horizon": HORIZON,
            "step_s": STEP_S, "mean": list(ACTION_MEAN), "std": list(ACTION_STD), "collision": "collision",
        },
        "provenance": provenance,
    }  # fmt: skip
