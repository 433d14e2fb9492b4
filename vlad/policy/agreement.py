"""Whether a model and what it gives are what its bundle's manifest says; a line for each mistake."""

from __future__ import annotations

import numpy as np

from vlad.policy.backends import Backend, Tensors, TensorSpec
from vlad.policy.bundle import Bundle


def _output_shapes(bundle: Bundle) -> dict[str, tuple[int | None, ...]]:
    """What each wanted output must look like; None: as it comes, the sum of several must be right."""
    output = bundle.manifest.output
    width = len(output.names) if len(output.name) == 1 else None
    shapes: dict[str, tuple[int | None, ...]] = dict.fromkeys(
        output.name, (output.samples, output.horizon, width)
    )
    return shapes | dict.fromkeys(output.heads, (output.samples, 1))


def _fits(shape: tuple[int | None, ...] | None, wanted: tuple[int | None, ...] | None) -> bool:
    """Whether they are equal but where one of them leaves a size open, or all of them."""
    if shape is None or wanted is None:
        return True
    return len(shape) == len(wanted) and all(
        None in (size, want) or size == want for size, want in zip(shape, wanted, strict=True)
    )


def mismatches(backend: Backend, inputs: Tensors, bundle: Bundle) -> list[str]:
    """Where the model itself is not what the manifest says; a line for each."""
    graph = backend.describe()
    if graph is None:
        return []
    reasons = [
        f"{bundle.model}: takes an input {name!r} that the manifest does not have; add it to [[inputs]]"
        for name in graph.inputs
        if name not in inputs
    ]
    for name, array in inputs.items():
        wanted = TensorSpec(array.dtype.name, array.shape)
        reasons += _compare(f"{bundle.model}: input {name!r}", graph.inputs.get(name), wanted)
    for name, shape in _output_shapes(bundle).items():
        wanted = TensorSpec("float32", shape)
        reasons += _compare(f"{bundle.model}: output {name!r}", graph.outputs.get(name), wanted)
    return reasons


def _compare(where: str, found: TensorSpec | None, wanted: TensorSpec) -> list[str]:
    if found is None:
        return [f"{where}: the model has none of this name; correct the manifest, or export the model again"]
    reasons = []
    if found.dtype not in (None, wanted.dtype):
        reasons.append(f"{where}: is {found.dtype} in the model, the manifest's kind means {wanted.dtype}")
    if not _fits(found.shape, wanted.shape):
        shapes = _shown(found.shape), _shown(wanted.shape)
        reasons.append(f"{where}: has shape {shapes[0]} in the model, {shapes[1]} in the manifest")
    return reasons


def _shown(shape: tuple[int | None, ...] | None) -> str:
    if shape is None:
        return "of any size"
    return f"({', '.join('any' if size is None else str(size) for size in shape)})"


def misshapen(outputs: Tensors, bundle: Bundle) -> list[str]:
    """Where what the model gave has not the shape that the manifest says; a line for each."""
    reasons, output = [], bundle.manifest.output
    for name, shape in _output_shapes(bundle).items():
        value = outputs[name]
        if not _fits(value.shape, shape) or value.dtype != np.float32:
            reasons.append(f"{bundle.model}: output {name!r}: gave {value.dtype} of shape {value.shape}, not "
                           f"float32 {_shown(shape)}")  # fmt: skip
    columns, names = sum(outputs[name].shape[-1] for name in output.name), len(output.names)
    if not reasons and columns != names:
        reasons.append(f"{bundle.model}: outputs {', '.join(output.name)}: gave {columns} numbers a step, "
                       f"the manifest names {names}")  # fmt: skip
    return reasons


def bad_outputs(outputs: Tensors, bundle: Bundle) -> list[str]:
    """What is wrong with what the model gave, and with its numbers; a line for each."""
    if reasons := misshapen(outputs, bundle):
        return reasons
    for name in _output_shapes(bundle):
        where, value = f"{bundle.model}: output {name!r}", outputs[name]
        if not np.isfinite(value).all():
            reasons.append(f"{where}: was not finite; train or export the model again")
        elif name in bundle.manifest.output.heads and not 0 <= value.min() <= value.max() <= 1:
            worst = value.flat[np.abs(value - 0.5).argmax()]
            reasons.append(f"{where}: gave {worst:.3g}; a probability is 0 to 1, "
                           f"end the head with a sigmoid")  # fmt: skip
    return reasons
