"""ONNX Runtime on the CPU.

The threads do not spin: a spinning one would burn the core that the safety tick and ingest need. Inputs are
handed over without a copy; binding inputs and outputs beforehand would save 3 us a run.
"""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as errors

from vlad.policy.backends import BackendError, Description, Model, Tensors, TensorSpec

_DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
    "tensor(uint8)": "uint8",
    "tensor(int8)": "int8",
    "tensor(bool)": "bool",
}

# ONNX Runtime raises these, which have no common base of their own.
_FAILURES = (
    errors.Fail,
    errors.InvalidArgument,
    errors.InvalidGraph,
    errors.InvalidProtobuf,
    errors.NoSuchFile,
    errors.NotImplemented,
    errors.RuntimeException,
    RuntimeError,
    ValueError,
)


class OnnxBackend:
    """A session of ONNX Runtime."""

    def __init__(self, model: Model) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = model.threads
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        self._path = model.path
        try:
            self._session = ort.InferenceSession(str(model.path), options, providers=["CPUExecutionProvider"])
        except _FAILURES as error:
            raise BackendError(
                f"{model.path}: ONNX Runtime cannot load it: {error}; export the model again"
            ) from error
        self._outputs = list(model.outputs)

    def describe(self) -> Description:
        session = self._session
        return Description(
            inputs={node.name: _spec(node) for node in session.get_inputs()},
            outputs={node.name: _spec(node) for node in session.get_outputs()},
            device="cpu",
        )

    def warm_up(self, inputs: Tensors) -> None:
        self.run(inputs)

    def run(self, inputs: Tensors) -> Tensors:
        try:
            outputs = self._session.run(self._outputs, inputs)
        except _FAILURES as error:
            raise BackendError(f"{self._path}: ONNX Runtime failed: {error}") from error
        return {name: np.asarray(value) for name, value in zip(self._outputs, outputs, strict=True)}

    def close(self) -> None:
        del self._session


def load(model: Model) -> OnnxBackend:
    """Load an ONNX file; BackendError where ONNX Runtime refuses it."""
    return OnnxBackend(model)


def _spec(node: ort.NodeArg) -> TensorSpec:
    shape = tuple(size if isinstance(size, int) else None for size in node.shape)
    return TensorSpec(_DTYPES.get(node.type, node.type), shape)
