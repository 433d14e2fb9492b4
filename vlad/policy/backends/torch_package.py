"""Packages of AOTInductor: a model compiled to machine code, for the kind of processor it was compiled on.

A package by itself says neither what its inputs are called nor what they must look like, and reads beyond a
smaller one: what it needs is written into it when it is made, by `compile_package`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch.export import ExportedProgram

from vlad.policy.backends import BackendError, TensorSpec
from vlad.policy.backends.torch_network import Network, Outputs, signature

_KEY = "vlad"
_MODEL = "model"


def compile_package(program: ExportedProgram, path: Path) -> None:
    """Compile `program` on this machine, for this machine, and write the package; needs a C++ compiler."""
    from torch._inductor import aoti_compile_and_package

    inputs, outputs = signature(program)
    described = {
        "inputs": _plain(inputs),
        "outputs": _plain(outputs),
        "named": isinstance(outputs, Mapping),
        "processor": _processor(),
        "gpu": _gpu(None),
    }
    settings = {"aot_inductor.metadata": {_KEY: json.dumps(described)}, "cpp.dynamic_threads": True}
    aoti_compile_and_package(program, package_path=str(path), inductor_configs=settings)


def load_package(path: Path, device: torch.device) -> Network:
    """The compiled model; BackendError where it is for another machine or does not say what it takes."""
    # What torch has for this loads its whole compiler first, which takes seconds and is of no use.
    loader: Any = torch._C._aoti.AOTIModelPackageLoader
    metadata = loader.load_metadata_from_package(str(path), _MODEL)
    if _KEY not in metadata:
        raise BackendError(
            f"{path}: does not say what it takes and gives; "
            f"compile it with vlad.policy.backends.torch_package.compile_package"
        )
    described = json.loads(metadata[_KEY])
    _check_machine(path, device, metadata["AOTI_DEVICE_KEY"], described)
    inputs, outputs = _read(described)
    names = list(outputs) if isinstance(outputs, Mapping) else []
    runner = loader(str(path), _MODEL, False, 1, -1 if device.index is None else device.index)

    def call(tensors: list[torch.Tensor]) -> Any:
        results = runner.boxed_run(tensors)
        return dict(zip(names, results, strict=True)) if names else results

    return Network(call, inputs, outputs)


def _check_machine(path: Path, device: torch.device, made_for: str, described: dict[str, Any]) -> None:
    """Machine code for another processor would end the daemon at the first instruction that it lacks."""
    if made_for != device.type:
        raise BackendError(
            f"{path}: is compiled for {made_for!r}, policy.device is {str(device)!r}; "
            f"set that, or compile it again"
        )
    if absent := set(described["processor"]) - set(_processor()):
        raise BackendError(
            f"{path}: is compiled for a processor with {', '.join(sorted(absent))}, which this one has not; "
            f"compile it on this machine"
        )
    if made_for != "cpu" and described["gpu"] != (gpu := _gpu(device)):
        raise BackendError(
            f"{path}: is compiled for a GPU of compute capability {described['gpu']}, this one has {gpu}; "
            f"compile it on this machine"
        )


def _processor() -> list[str]:
    """The abilities of this machine's processor, all of which the compiler may use."""
    abilities = torch.cpu.get_capabilities()
    return [str(abilities["architecture"]), *sorted(name for name, has in abilities.items() if has is True)]


def _gpu(device: torch.device | None) -> str:
    """The compute capability of this GPU, or of the current one; empty where there is none."""
    if not torch.cuda.is_available():
        return ""
    major, minor = torch.cuda.get_device_capability(device)
    return f"{major}.{minor}"


def _plain(specs: Outputs) -> list[list[Any]]:
    rows = specs.items() if isinstance(specs, Mapping) else (("", spec) for spec in specs)
    return [[name, spec.dtype, spec.shape] for name, spec in rows]


def _read(described: dict[str, Any]) -> tuple[dict[str, TensorSpec], Outputs]:
    inputs, outputs = (
        [(name, TensorSpec(dtype, tuple(shape))) for name, dtype, shape in described[key]]
        for key in ("inputs", "outputs")
    )
    return dict(inputs), dict(outputs) if described["named"] else [spec for _, spec in outputs]
