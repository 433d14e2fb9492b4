"""TensorRT on an NVIDIA GPU: a plan (.plan, .engine), or an ONNX file that a plan is made of first.

The model has a CUDA context of its own: what torch or ONNX Runtime do on the same GPU goes on when it breaks.
vlad loads a model in one thread and runs it in another, so a thread has the context only while it is in here.
It must not end with it: pycuda ends the process then.

All waiting is done in `stream.synchronize()`, where pycuda releases the GIL, as TensorRT does where it
deserialises, builds and starts a run. Input and output go through memory that is never swapped, which the GPU
reads and writes by itself.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pycuda.driver as cuda
import tensorrt as trt
from numpy.typing import NDArray

from vlad.policy.backends import BackendError, Description, Model, Tensors, TensorSpec
from vlad.policy.backends.tensorrt_plan import PLANS, TensorrtLog, find_plan

log = logging.getLogger(__name__)

_DTYPES = {
    "FLOAT": "float32", "HALF": "float16", "BF16": "bfloat16", "INT64": "int64", "INT32": "int32",
    "INT8": "int8", "UINT8": "uint8", "BOOL": "bool",
}  # fmt: skip
"""TensorRT's name of a type -> NumPy's."""


@dataclass(frozen=True, slots=True)
class _Tensor:
    """An input or output: `host` is a view of all of `pinned`, which is flat; `device` is its place there."""

    host: NDArray[Any]
    pinned: Any
    device: Any


class TensorrtBackend:
    """An engine, one execution context of it and one stream."""

    def __init__(self, model: Model) -> None:
        self._path = model.path
        self._wanted = model.outputs
        self._log = TensorrtLog()
        self._tensors: dict[str, _Tensor] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._inputs: list[str] = []
        self._outputs: list[str] = []
        self._runtime: Any = None
        self._engine: Any = None
        self._running: Any = None
        self._stream: Any = None
        gpu, self._device = _open_gpu(model)
        self._cuda = _make_context(model, gpu)
        with contextlib.ExitStack() as undo:
            undo.callback(self.close)
            with self._current():
                self._load(model, gpu)
            undo.pop_all()

    def describe(self) -> Description:
        specs = {name: self._spec(name) for name in (*self._inputs, *self._outputs)}
        return Description(
            inputs={name: specs[name] for name in self._inputs},
            outputs={name: specs[name] for name in self._outputs},
            device=self._device,
        )

    def warm_up(self, inputs: Tensors) -> None:
        """The first run allocates."""
        self.run(inputs)

    def run(self, inputs: Tensors) -> Tensors:
        if absent := [name for name in self._inputs if name not in inputs]:
            raise BackendError(f"{self._path}: TensorRT got no input {', '.join(absent)}")
        try:
            with self._current():
                self._fit({name: inputs[name].shape for name in self._inputs})
                self._infer(inputs)
                return {name: self._tensors[name].host.copy() for name in self._wanted}
        except (cuda.Error, TypeError) as error:
            raise self._failure(f"failed: {error}") from error

    def close(self) -> None:
        """Also where loading has failed half-way. What is destroyed must find the context it was made in."""
        try:
            self._cuda.push()
            try:
                self._running = self._engine = self._runtime = None
                self._free()
                self._stream = None
            finally:
                self._cuda.detach()
        except cuda.Error as error:
            log.warning("%s: the GPU did not give everything back: %s", self._path, error)

    @contextlib.contextmanager
    def _current(self) -> Iterator[None]:
        """The context is this thread's within the block, and nobody's after it."""
        self._cuda.push()
        try:
            yield
        finally:
            self._cuda.pop()

    def _load(self, model: Model, gpu: Any) -> None:
        trt.init_libnvinfer_plugins(self._log, "")
        try:
            kind = f"{gpu.name()} {gpu.compute_capability()}"
            path, plan = find_plan(model, kind, self._log)
            self._runtime = trt.Runtime(self._log)
            self._engine = self._runtime.deserialize_cuda_engine(plan)
            if self._engine is None:
                raise BackendError(_refused(path, model, kind, self._log.take()))
            self._running = self._engine.create_execution_context()
            self._stream = cuda.Stream()
        except (cuda.Error, RuntimeError, TypeError) as error:
            raise self._failure(f"cannot load it: {error}") from error
        if self._running is None:
            raise self._failure("cannot run it: the GPU has too little free memory, or the plan is not whole")
        self._sort_tensors()

    def _sort_tensors(self) -> None:
        engine = self._engine
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        self._inputs = [name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT]
        self._outputs = [name for name in names if name not in self._inputs]
        if on_host := [name for name in names if engine.get_tensor_location(name) == trt.TensorLocation.HOST]:
            raise BackendError(
                f"{self._path}: {', '.join(on_host)} is a shape, which TensorRT works out on the CPU; "
                f"export the model with fixed sizes"
            )

    def _spec(self, name: str) -> TensorSpec:
        kind = self._engine.get_tensor_dtype(name)
        dtype: str | None = _DTYPES.get(kind.name, kind.name.lower())
        if kind == trt.DataType.INT32 and not hasattr(trt.DataType, "INT64"):
            # TensorRT before 10 makes int32 of int64, and does not say which it was.
            dtype = None
        sizes = tuple(self._engine.get_tensor_shape(name))
        return TensorSpec(dtype, tuple(size if size >= 0 else None for size in sizes))

    def _fit(self, shapes: dict[str, tuple[int, ...]]) -> None:
        """Have buffers for inputs of these shapes. They are made at the first run, and stay."""
        if shapes == self._shapes:
            return
        self._free()
        for name, shape in shapes.items():
            if not self._running.set_input_shape(name, shape):
                raise self._failure(f"does not take {name!r} of shape {shape}")
        for name in (*self._inputs, *self._outputs):
            self._tensors[name] = tensor = self._allocate(name)
            if not self._running.set_tensor_address(name, int(tensor.device)):
                raise self._failure(f"does not take a buffer for {name!r}")
        self._shapes = shapes

    def _allocate(self, name: str) -> _Tensor:
        shape = tuple(self._running.get_tensor_shape(name))
        if any(size < 0 for size in shape):
            raise self._failure(f"cannot tell the size of {name!r}, which depends on what the model reads; "
                                f"export it with fixed sizes")  # fmt: skip
        kind = self._engine.get_tensor_dtype(name)
        count = max(1, int(np.prod(shape)))
        pinned = cuda.pagelocked_empty(count, np.dtype(_DTYPES.get(kind.name, kind.name.lower())))
        return _Tensor(pinned[: int(np.prod(shape))].reshape(shape), pinned, cuda.mem_alloc(pinned.nbytes))

    def _infer(self, inputs: Tensors) -> None:
        for name in self._inputs:
            tensor = self._tensors[name]
            np.copyto(tensor.host, inputs[name], casting="same_kind")
            cuda.memcpy_htod_async(tensor.device, tensor.pinned, self._stream)
        if not self._running.execute_async_v3(self._stream.handle):
            raise self._failure("failed")
        for name in self._wanted:
            tensor = self._tensors[name]
            cuda.memcpy_dtoh_async(tensor.pinned, tensor.device, self._stream)
        self._stream.synchronize()

    def _free(self) -> None:
        """Give back the buffers here and now: in another thread pycuda could only leak them."""
        self._shapes = {}
        while self._tensors:
            _, tensor = self._tensors.popitem()
            tensor.device.free()
            tensor.pinned.base.free()

    def _failure(self, what: str) -> BackendError:
        said = self._log.take()
        return BackendError(f"{self._path}: TensorRT {what}{f' ({said})' if said else ''}")


def load(model: Model) -> TensorrtBackend:
    """Load a plan or an ONNX file; BackendError where there is no GPU, or TensorRT refuses the file."""
    if model.path.suffix not in (*PLANS, ".onnx"):
        raise BackendError(
            f"{model.path}: is neither {' nor '.join(PLANS)} nor .onnx; give TensorRT one of these, named "
            f"so in `model`"
        )
    return TensorrtBackend(model)


def _open_gpu(model: Model) -> tuple[Any, str]:
    """The GPU, and what it is called in the settings; the first one where they name none."""
    number = int(model.device.partition(":")[2] or "0")
    try:
        cuda.init()
        return cuda.Device(number), f"cuda:{number}"
    except cuda.Error as error:
        raise BackendError(
            f"{model.path}: TensorRT finds no GPU {number}: {error}; correct policy.device, install NVIDIA's "
            f"driver, or give the bundle a model for another backend"
        ) from error


def _make_context(model: Model, gpu: Any) -> Any:
    """A new context, which belongs to no thread yet."""
    try:
        context = gpu.make_context()
    except cuda.Error as error:
        raise BackendError(
            f"{model.path}: the GPU gives no context: {error}; see with nvidia-smi what else it runs"
        ) from error
    context.pop()
    return context


def _refused(path: Path, model: Model, gpu: str, said: str) -> str:
    here = f"TensorRT {trt.__version__} on {gpu}"
    if path == model.path:
        remedy = "build it again there, or put the ONNX file into the bundle in its place"
    else:
        remedy = f"delete {path}, then it is built again"
    return (f"{model.path}: {here} refuses the plan ({said}); a plan is only good for the version and the "
            f"GPU that it was built for: {remedy}")  # fmt: skip
