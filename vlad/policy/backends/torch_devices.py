"""Which devices torch runs a model on: one, or several by the names of its modules.

With several, a model that is too large for one GPU is shared by some: each named module lies on its own
device, what it takes is brought there and what it gives is brought back, and all else stays on the first.
For one observation at a time nothing runs at the same time, so that two devices are no quicker than one.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from vlad.policy.backends import BackendError, Model


def device_of(model: Model) -> torch.device:
    """Where to run; BackendError where this computer has no such device."""
    return _found(model, "policy.device", model.device)


def devices_of(model: Model) -> dict[str, torch.device]:
    """The devices of single modules by their names; BackendError where this computer has one not."""
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


def place(network: nn.Module, devices: Mapping[str, torch.device], home: torch.device) -> str:
    """Lay the network on `home` and its named modules on their `devices`; ValueError for an unknown name.

    A module within a named one may have another device again. What comes back says where what lies.
    """
    from accelerate.hooks import AlignDevicesHook, add_hook_to_module

    network.to(home)
    modules = dict(network.named_modules())
    if unknown := [name for name in devices if name not in modules]:
        raise ValueError(
            f"has no module {', '.join(unknown)}; its largest are {', '.join(_largest(network))}"
        )
    for name in sorted(devices, key=lambda name: name.count(".")):
        hook = AlignDevicesHook(execution_device=devices[name], io_same_device=True, place_submodules=True)
        add_hook_to_module(modules[name], hook)
        modules[name].to(devices[name])
    return ", ".join([str(home), *(f"{name} on {device}" for name, device in devices.items())])


def _largest(network: nn.Module) -> list[str]:
    """The names of some modules, those with the most weights first."""
    sizes = {
        name: sum(weight.numel() for weight in module.parameters())
        for name, module in network.named_modules()
        if 0 < name.count(".") + bool(name) <= 2
    }
    return sorted(sizes, key=lambda name: -sizes[name])[:8]
