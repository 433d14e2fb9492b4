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


def compile_package(program: ExportedProgram, path: Path) -> None:
    """Compile `program` on this machine, for this machine, and write the package; needs a C++ compiler."""
    inputs, outputs = signature(program)
    described = {"inputs": _plain(inputs), "outputs": _plain(outputs), "named": isinstance(outputs, Mapping)}
    torch._inductor.aoti_compile_and_package(
        program,
        package_path=str(path),
        inductor_configs={
            "aot_inductor.metadata": {_KEY: json.dumps(described)},
            "cpp.dynamic_threads": True,
        },
    )


def load_package(path: Path, device: torch.device) -> Network:
    """The compiled model; BackendError where it is for another machine or does not say what it takes."""
    loader: Any = torch._C._aoti.AOTIModelPackageLoader
    metadata = loader.load_metadata_from_package(str(path), "model")
    _check_machine(path, device, metadata)
    described = metadata.get(_KEY)
    if described is None:
        raise BackendError(
            f"{path}: does not say what it takes and gives; "
            f"compile it with vlad.policy.backends.torch_package.compile_package"
        )
    inputs, outputs = _read(json.loads(described))
    names = list(outputs) if isinstance(outputs, Mapping) else []
    index = -1 if device.index is None else device.index
    runner = torch._inductor.aoti_load_package(str(path), device_index=index).loader

    def call(tensors: list[torch.Tensor]) -> Any:
        results = runner.boxed_run(tensors)
        return dict(zip(names, results, strict=True)) if names else results

    return Network(call, inputs, outputs)


def _check_machine(path: Path, device: torch.device, metadata: Mapping[str, str]) -> None:
    """Machine code for another processor would end the daemon at the first instruction that it lacks."""
    from torch._inductor.codecache import get_device_information

    made_for = metadata["AOTI_DEVICE_KEY"]
    if made_for != device.type:
        raise BackendError(
            f"{path}: is compiled for {made_for!r}, policy.device is {str(device)!r}; "
            f"set that, or compile it again"
        )
    here = get_device_information(made_for)
    for key, value in here.items():
        if (found := metadata.get(key, value)) != value:
            raise BackendError(f"{path}: is compiled for {found!r}, this machine is {value!r} ({key}); "
                               f"compile it on this machine")  # fmt: skip


def _plain(specs: Outputs) -> list[list[Any]]:
    rows = specs.items() if isinstance(specs, Mapping) else (("", spec) for spec in specs)
    return [[name, spec.dtype, spec.shape] for name, spec in rows]


def _read(described: dict[str, Any]) -> tuple[dict[str, TensorSpec], Outputs]:
    inputs, outputs = (
        [(name, TensorSpec(dtype, tuple(shape))) for name, dtype, shape in described[key]]
        for key in ("inputs", "outputs")
    )
    return dict(inputs), dict(outputs) if described["named"] else [spec for _, spec in outputs]
