"""PyTorch on the CPU or a GPU: exported programs, packages of AOTInductor and TorchScript.

Where the manifest's precision is a half float, a float32 model computes in it (autocast); one whose weights
are half floats already is quicker. Half floats go in and out as float32: NumPy has no bfloat16. int8 is in
the model: torchao quantises its weights before the export. On a GPU, warm-up captures the run as a CUDA
graph: replaying it costs one launch for all kernels.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import torch
from numpy.typing import NDArray
from torch import Tensor

from vlad.policy.backends import BackendError, Description, Model, Tensors, TensorSpec
from vlad.policy.backends.torch_archive import Kind, check
from vlad.policy.backends.torch_devices import device_of, devices_of, stages_of
from vlad.policy.backends.torch_memory import most_in_use
from vlad.policy.backends.torch_network import Network, load_program, load_script
from vlad.policy.backends.torch_package import load_package

_T = TypeVar("_T")

log = logging.getLogger(__name__)

_HALF = {"float16": torch.float16, "bfloat16": torch.bfloat16}

_HALVES = frozenset(_HALF.values())

# What torch raises on a file or an input that it cannot use.
_FAILURES = (
    AssertionError,
    AttributeError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)

_WARM_RUNS = 3
"""TorchScript compiles in its first two runs, and a GPU wants a few before a capture."""

_UNKNOWN = TensorSpec(None, None)


class TorchBackend:
    """A model of torch's, with its inputs moved to where it runs and its outputs back."""

    def __init__(self, model: Model) -> None:
        self._path = model.path
        self._wanted = model.outputs
        self._threads = model.threads
        self._thread = 0
        self._device = device_of(model)
        try:
            kind = check(model.path)
            half = _autocast(model, kind)
            self._network = _load(model, kind, self._device, half)
        except _FAILURES as error:
            raise BackendError(
                f"{model.path}: torch cannot load it: {error or type(error).__name__}; export the model again"
            ) from error
        # A cache would be gone after the run, and a captured graph would still read the weights in it.
        self._precision: contextlib.AbstractContextManager[Any] = (
            torch.autocast(self._device.type, half, cache_enabled=False) if half else contextlib.nullcontext()
        )
        self._casts = {name: _HALF.get(spec.dtype or "") for name, spec in self._network.inputs.items()}
        self._bound: dict[str, tuple[NDArray[Any], Tensor]] = {}
        moved = self._device.type != "cpu" or any(self._casts.values())
        self._call = self._place_and_call if moved else self._network.call
        self._captures = self._device.type != "cpu" and kind != "aot" and not self._network.devices
        outputs = self._network.outputs
        specs = dict.fromkeys(self._wanted, _UNKNOWN) if outputs is None else self._by_name(outputs)
        self._description = Description(
            inputs={name: _as_float32(spec) for name, spec in self._network.inputs.items()},
            outputs={name: _as_float32(spec) for name, spec in specs.items()},
            device=self._network.devices or str(self._device),
        )

    def describe(self) -> Description:
        return self._description

    def warm_up(self, inputs: Tensors) -> None:
        for _ in range(_WARM_RUNS):
            self.run(inputs)
        most = most_in_use(lambda: self.run(inputs))
        self._description = replace(self._description, activations=most)
        if self._captures:
            self._captures = False
            try:
                with torch.inference_mode(), self._precision:
                    placed = self._placed(self._tensors(inputs))
                    self._call = _Captured(self._network, placed, self._device).replay
            except RuntimeError as error:
                log.warning("%s: runs without a CUDA graph: %s", self._path, error)

    def run(self, inputs: Tensors) -> Tensors:
        if threading.get_ident() != self._thread:  # OpenMP keeps the number for each thread
            torch.set_num_threads(self._threads)
            self._thread = threading.get_ident()
        try:
            with torch.inference_mode():
                with self._precision:
                    results = self._call(self._tensors(inputs))
                named = self._by_name([results] if isinstance(results, Tensor) else results)
                return {name: _on_host(named[name]) for name in self._wanted}
        except _FAILURES as error:
            raise BackendError(f"{self._path}: torch failed: {error or type(error).__name__}") from error

    def close(self) -> None:
        self._bound.clear()
        del self._call, self._network
        if self._device.type != "cpu":
            torch.cuda.empty_cache()

    def _tensors(self, inputs: Tensors) -> list[Tensor]:
        """The inputs in the network's order. BackendError where one does not fit."""
        tensors = []
        for name in self._casts:
            array, tensor = self._bound.get(name, (None, None))
            if tensor is None or inputs.get(name) is not array:
                tensor = self._bind(name, inputs)
            tensors.append(tensor)
        return tensors

    def _bind(self, name: str, inputs: Tensors) -> Tensor:
        """A tensor on the memory of an input, kept: the arrays stay the same from run to run."""
        spec, array = self._description.inputs[name], inputs.get(name)
        if array is None:
            raise BackendError(f"{self._path}: torch got no input {name!r}")
        if spec.shape not in (None, array.shape) or spec.dtype not in (None, array.dtype.name):
            raise BackendError(
                f"{self._path}: torch got {array.dtype} of shape {array.shape} as {name!r}, "
                f"not {spec.dtype} of shape {spec.shape}"
            )
        tensor = torch.from_numpy(array)
        self._bound[name] = array, tensor
        return tensor

    def _placed(self, tensors: list[Tensor]) -> list[Tensor]:
        """The same where the network runs, in the types that it takes."""
        pairs = zip(tensors, self._casts.values(), strict=True)
        return [tensor.to(self._device, cast) for tensor, cast in pairs]

    def _place_and_call(self, tensors: list[Tensor]) -> Any:
        return self._network.call(self._placed(tensors))

    def _by_name(self, results: Mapping[str, _T] | Sequence[_T]) -> Mapping[str, _T]:
        """The outputs as the model names them, or the wanted ones in their order where it names none."""
        if isinstance(results, Mapping):
            named = results
        elif len(results) == len(self._wanted):
            named = dict(zip(self._wanted, results, strict=True))
        else:
            raise BackendError(
                f"{self._path}: gives {len(results)} outputs without names, the manifest wants "
                f"{', '.join(self._wanted)}; let forward return a dict, or just these in this order"
            )
        if absent := [name for name in self._wanted if name not in named]:
            raise BackendError(
                f"{self._path}: gives no {', '.join(absent)}, but {', '.join(named)}; correct the manifest"
            )
        return named


