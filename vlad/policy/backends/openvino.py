"""OpenVINO on the CPU: its own IR (.xml with .bin beside it) or ONNX.

It would choose bfloat16 by itself where the CPU has it: the precision is always that of the manifest. Its
threads are not pinned, for they would take the core that the safety tick and ingest need. Inputs are bound
once, without a copy: the arrays stay the same from run to run.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Imported, OpenVINO tells its maker so over the network, unless the package that does it is not to be found.
# A robot's daemon talks to nobody whom its owner did not name.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

import openvino as ov  # noqa: E402

from vlad.policy.backends import BackendError, Description, Model, Tensors, TensorSpec  # noqa: E402

_PRECISIONS = {"float16": ("f16", "FP16"), "bfloat16": ("bf16", "BF16")}
"""The manifest's precision -> its name here, and that of a CPU's ability. All else is done in float32; a
quantised model says by itself which parts of it are int8."""

_FORMATS = (".xml", ".onnx")


class OpenvinoBackend:
    """One compiled model and one request of it."""

    def __init__(self, model: Model) -> None:
        self._path = model.path
        if model.path.suffix not in _FORMATS:
            raise BackendError(
                f"{model.path}: is neither .xml nor .onnx; give OpenVINO one of these, named so in `model`"
            )
        try:
            core = ov.Core()
            self._compiled = core.compile_model(str(model.path), "CPU", _options(core, model))
        except RuntimeError as error:
            raise BackendError(
                f"{model.path}: OpenVINO cannot load it: {error}; export the model again"
            ) from error
        self._request = self._compiled.create_infer_request()
        self._names = frozenset(port.any_name for port in self._compiled.inputs)
        self._outputs = model.outputs
        self._bound: dict[str, NDArray[Any]] = {}

    def describe(self) -> Description:
        return Description(
            inputs={port.any_name: _spec(port) for port in self._compiled.inputs},
            outputs={name: _spec(port) for port in self._compiled.outputs for name in port.names},
            device="cpu",
        )

    def warm_up(self, inputs: Tensors) -> None:
        self.run(inputs)

    def run(self, inputs: Tensors) -> Tensors:
        try:
            self._bind(inputs)
            self._request.infer()
            return {name: self._request.get_tensor(name).data.copy() for name in self._outputs}
        except (RuntimeError, ValueError) as error:
            raise BackendError(f"{self._path}: OpenVINO failed: {error}") from error

    def close(self) -> None:
        self._bound.clear()
        del self._request, self._compiled

    def _bind(self, inputs: Tensors) -> None:
        """Let the request read these arrays, where it does not yet."""
        if absent := self._names - inputs.keys():
            raise BackendError(f"{self._path}: OpenVINO got no input {', '.join(sorted(absent))}")
        for name in self._names:
            array = inputs[name]
            if array is not self._bound.get(name):
                self._request.set_tensor(name, ov.Tensor(array, shared_memory=True))
                self._bound[name] = array


def load(model: Model) -> OpenvinoBackend:
    """Load an IR or an ONNX file; BackendError where OpenVINO refuses it."""
    return OpenvinoBackend(model)


def _options(core: ov.Core, model: Model) -> dict[str, Any]:
    """A CPU that lacks the precision would take another, less precise one: float32 is never that."""
    precision, capability = _PRECISIONS.get(model.precision, ("f32", "FP32"))
    if capability not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        precision = "f32"
    return {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": model.threads,
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,
    }


def _spec(port: ov.ConstOutput) -> TensorSpec:
    shape = tuple(size.get_length() if size.is_static else None for size in port.partial_shape)
    return TensorSpec(np.dtype(port.element_type.to_dtype()).name, shape)
