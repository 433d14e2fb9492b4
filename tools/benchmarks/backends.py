"""The demo policy in each local backend, with the same model in the bare runtime beside it.

What is quantised is compared on what the policy sees in the simulator: it was calibrated for that.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from tools.benchmarks.rig import ROOT
from tools.training.demo_quantize import (
    CALIBRATION_WORLDS,
    CHECK_WORLDS,
    Observation,
    halve,
    quantize,
    quantize_program,
    sightings,
)
from tools.training.demo_restore import example, without_wrapped_padding, write_torch
from vlad.policy.backends import Backend, Model, Tensors, load_backend
from vlad.policy.backends.torch import TorchBackend

MODEL = ROOT / "tools/models/demo/1/model.onnx"
OUTPUTS = ("actions", "collision")
TOLERANCE = {"float32": 1e-5, "bfloat16": 2e-2, "float16": 2e-2, "int8": 1e-1}
PRECISIONS = {
    "onnx": ("float32", "float16", "int8"),
    "openvino": ("float32", "bfloat16", "float16", "int8"),
    "export": ("float32", "bfloat16", "int8"),
    "script": ("float32",),
    "aot": ("float32",),
}


@dataclass(frozen=True, slots=True)
class Case:
    """A loaded backend, and a call of the same model without it on the same inputs."""

    backend: Backend
    bare: Callable[[], object]
    trials: Sequence[Observation]

    def run(self) -> Tensors:
        return self.backend.run(self.trials[0])

    def error(self) -> float:
        """The largest difference from ONNX Runtime in float32."""
        exact = load_backend("onnx", Model(MODEL, "float32", OUTPUTS, threads=1))
        self.backend.warm_up(self.trials[0])
        pairs = [(self.backend.run(inputs), exact.run(inputs)) for inputs in self.trials]
        exact.close()
        return max(float(np.abs(mine[name] - its[name]).max()) for mine, its in pairs for name in OUTPUTS)

    def close(self) -> None:
        self.backend.close()


@dataclass(frozen=True, slots=True)
class Models:
    """A folder with the demo policy in its forms, written when they are asked for."""

    folder: Path

    def case(self, name: str, precision: str) -> Case:
        path = self._write(name, precision)
        kind = name if name in ("onnx", "openvino") else "torch"
        backend = load_backend(kind, Model(path, precision, OUTPUTS, threads=1))
        trials = _seen(CHECK_WORLDS) if precision == "int8" else [example(MODEL)]
        inputs = trials[0]
        bare = _BARE[name](path, inputs, precision) if name in _BARE else _torch(backend, inputs, precision)
        return Case(backend, bare, trials)

    def _write(self, name: str, precision: str) -> Path:
        suffix = "onnx" if name in ("onnx", "openvino") else "pt2"
        path = self.folder / f"{name}-{precision}.{suffix}"
        match name, precision:
            case "onnx", "float32":
                return MODEL
            case "onnx", "float16":
                halve(MODEL, path)
            case "onnx", _:
                quantize(MODEL, path, _seen(CALIBRATION_WORLDS))
            case "openvino", "int8":
                quantize(self._write(name, "float32"), path, _seen(CALIBRATION_WORLDS))
            case "openvino", _:
                without_wrapped_padding(MODEL, path)
            case _, "int8":
                quantize_program(MODEL, path, example(MODEL))
            case _:
                write_torch(MODEL, name, path)
        return path


@functools.cache
def _seen(worlds: tuple[int, ...]) -> list[Observation]:
    return sightings(worlds, 48)


@contextlib.contextmanager
def demo_models() -> Iterator[Models]:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        yield Models(Path(folder))


def _onnx(path: Path, inputs: Tensors, precision: str) -> Callable[[], object]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(OUTPUTS, inputs)


def _openvino(path: Path, inputs: Tensors, precision: str) -> Callable[[], object]:
    ov = importlib.import_module("openvino")  # the backend has imported it, and kept it from reporting
    able = ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    hint, ability = {"bfloat16": ("bf16", "BF16"), "float16": ("f16", "FP16")}.get(precision, ("f32", "FP32"))
    hint = hint if ability in able else "f32"
    options = {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": 1, "ENABLE_CPU_PINNING": False}
    request = ov.Core().compile_model(path, "CPU", options).create_infer_request()
    for name, array in inputs.items():
        request.set_tensor(name, ov.Tensor(array, shared_memory=True))
    return lambda: request.infer()


def _torch(backend: Backend, inputs: Tensors, precision: str) -> Callable[[], object]:
    """The backend's own model: a second copy differs by 50 us, one way or the other, by where it lies."""
    assert isinstance(backend, TorchBackend)
    network, half = backend._network, precision == "bfloat16"
    tensors = [torch.from_numpy(inputs[name]) for name in network.inputs]

    def bare() -> object:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=half):
            return network.call([*tensors])

    return bare


_BARE = {"onnx": _onnx, "openvino": _openvino}
