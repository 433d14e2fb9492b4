"""The G1 policy as a bundle: ONNX export, its check against torch, the data's notice, and the manifest."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from tools.lerobot.dataset import Floats
from tools.lerobot.samples import JOINTS_TOPIC, TARGETS_TOPIC
from tools.training.g1_data import HORIZON, IMAGE_HEIGHT, IMAGE_WIDTH
from tools.training.g1_model import IMAGE_MEAN, IMAGE_STD, Ensemble, Statistics
from tools.training.onnx_traces import forget_traces
from vlad.policy.bundle import write_manifest

CAMERA_TOPIC = "cam_high"
NOTICE = "DATA-LICENSE"
_OPSET = 18
_TOLERANCE = 1e-4
"""Rad; float32 sums in another order differ by a hundredth of it."""
_INPUTS = ("image", "state", "target", "target_velocity")
_TIMED_RUNS = 50


def write_bundle(
    folder: Path,
    net: Ensemble,
    statistics: Statistics,
    robot_type: str,
    joints: tuple[str, ...],
    step_s: float,
    notice: Path,
    provenance: dict[str, Any],
) -> float:
    """Write model.onnx, the data's notice and policy.toml; the model's latency on one thread [s].

    ValueError if ONNX Runtime and torch disagree.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model = folder / "model.onnx"
    example = (torch.randn(1, 3, IMAGE_HEIGHT, IMAGE_WIDTH), *(torch.randn(1, len(joints)) for _ in range(3)))
    torch.onnx.export(
        net, example, str(model), input_names=list(_INPUTS), output_names=["actions"],
        opset_version=_OPSET, dynamo=True, external_data=False, verbose=False,
    )  # fmt: skip
    forget_traces(model)
    latency_s = _check(model, net, example)
    shutil.copyfile(notice, folder / NOTICE)
    manifest = _manifest(statistics, robot_type, joints, step_s)
    write_manifest(folder, {**manifest, "expected_latency_s": latency_s, "provenance": provenance})
    return latency_s


def _check(model: Path, net: Ensemble, example: tuple[torch.Tensor, ...]) -> float:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    feed = dict(zip(_INPUTS, (value.numpy() for value in example), strict=True))
    with torch.inference_mode():
        wanted = net(*example).numpy()
    difference = float(np.abs(session.run(["actions"], feed)[0] - wanted).max())
    if difference > _TOLERANCE:
        raise ValueError(f"{model}: ONNX Runtime and torch differ by {difference:.2g}; "
                         f"the export is broken, try another version of torch or onnx")  # fmt: skip
    times_s = []
    for _ in range(_TIMED_RUNS):
        began_s = time.perf_counter()
        session.run(["actions"], feed)
        times_s.append(time.perf_counter() - began_s)
    return round(float(np.median(times_s)), 5)


def _manifest(
    statistics: Statistics, robot_type: str, joints: tuple[str, ...], step_s: float
) -> dict[str, Any]:
    image = {
        "name": "image", "kind": "image", "signal": CAMERA_TOPIC,
        "shape": [1, 3, IMAGE_HEIGHT, IMAGE_WIDTH], "mean": IMAGE_MEAN, "std": IMAGE_STD,
    }  # fmt: skip
    return {
        "name": "g1",
        "version": "1",
        "robot_type": robot_type,
        "backend": "onnx",
        "precision": "float32",
        "model": "model.onnx",
        "inputs": [
            image,
            _joints("state", JOINTS_TOPIC, "position", joints, statistics.state),
            _joints("target", TARGETS_TOPIC, "position", joints, statistics.target),
            _joints("target_velocity", TARGETS_TOPIC, "velocity", joints, statistics.target_velocity),
        ],
        "output": {
            "name": "actions", "kind": "joint_position", "names": joints, "horizon": HORIZON,
            "step_s": step_s, "mean": np.zeros(len(joints)), "std": np.ones(len(joints)),
        },
    }  # fmt: skip


def _joints(
    name: str, signal: str, field: str, joints: tuple[str, ...], normalisation: tuple[Floats, Floats]
) -> dict[str, Any]:
    mean, std = (_rounded(values) for values in normalisation)
    return {
        "name": name, "kind": "joint_state", "signal": signal, "field": field, "joints": joints,
        "shape": [1, len(joints)], "mean": mean, "std": std,
    }  # fmt: skip


def _rounded(values: Floats) -> NDArray[np.float64]:
    """float32 numbers as short decimals; they read back as the same float32."""
    return np.array([float(str(value)) for value in values])
