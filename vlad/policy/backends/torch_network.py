"""A model of torch's as a function of tensors by name: exported programs and TorchScript."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch.export import ExportedProgram, unflatten
from torch.export.passes import move_to_device_pass

# Takes seconds, and holds Python's lock: so now, with torch, and not when the first program is loaded.
from torch.export.pt2_archive._package import load_pt2
from torch.utils import _pytree as pytree

from vlad.policy.backends import TensorSpec
from vlad.policy.backends.torch_devices import cut, place, place_stages

Outputs: TypeAlias = Mapping[str, TensorSpec] | Sequence[TensorSpec]
"""By name where the model returns a dict, else in its order."""


_MODULE = re.compile(r"[\w.@]*", re.ASCII)

_aten = torch.ops.aten

_COMPUTED_IN_HALF = frozenset({
    _aten.linear.default, _aten.matmul.default, _aten.mm.default, _aten.bmm.default, _aten.addmm.default,
    _aten.conv1d.default, _aten.conv2d.default, _aten.conv3d.default,
    _aten.conv1d.padding, _aten.conv2d.padding, _aten.conv3d.padding,
})  # fmt: skip
"""Whose arguments autocast makes half floats, on every device."""


@dataclass(frozen=True, slots=True)
class Network:
    """`call` takes the inputs in the order of `inputs`, and gives a tensor, a sequence or a dict of tensors.

    `outputs` is None where only a run shows them; `devices` says where its parts lie, if not all on one.
    """

    call: Callable[[list[torch.Tensor]], Any]
    inputs: Mapping[str, TensorSpec]
    outputs: Outputs | None
    devices: str = ""


def load_program(
    path: Path,
    device: torch.device,
    half: torch.dtype | None,
    parts: Mapping[str, torch.device] | None = None,
    stages: Mapping[str, torch.device] | None = None,
    *,
    int8: bool = False,
) -> Network:
    """An exported program, which must have been checked: loading may run what is in it. ValueError where its
    inputs are not plain tensors, or where it shall be `int8` and no weight is.

    `torch.export.load` is not used: what it cannot read, it reads again as an older form, by unpickling. With
    `half`, for which it will run under autocast, what it asserts of types in between is left out: they will
    be others; and the weights that autocast would convert in each run are converted now. With `parts` or
    `stages`, the program is divided into its modules again, and these lie on their devices.
    """
    program = load_pt2(str(path)).exported_programs["model"]
    if int8 and not any(tensor.dtype is torch.int8 for tensor in program.state_dict.values()):
        raise ValueError("none of its weights is int8; let torchao quantise them before the export")
    if device.type != "cpu" and not (parts or stages):
        program = move_to_device_pass(program, device)
    if half is not None:
        _forget_types(program)
        devices_used = {device, *(parts or {}).values(), *(stages or {}).values()}
        if len({one.type for one in devices_used}) == 1:  # autocast is for one kind of device
            convert_weights(program, half)
    inputs, outputs = signature(program)
    positional = len(_arguments(program)[0])
    keywords = list(inputs)[positional:]
    module = _divided(program) if parts or stages else program.module()
    devices = place(module, device, parts) if parts else ""
    if stages:
        like = [_like(spec) for spec in inputs.values()]
        named = dict(zip(keywords, like[positional:], strict=True))
        stages = _in_order(program, stages)
        pipe = cut(module, like[:positional], named, list(stages))
        module, devices = pipe, place_stages(pipe, device, stages)

    def call(tensors: list[torch.Tensor]) -> Any:
        return module(*tensors[:positional], **dict(zip(keywords, tensors[positional:], strict=True)))

    def call_stages(tensors: list[torch.Tensor]) -> Any:
        return pytree.tree_unflatten(call(tensors), program.call_spec.out_spec)

    return Network(call_stages if stages else call, inputs, outputs, devices)


def load_script(path: Path, device: torch.device) -> Network:
    """TorchScript, which keeps the names of forward's arguments but neither types nor shapes."""
    module = torch.jit.load(str(path), map_location=device).eval()  # type: ignore[no-untyped-call]
    names = [argument.name for argument in module.forward.schema.arguments[1:]]
    unknown = TensorSpec(None, None)
    return Network(lambda tensors: module(*tensors), dict.fromkeys(names, unknown), None)


