"""Small real bundles: ONNX models made node by node, whose answers can be worked out by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from vlad.config import SignalSettings
from vlad.messages import Image, Instruction, LaserScan, Sample
from vlad.policy.bundle import write_manifest
from vlad.robot import Robot

HORIZON = 4
NAMES = ("linear_x", "angular_z")
WORDS = {"[PAD]": 0, "go": 1, "to": 2, "the": 3, "red": 4, "ball": 5, "[UNK]": 6}

SIGNALS = {
    "camera": SignalSettings(type="image"),
    "laser": SignalSettings(type="laser_scan"),
    "instruction": SignalSettings(type="instruction"),
}
ROBOT = Robot.model_validate({
    "name": "rover",
    "type": "rover",
    "command": "twist",
    "axes": {name: {"velocity": 1.0, "acceleration": 1.0} for name in NAMES},
})  # fmt: skip


def manifest(**changes: Any) -> dict[str, Any]:
    """The manifest of `make_bundle`, with some of its keys changed."""
    return {
        "name": "tiny",
        "version": "1",
        "robot_type": "rover",
        "backend": "onnx",
        "precision": "float32",
        "model": "model.onnx",
        "expected_latency_s": 0.001,
        "inputs": [image_input(), laser_input(), instruction_input()],
        "output": output(),
    } | changes


def image_input(**changes: Any) -> dict[str, Any]:
    return {
        "name": "image", "kind": "image", "signal": "camera", "shape": [1, 3, 6, 8],
        "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25],
    } | changes  # fmt: skip


def laser_input(**changes: Any) -> dict[str, Any]:
    return {
        "name": "scan", "kind": "laser_scan", "signal": "laser", "shape": [1, 4], "range_max_m": 6.0,
        "mean": [3.0], "std": [1.5],
    } | changes  # fmt: skip


def instruction_input(**changes: Any) -> dict[str, Any]:
    return {
        "name": "tokens", "kind": "instruction", "signal": "instruction", "shape": [1, 5],
        "tokenizer": "tokenizer.json",
    } | changes  # fmt: skip


def output(**changes: Any) -> dict[str, Any]:
    return {
        "name": "actions", "kind": "twist", "names": list(NAMES), "horizon": HORIZON, "step_s": 0.1,
        "mean": [1.0, 2.0], "std": [0.5, 4.0], "collision": "collision",
    } | changes  # fmt: skip


def write_model(path: Path, plan: np.ndarray | None = None, **shapes: list[int]) -> None:
    """actions = plan + mean(image), collision = sigmoid(mean(scan)) whatever the tokens are."""
    shapes = {"image": [1, 3, 6, 8], "scan": [1, 4], "tokens": [1, 5]} | shapes
    plan = np.zeros((1, HORIZON, 2), np.float32) if plan is None else plan
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["brightness"], keepdims=0),
        helper.make_node("Add", ["plan", "brightness"], ["actions"]),
        helper.make_node("ReduceMean", ["scan"], ["nearness"], axes=[1], keepdims=1),
        helper.make_node("Sigmoid", ["nearness"], ["collision"]),
    ]
    types = {"tokens": TensorProto.INT64}
    graph = helper.make_graph(
        nodes,
        "tiny",
        [
            helper.make_tensor_value_info(name, types.get(name, TensorProto.FLOAT), shape)
            for name, shape in shapes.items()
        ],
        [
            helper.make_tensor_value_info("actions", TensorProto.FLOAT, list(plan.shape)),
            helper.make_tensor_value_info("collision", TensorProto.FLOAT, [1, 1]),
        ],
        [numpy_helper.from_array(plan, "plan")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def write_tokenizer(path: Path) -> None:
    tokenizer = Tokenizer(models.WordLevel(WORDS, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(path))


def make_bundle(folder: Path, plan: np.ndarray | None = None, **changes: Any) -> Path:
    """A whole bundle in `folder`, which is made."""
    folder.mkdir(parents=True)
    write_model(folder / "model.onnx", plan)
    write_tokenizer(folder / "tokenizer.json")
    write_manifest(folder, manifest(**changes))
    return folder


def sample(topic: str, data: Any, stamp_ns: int = 1_000, seq: int = 0) -> Sample:
    return Sample(topic, seq, stamp_ns, stamp_ns, "", data)


def observations(stamp_ns: int = 1_000, level: int = 0, text: str = "go to the ball") -> dict[str, Sample]:
    """One sample of each input: a grey image, a laser that sees 3 m everywhere, an instruction."""
    return {
        "camera": sample("camera", Image("rgb8", np.full((12, 16, 3), level, np.uint8)), stamp_ns),
        "laser": sample("laser", LaserScan(0, 1, 0, 8, np.full(8, 3.0, np.float32)), stamp_ns - 500),
        "instruction": sample("instruction", Instruction(text), 1),
    }
