"""Which devices torch runs a model on: one, or several by the names of its modules.

With several, a model that is too large for one GPU is shared by some. By a map each named module lies on its
own device, and accelerate's hooks bring there what it takes, and back what it gives: its dispatch_model would
leave that there, where a residual beside a module meets two devices. In stages a program goes on
from device to device: from where each named module begins, the rest lies on another one. One observation is
under way at a time, so that the devices work one after the other: this is for memory, not for speed. The
schedules of torch.distributed.pipelining, which makes the cuts, keep all stages busy with many observations
at once, and need a process for each.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.export.unflatten import InterpreterModule
from torch.utils import _pytree as pytree

from vlad.policy.backends import BackendError, Model

if TYPE_CHECKING:
    from torch.distributed.pipelining import Pipe


def device_of(model: Model) -> torch.device:
    """Where to run; BackendError where this computer has no such device."""
    return _found(model, "policy.device", model.device)


def devices_of(model: Model) -> dict[str, torch.device]:
    """The devices of single modules by their names; BackendError where this computer lacks one."""
    return _all_found(model, "device_map", model.torch.device_map)


def stages_of(model: Model) -> dict[str, torch.device]:
    """The devices of stages by the modules that begin them; BackendError where this computer lacks one."""
    return _all_found(model, "stages", model.torch.stages)


def _all_found(model: Model, setting: str, wanted: Mapping[str, str]) -> dict[str, torch.device]:
    return {name: _found(model, f"policy.torch.{setting}.{name}", device) for name, device in wanted.items()}


def _found(model: Model, setting: str, wanted: str) -> torch.device:
    device = torch.device(wanted)
    if device.type == "cpu":
        return device
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if (device.index or 0) >= found:
        raise BackendError(
            f"{model.path}: {setting} is {wanted!r}, but torch {torch.__version__} finds {found} "
            f'GPUs; install a build of torch for this GPU and its driver, or set {setting} = "cpu"'
        )
    return torch.device(device.type, device.index or 0)


def place(network: nn.Module, home: torch.device, devices: Mapping[str, torch.device]) -> str:
    """Lay the network on `home` and its named modules on their `devices`; ValueError for an unknown name.

    A module within a named one may have another device again. What comes back says where what lies.
    """
    modules = _modules(network, devices)
    for name, module in modules.items():
        # One by one: all of the network might be too much for its home.
        device = _device_within(name, devices)
        holds = _lay(module, device or home)
        if device is not None and (holds or name in devices):
            _bring(module, device)
    return ", ".join([str(home), *(f"{name} on {device}" for name, device in devices.items())])


def cut(
    network: nn.Module,
    positional: Sequence[torch.Tensor],
    keywords: Mapping[str, torch.Tensor],
    begin: Sequence[str],
) -> Pipe:
    """Cut the network into stages, each but the first beginning with one of the named modules.

    It is then called with tensors like those given, and gives a tuple of all outputs. ValueError where no
    stage can begin with such a module, or torch is built without what cuts.
    """
    _modules(network, begin)
    try:
        from torch.distributed.pipelining import SplitPoint, pipeline
    except ImportError as error:
        raise ValueError(
            f"cannot be cut into stages by this build of torch ({error}); name the modules of each device in "
            f"policy.torch.device_map"
        ) from error
    points = dict.fromkeys(begin, SplitPoint.BEGINNING)
    try:
        pipe = pipeline(network, tuple(positional), dict(keywords), points)
        count = pipe.num_stages
    except AttributeError:  # it looks for a stage that has nothing in it
        count = 0
    if count != len(begin) + 1:
        raise ValueError(
            f"cannot be cut where {', '.join(begin)} begins; name modules that run once, none within "
            f"another, and not the one that runs first"
        )
    return pipe


def place_stages(pipe: Pipe, home: torch.device, devices: Mapping[str, torch.device]) -> str:
    """Lay the first stage on `home` and the others, in their order, on `devices`; what each takes is brought
    to it. What comes back says where what lies.
    """
    for number, device in enumerate((home, *devices.values())):
        stage = pipe.get_stage_module(number)
        for module in stage.modules():
            _lay(module, device)
        stage.register_forward_pre_hook(
            lambda _, given, named, device=device: _moved((given, named), device), with_kwargs=True
        )
    return ", ".join([str(home), *(f"from {name} on {device}" for name, device in devices.items())])


def _modules(network: nn.Module, named: Collection[str]) -> dict[str, nn.Module]:
    """All modules by name. ValueError where one of the named is not among them."""
    modules = dict(network.named_modules())
    if unknown := [name for name in named if name not in modules]:
        raise ValueError(f"has no module {', '.join(unknown)}, but {', '.join(_largest(modules))}")
    return modules


def _lay(module: nn.Module, device: torch.device) -> bool:
    """The module's own tensors, and what its graph makes, on the device; whether it has any.

    A module of an exported program runs as generated code from then on: torch's interpreter takes four times
    as long for a small one.
    """
    module._apply(lambda tensor: tensor.to(device), recurse=False)  # type: ignore[no-untyped-call]
    for node in getattr(getattr(module, "graph", None), "nodes", ()):
        if "device" in node.kwargs:
            node.update_kwarg("device", device)
    code: nn.Module | None = module
    if isinstance(module, InterpreterModule):
        module._run_with_interpreter = False
        code = getattr(module, "graph_module", None)  # a list of modules has none
    if isinstance(code, torch.fx.GraphModule):
        code.recompile()
    return any(True for _ in (*module.parameters(recurse=False), *module.buffers(recurse=False)))


def _bring(module: nn.Module, device: torch.device) -> None:
    """Let what the module takes be brought to its device, and what it gives to where that came from.

    Within a module on the same device nothing moves. Policies also call parts of a module by themselves.
    """
    from accelerate.hooks import AlignDevicesHook, add_hook_to_module

    add_hook_to_module(module, AlignDevicesHook(execution_device=device, io_same_device=True))


def _moved(tree: Any, device: torch.device) -> Any:
    return pytree.tree_map_only(torch.Tensor, lambda tensor: tensor.to(device), tree)


def _device_within(name: str, devices: Mapping[str, torch.device]) -> torch.device | None:
    """The device of the innermost named module that this one is, or is in."""
    while name and name not in devices:
        name = name.rpartition(".")[0]
    return devices.get(name)


def _largest(modules: Mapping[str, nn.Module]) -> list[str]:
    """The names of some modules near the top, those with the most weights first."""
    sizes = {
        name: sum(weight.numel() for weight in module.parameters())
        for name, module in modules.items()
        if name and name.count(".") <= 2
    }
    return sorted(sizes, key=lambda name: -sizes[name])[:8]