class _Captured:
    """A run as a CUDA graph, on inputs that stay where they are."""

    def __init__(self, network: Network, tensors: list[Tensor], device: torch.device) -> None:
        self._inputs = [tensor.clone() for tensor in tensors]
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.device(device):
            stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(_WARM_RUNS):
                    network.call(self._inputs)
            torch.cuda.current_stream().wait_stream(stream)
            # In another mode the capture would make the calls of a policy fail that another thread runs.
            with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
                self._outputs = network.call(self._inputs)

    def replay(self, tensors: list[Tensor]) -> Any:
        """The outputs for these inputs, which may lie on the host; the next replay overwrites them."""
        for static, tensor in zip(self._inputs, tensors, strict=True):
            static.copy_(tensor)
        self._graph.replay()
        return self._outputs


def load(model: Model) -> TorchBackend:
    """Load a model of torch's; BackendError where it cannot be used, or may not."""
    return TorchBackend(model)


def _load(model: Model, kind: Kind, device: torch.device, half: torch.dtype | None) -> Network:
    path, parts, stages = model.path, devices_of(model), stages_of(model)
    for setting, devices in (("device_map", parts), ("stages", stages)):
        if devices and kind != "export":
            raise ValueError(f"policy.torch.{setting} is for exported programs, which know their modules")
    match kind:
        case "export":
            return load_program(path, device, half, parts, stages, int8=model.precision == "int8")
        case "script":
            return load_script(path, device)
        case "aot":
            return load_package(path, device)


def _autocast(model: Model, kind: Kind) -> torch.dtype | None:
    """The half float to compute in; None: as the model itself says."""
    if kind == "aot":
        return None
    if model.precision == "int8" and kind == "script":
        raise BackendError(
            f"{model.path}: torch runs int8 in exported programs and packages of AOTInductor, not in "
            f"TorchScript; export the model"
        )
    if model.precision == "float32":
        torch.backends.cudnn.allow_tf32 = False
    return _HALF.get(model.precision)


def _as_float32(spec: TensorSpec) -> TensorSpec:
    return TensorSpec("float32", spec.shape) if spec.dtype in _HALF else spec


def _on_host(tensor: Tensor) -> NDArray[Any]:
    wide = tensor.float() if tensor.dtype in _HALVES else tensor
    array: NDArray[Any] = (wide.cpu() if wide.is_cuda else wide).contiguous().numpy()
    return array
