"""ONNX Runtime, with the providers that the settings name.

The threads do not spin: a spinning one would burn the core that the safety tick and ingest need. Inputs are
bound once, without a copy: the arrays stay the same from run to run. Outputs come to the host by themselves.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as errors

from vlad.policy.backends import BackendError, Description, Model, Tensors, TensorSpec

_PROVIDERS = {
    "cpu": ("CPUExecutionProvider", "onnxruntime"),
    "cuda": ("CUDAExecutionProvider", "onnxruntime-gpu"),
    "tensorrt": ("TensorrtExecutionProvider", "onnxruntime-gpu"),
    "openvino": ("OpenVINOExecutionProvider", "onnxruntime-openvino"),
}
"""The setting -> ONNX Runtime's name of the provider, and the package that has it."""

_ON_GPU = frozenset({"cuda", "tensorrt"})

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
    errors.EPFail,
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

_MIB = 1 << 20
_SAME_AS_REQUESTED = 1
"""ONNX Runtime's arena takes what is asked of it, not the next power of two."""


class OnnxBackend:
    """A session of ONNX Runtime."""

    def __init__(self, model: Model) -> None:
        self._path = model.path
        providers = _providers(model)
        try:
            self._session = ort.InferenceSession(
                str(model.path), _options(model), providers=providers, enable_fallback=0
            )
        except _FAILURES as error:
            raise BackendError(
                f"{model.path}: ONNX Runtime cannot load it: {error}; export the model again"
            ) from error
        self._outputs = list(model.outputs)
        running = self._session.get_providers()
        if absent := [name for name, _ in providers if name not in running]:
            raise BackendError(
                f"{model.path}: {', '.join(absent)} did not start: a library that it needs is missing, or "
                f"there is no such device; install it, or take it out of policy.onnx.providers"
            )
        self._device = model.onnx.providers[0]
        self._names = [node.name for node in self._session.get_inputs()]
        self._bound: dict[str, NDArray[Any]] = {}
        self._binding = self._session.io_binding()

    def describe(self) -> Description:
        session = self._session
        return Description(
            inputs={node.name: _spec(node) for node in session.get_inputs()},
            outputs={node.name: _spec(node) for node in session.get_outputs()},
            device=self._device,
        )

    def warm_up(self, inputs: Tensors) -> None:
        self.run(inputs)

    def run(self, inputs: Tensors) -> Tensors:
        try:
            self._bind(inputs)
            self._session.run_with_iobinding(self._binding)
            outputs = self._binding.copy_outputs_to_cpu()
        except _FAILURES as error:
            raise BackendError(f"{self._path}: ONNX Runtime failed: {error}") from error
        return {name: np.asarray(value) for name, value in zip(self._outputs, outputs, strict=True)}

    def close(self) -> None:
        self._bound.clear()
        del self._binding, self._session

    def _bind(self, inputs: Tensors) -> None:
        """Let the session read these arrays, where it does not yet."""
        if not self._bound:
            for name in self._outputs:
                self._binding.bind_output(name)
        for name in self._names:
            array = inputs.get(name)
            if array is None:
                raise BackendError(f"{self._path}: ONNX Runtime got no input {name!r}")
            if array is not self._bound.get(name):
                self._binding.bind_cpu_input(name, array)
                self._bound[name] = array


def load(model: Model) -> OnnxBackend:
    """Load an ONNX file; BackendError where ONNX Runtime refuses it, or lacks a provider."""
    return OnnxBackend(model)


def _options(model: Model) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = model.threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    if model.onnx.arena_mb and not _ON_GPU.intersection(model.onnx.providers):
        _limit_host_memory(model.onnx.arena_mb)
        options.add_session_config_entry("session.use_env_allocators", "1")
    return options


def _limit_host_memory(arena_mb: int) -> None:
    """ONNX Runtime limits no single session on the CPU, but an arena for the whole process."""
    arena = ort.OrtArenaCfg({"max_mem": arena_mb * _MIB, "arena_extend_strategy": _SAME_AS_REQUESTED})
    memory = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
    ort.create_and_register_allocator(memory, arena)


def _providers(model: Model) -> list[tuple[str, dict[str, str]]]:
    """ONNX Runtime's names and options of the wanted providers; BackendError where this build has one not."""
    available = ort.get_available_providers()
    for wanted in model.onnx.providers:
        name, package = _PROVIDERS[wanted]
        if name not in available:
            raise BackendError(
                f"{model.path}: this build of ONNX Runtime has no provider {wanted!r}; install {package} in "
                f"place of onnxruntime, or take it out of policy.onnx.providers"
            )
    return [(_PROVIDERS[wanted][0], _provider_options(wanted, model)) for wanted in model.onnx.providers]


def _provider_options(provider: str, model: Model) -> dict[str, str]:
    gpu = {"device_id": model.device.partition(":")[2] or "0"}
    limit = str(model.onnx.arena_mb * _MIB)
    match provider:
        case "cuda" if model.onnx.arena_mb:
            return {**gpu, "gpu_mem_limit": limit, "arena_extend_strategy": "kSameAsRequested"}
        case "tensorrt" if model.onnx.arena_mb:
            return {**gpu, "trt_max_workspace_size": limit}
        case "cuda" | "tensorrt":
            return gpu
        case "openvino":
            return {"device_type": "CPU", "num_of_threads": str(model.threads)}
    return {}


def _spec(node: ort.NodeArg) -> TensorSpec:
    shape = tuple(size if isinstance(size, int) else None for size in node.shape)
    return TensorSpec(_DTYPES.get(node.type, node.type), shape)
