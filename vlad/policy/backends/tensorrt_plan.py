"""The TensorRT plan of an ONNX file: built once on the robot, kept, and found again.

A plan is machine code for one version of TensorRT and one type of GPU, and building it takes minutes, in
which the GPU tries what is fastest. So a bundle for more than one type of robot has the ONNX file, and the
first start with it builds the plan; later ones find it, named by the SHA-256 of all that it depends on. When
one of these changes, another is built; nothing is deleted, and everything in the folder may be. A plan is run
as it is: the folder is as much to be trusted as the program. What the GPU tried is kept too, and makes the
next plan quicker.

The precision is that of the ONNX file: float16, or int8 with Q/DQ nodes. TensorRT from 10 on follows it to
the letter; before, it must be allowed to.
"""

from __future__ import annotations

import hashlib
import logging
from collections import deque
from pathlib import Path
from typing import Any

import tensorrt as trt

from vlad.files import write_durably
from vlad.policy.backends import BackendError, Model

log = logging.getLogger(__name__)

PLANS = (".plan", ".engine")

_MIB = 1 << 20
_REPORTED = 3
"""Errors of TensorRT's in a message of ours: the last ones; the first is in the log."""


class TensorrtLog(trt.ILogger):  # type: ignore[misc]
    """TensorRT's reports go to vlad's log; the errors are remembered until they are asked for."""

    def __init__(self) -> None:
        trt.ILogger.__init__(self)
        self._errors: deque[str] = deque(maxlen=_REPORTED)

    def log(self, severity: Any, msg: str) -> None:
        if severity in (trt.ILogger.Severity.INTERNAL_ERROR, trt.ILogger.Severity.ERROR):
            self._errors.append(msg.strip())
            log.error("TensorRT: %s", msg)
        elif severity == trt.ILogger.Severity.WARNING:
            log.info("TensorRT: %s", msg)

    def take(self) -> str:
        """The errors since this was last asked."""
        errors = "; ".join(self._errors)
        self._errors.clear()
        return errors


def find_plan(model: Model, gpu: str, reports: TensorrtLog) -> tuple[Path, bytes]:
    """A plan of the model for this type of GPU, and the file it is in, or was made of where none is kept.

    BackendError where the file cannot be read or TensorRT cannot build it. A CUDA context must be current.
    """
    try:
        if model.path.suffix in PLANS:
            return model.path, model.path.read_bytes()
        if model.cache is None:
            return model.path, _build(model, None, reports)
        kept = model.cache / f"{_key(model, gpu)}.plan"
        if kept.exists():
            return kept, kept.read_bytes()
    except OSError as error:
        raise BackendError(f"{model.path}: cannot read {error.filename}: {error.strerror}") from error
    log.warning("%s: building a TensorRT plan for %s, once; this takes minutes", model.path, gpu)
    plan = _build(model, model.cache / f"{_digest(_place(gpu))}.timings", reports)
    _keep(kept, plan)
    return kept, plan


def _place(gpu: str) -> list[object]:
    return [gpu, trt.__version__]


def _key(model: Model, gpu: str) -> str:
    """Of all that the plan depends on. An ONNX file may have its weights in others: all of the bundle counts,
    but for its manifest, which says what the numbers mean."""
    shapes = sorted(model.shapes.items())
    parts: list[object] = [
        *_place(gpu),
        model.path.name,
        model.precision,
        shapes,
        model.tensorrt.workspace_mb,
    ]
    for path in sorted(model.path.parent.rglob("*")):
        if path.is_file() and path.suffix != ".toml":
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            parts += [path.relative_to(model.path.parent).as_posix(), digest]
    return _digest(parts)


def _digest(parts: list[object]) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _build(model: Model, timings: Path | None, reports: TensorrtLog) -> bytes:
    """Minutes, in which the GIL is free."""
    try:
        builder = trt.Builder(reports)
        network = builder.create_network(_network_flags())
        parser = trt.OnnxParser(network, reports)
        if not parser.parse_from_file(str(model.path)):
            said = "; ".join(parser.get_error(index).desc() for index in range(parser.num_errors))
            raise BackendError(f"{model.path}: TensorRT cannot read it: {said}; export the model again")
        config = _configure(builder, network, model)
        if timings is not None:
            _use_timings(config, timings)
        plan = builder.build_serialized_network(network, config)
        if plan is None:
            raise BackendError(
                f"{model.path}: TensorRT cannot build it: {reports.take()}; export the model again, or give "
                f"it more memory with policy.tensorrt.workspace_mb"
            )
        if timings is not None and (found := config.get_timing_cache()) is not None:
            _keep(timings, bytes(found.serialize()))
        return bytes(plan)
    except (RuntimeError, TypeError) as error:
        said = reports.take() or str(error)
        raise BackendError(f"{model.path}: TensorRT cannot build it: {said}") from error


def _network_flags() -> int:
    """Types as in the ONNX file, where this version can; one that cannot must be told of explicit batches."""
    flags = trt.NetworkDefinitionCreationFlag
    flag = flags.STRONGLY_TYPED if hasattr(flags, "STRONGLY_TYPED") else flags.EXPLICIT_BATCH
    return 1 << int(flag)


def _configure(builder: Any, network: Any, model: Model) -> Any:
    config = builder.create_builder_config()
    if model.tensorrt.workspace_mb:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, model.tensorrt.workspace_mb * _MIB)
    if not hasattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED"):
        allowed = {"float16": trt.BuilderFlag.FP16, "int8": trt.BuilderFlag.INT8}
        if model.precision in allowed:
            config.set_flag(allowed[model.precision])
    profile, is_needed = builder.create_optimization_profile(), False
    for tensor in (network.get_input(index) for index in range(network.num_inputs)):
        if -1 in tuple(tensor.shape):
            is_needed = True
            shape = _shape_of(tensor.name, model)
            profile.set_shape(tensor.name, shape, shape, shape)
    if is_needed:
        config.add_optimization_profile(profile)
    return config


def _shape_of(name: str, model: Model) -> tuple[int, ...]:
    """The one shape that an open input will ever have here: the plan is made for it alone."""
    if name not in model.shapes:
        raise BackendError(
            f"{model.path}: takes an input {name!r} of open size that the manifest does not have; add it to "
            f"[[inputs]]"
        )
    return model.shapes[name]


def _use_timings(config: Any, path: Path) -> None:
    """Start from what was tried before; what TensorRT does not take is as good as nothing."""
    saved = path.read_bytes() if path.exists() else b""
    timings = config.create_timing_cache(saved)
    if timings is None or not config.set_timing_cache(timings, False):
        config.set_timing_cache(config.create_timing_cache(b""), False)


def _keep(path: Path, content: bytes) -> None:
    """A full disk costs the next start its time, not this one the policy."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_durably(path, content)
    except OSError as error:
        log.warning("%s cannot be kept, and will be made again at the next start: %s", path, error)
