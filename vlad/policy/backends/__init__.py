"""What runs a model: one module for each backend, one protocol for all.

A backend's module has `load(model: Model) -> Backend`, and is imported only when a bundle asks for it.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from numpy.typing import NDArray

from vlad.server_settings import ServerSettings

# ONNX Runtime reports what it runs to its maker over the network, from a thread in this process, unless this
# is set before it is imported. A robot's daemon talks to nobody whom its owner did not name.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

BACKENDS: dict[str, str] = {
    "onnx": "vlad.policy.backends.onnx",
    "torch": "vlad.policy.backends.torch",
    "openvino": "vlad.policy.backends.openvino",
    "tensorrt": "vlad.policy.backends.tensorrt",
    "lerobot": "vlad.policy.backends.lerobot",
    "openpi": "vlad.policy.backends.openpi",
    "groot": "vlad.policy.backends.groot",
    "groot-n1.5": "vlad.policy.backends.groot_n15",
    "kserve": "vlad.policy.backends.kserve",
}
"""The `backend` of a bundle -> the module that has it."""

REMOTE: frozenset[str] = frozenset({"openpi", "groot", "groot-n1.5", "kserve"})
"""Those of them whose model runs on a server: their bundles have no model file."""

READS_JPEG: frozenset[str] = frozenset({"kserve"})
"""Those of them that can be sent a picture as a JPEG file. openpi's policies take arrays, and GR00T's servers
insist on uint8 arrays."""

LOCKING: frozenset[str] = frozenset({"torch", "lerobot"})
"""Those of them that hold Python's lock while they read a model: for each tensor, or for all of the file; a
hundred megabytes take 80 to 230 ms."""

Tensors: TypeAlias = Mapping[str, NDArray[Any]]


class BackendError(Exception):
    """The model could not be loaded or run; the message says which file and what the runtime said."""


class ServerLost(BackendError):  # noqa: N818 - a state, which may end by itself
    """The policy's server gives no answer, or none that can be used; it may get well without us."""


@dataclass(frozen=True, slots=True)
class OnnxOptions:
    """What is set for ONNX Runtime alone, as in vlad.toml's [policy.onnx]; `arena_mb` 0 is no limit."""

    providers: tuple[str, ...] = ("cpu",)
    arena_mb: int = 0


@dataclass(frozen=True, slots=True)
class TensorrtOptions:
    """What is set for TensorRT alone, as in vlad.toml's [policy.tensorrt]; `workspace_mb` 0 is no limit."""

    workspace_mb: int = 0


@dataclass(frozen=True, slots=True)
class TorchOptions:
    """What is set for torch alone, as in vlad.toml's [policy.torch]: the devices of single modules, or of
    stages by the modules that they begin with.
    """

    device_map: Mapping[str, str] = field(default_factory=dict)
    stages: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Model:
    """What to load. `outputs` are the graph outputs that are wanted, `threads` the CPU threads it may use.

    `device` is "cpu", "cuda" or "cuda:1", for the backends that can choose. `shapes` are those that the
    inputs will have, and `cache` is a folder for what takes long to make of a model; None: it is made each
    time.
    """

    path: Path
    precision: str
    outputs: tuple[str, ...]
    threads: int
    _: KW_ONLY
    device: str = "cpu"
    onnx: OnnxOptions = field(default_factory=OnnxOptions)
    tensorrt: TensorrtOptions = field(default_factory=TensorrtOptions)
    torch: TorchOptions = field(default_factory=TorchOptions)
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    cache: Path | None = None
    server: ServerSettings | None = None
    """Where the model runs, for the backends in REMOTE; `path` is the bundle's folder then."""
    name: str = ""
    """The bundle's: what a server with several models calls the one to run."""
    jpeg: frozenset[str] = frozenset()
    """The inputs that are JPEG files, for the backends in READS_JPEG."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """What the graph says of one input or output: NumPy's name of its type, None for an open dimension.

    None in place of either: the graph does not say, only a run shows it.
    """

    dtype: str | None
    shape: tuple[int | None, ...] | None


@dataclass(frozen=True, slots=True)
class Description:
    """What was loaded: the graph's inputs and outputs by name, and what it runs on.

    In bytes: `elsewhere`, the memory that it takes outside of this process, and `activations`, what the last
    warm-up saw a run take at the most and give back; 0: nothing, or it keeps them.
    """

    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]
    device: str
    elsewhere: int = 0
    activations: int = 0


class Backend(Protocol):
    """A loaded model. One thread at a time calls it; `run` releases the GIL while the model runs."""

    def describe(self) -> Description | None:
        """What the graph itself says, to be compared with the manifest; None where nobody says it.

        ServerLost where a server would say it.
        """
        ...

    def warm_up(self, inputs: Tensors) -> None:
        """Do what only the first run does: allocate, compile, connect. BackendError as for `run`."""
        ...

    def run(self, inputs: Tensors) -> Tensors:
        """The wanted outputs for these inputs, which are C-contiguous; BackendError where it fails."""
        ...

    def close(self) -> None:
        """Give back memory, devices and connections. It is not run again."""
        ...


def load_backend(name: str, model: Model) -> Backend:
    """Load `model` with the backend of that name, one of BACKENDS; BackendError where it cannot be loaded."""
    try:
        module = importlib.import_module(BACKENDS[name])
    except ModuleNotFoundError as error:
        raise _absent(name, model, error) from error
    except (ImportError, OSError) as error:
        raise BackendError(
            f"{model.path}: backend {name!r} lacks a library: {error}; install it, or NVIDIA's driver "
            f"where it is the driver's"
        ) from error
    except RuntimeError as error:
        raise BackendError(
            f"{model.path}: backend {name!r} has packages that do not fit each other: {error}; install "
            f"builds that belong together, `pip install vlad[{name}]`"
        ) from error
    try:
        backend: Backend = module.load(model)
    except ModuleNotFoundError as error:  # of what only some models of a backend need
        raise _absent(name, model, error) from error
    return backend


def _absent(name: str, model: Model, error: ModuleNotFoundError) -> BackendError:
    package = (error.name or "").partition(".")[0]
    return BackendError(
        f"{model.path}: backend {name!r} needs the package {package}, which is not installed; "
        f"`pip install vlad[{name}]`"
    )
