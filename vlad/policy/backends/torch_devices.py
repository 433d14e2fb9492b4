"""Which devices torch runs a model on: one, or several by the names of its modules.

With several, a model that is too large for one GPU is shared by some: each named module lies on its own
device, what it takes is brought there, and what it gives is brought back to where its surroundings lie. One
observation is under way at a time, so that the devices work one after the other: this is for memory, not for
speed. Schedules that keep all stages of a pipeline busy need many observations at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

from vlad.policy.backends import BackendError, Model


def device_of(model: Model) -> torch.device:
    """Where to run; BackendError where this computer has no such device."""
    return _found(model, "policy.device", model.device)


def devices_of(model: Model) -> dict[str, torch.device]:
    """The devices of single modules by their names; BackendError where this computer lacks one."""
    return {
        name: _found(model, f"policy.torch.device_map.{name}", device)
        for name, device in model.torch.device_map.items()
    }


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
    modules = dict(network.named_modules())
    if unknown := [name for name in devices if name not in modules]:
        raise ValueError(f"has no module {', '.join(unknown)}, but {', '.join(_largest(modules))}")
    for name, module in modules.items():
        # One by one: all of the network might be too much for its home.
        _lay(module, _device_within(name, devices) or home)
    for name, device in devices.items():
        _bring(modules[name], device, _device_within(name.rpartition(".")[0], devices) or home)
    return ", ".join([str(home), *(f"{name} on {device}" for name, device in devices.items())])


def _lay(module: nn.Module, device: torch.device) -> None:
    """The module's own tensors, and what the graph of an exported one makes, on the device."""
    module._apply(lambda tensor: tensor.to(device), recurse=False)  # type: ignore[no-untyped-call]
    for node in getattr(getattr(module, "graph", None), "nodes", ()):
        if "device" in node.kwargs:
            node.update_kwarg("device", device)


def _bring(module: nn.Module, device: torch.device, around: torch.device) -> None:
    """Let what the module takes be brought to its device, and what it gives to where it is used."""

    def bring(_: nn.Module, positional: Any, named: Any) -> Any:
        return _moved(positional, device), _moved(named, device)

    module.register_forward_pre_hook(bring, with_kwargs=True)
    module.register_forward_hook(lambda _, given, result: _moved(result, around))


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