def signature(program: ExportedProgram) -> tuple[dict[str, TensorSpec], Outputs]:
    """What an exported program takes and gives, by the names that it has for them."""
    values = {node.name: node.meta.get("val") for node in program.graph.nodes}
    names = [*program.graph_signature.user_inputs]
    positional, keywords = _arguments(program)
    called = [*names[: len(positional)], *keywords]
    inputs = {call: _spec(name, values[name]) for call, name in zip(called, names, strict=True)}
    specs = [_spec(name, values[name]) for name in program.graph_signature.user_outputs]
    tree = pytree.tree_unflatten(specs, program.call_spec.out_spec)
    if isinstance(tree, dict):
        return inputs, tree
    return inputs, [tree] if isinstance(tree, TensorSpec) else list(tree)


def _arguments(program: ExportedProgram) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """How forward is called: a number for each argument by position and by keyword."""
    spec = program.call_spec.in_spec
    positional, keywords = pytree.tree_unflatten(list(range(spec.num_leaves)), spec)
    if not all(isinstance(item, int) for item in (*positional, *keywords.values())):
        raise ValueError("forward takes tuples or dicts; let it take one tensor for each input")
    return positional, keywords


def _spec(name: str, value: Any) -> TensorSpec:
    if not isinstance(value, torch.Tensor):
        raise ValueError(f"{name} is no tensor; let forward take and return nothing but tensors")
    return TensorSpec(str(value.dtype).removeprefix("torch."), tuple(value.shape))


def _like(spec: TensorSpec) -> torch.Tensor:
    sizes = [size or 0 for size in spec.shape or ()]
    return torch.zeros(sizes, dtype=getattr(torch, str(spec.dtype)))


def _divided(program: ExportedProgram) -> torch.nn.Module:
    """The program as the modules that it was exported from. ValueError where their names are no plain names:
    they become source code.
    """
    for module in program.graph_module.modules():
        for node in module.graph.nodes if isinstance(module, torch.fx.GraphModule) else ():
            for name, _ in (node.meta.get("nn_module_stack") or {}).values():
                if not _MODULE.fullmatch(name):
                    raise ValueError(f"has a module of the name {name!r}")
    return unflatten(program)


def _in_order(program: ExportedProgram, stages: Mapping[str, torch.device]) -> dict[str, torch.device]:
    """The same in the order in which the program comes to these modules; last those that it never runs."""
    stacks = [(node.meta.get("nn_module_stack") or {}).values() for node in program.graph.nodes]
    ran = list(dict.fromkeys(name for stack in stacks for name, _ in stack))
    return {name: stages[name] for name in sorted(stages, key=[*ran, *stages].index)}


def convert_weights(program: ExportedProgram, half: torch.dtype) -> None:
    """Make those weights half floats that autocast would convert in each run; what anything else reads, too,
    stays as it is. The results stay the same to the bit.
    """
    state = program.state_dict
    readers = {node.name: {user.target for user in node.users} for node in program.graph.nodes}
    for node, name in program.graph_signature.inputs_to_parameters.items():
        if state[name].dtype is torch.float32 and readers[node] <= _COMPUTED_IN_HALF:
            state[name] = torch.nn.Parameter(state[name].to(half), requires_grad=False)


def _forget_types(program: ExportedProgram) -> None:
    for module in program.graph_module.modules():
        if isinstance(module, torch.fx.GraphModule):
            for node in list(module.graph.nodes):
                if node.target is torch.ops.aten._assert_tensor_metadata.default:
                    module.graph.erase_node(node)
            module.recompile()
