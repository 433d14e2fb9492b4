"""LeRobot's policies (ACT, Diffusion Policy, SmolVLA, pi0, pi0.5) from the folder that it saves them in.

The bundle's model is the folder's model.safetensors. Inputs carry the names that the policy's features have:
pictures as uint8, which become 0 to 1 as in LeRobot, a state as float32, and `task`, a text. The output is
`action`. LeRobot's own processors normalise; mean and std of the manifest can turn units into the robot's.
The inputs `prev_chunk_left_over` and `inference_delay` are LeRobot's real-time chunking, which SmolVLA, pi0
and pi0.5 can do: a chunk goes on from the committed rows of a prefix.
"""

from __future__ import annotations

import importlib
import os
import threading
from dataclasses import replace
from typing import Any

# Before anything is imported that could ask the Hub: nothing is fetched while a robot runs.
os.environ["HF_HUB_OFFLINE"] = os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"

import draccus
import huggingface_hub.constants
import numpy as np
import torch
from lerobot.configs.policies import PreTrainedConfig
from lerobot.policies.utils import populate_queues
from lerobot.processor import PolicyProcessorPipeline
from lerobot.processor.converters import (
    batch_to_transition,
    policy_action_to_transition,
    transition_to_batch,
    transition_to_policy_action,
)
from safetensors import SafetensorError
from safetensors.torch import load_model
from torch import Tensor

from vlad.policy.backends import BackendError, Description, Model, Tensors, TensorSpec
from vlad.policy.backends.lerobot_folder import (
    CONFIG,
    POSTPROCESSOR,
    PREPROCESSOR,
    faults,
    language_model,
    read_json,
)
from vlad.policy.backends.torch_devices import device_of, devices_of, place
from vlad.policy.backends.torch_memory import most_in_use

huggingface_hub.constants.HF_HUB_OFFLINE = True  # where somebody imported it before

_CLASSES = {
    "act": "ACTPolicy",
    "diffusion": "DiffusionPolicy",
    "pi0": "PI0Policy",
    "pi05": "PI05Policy",
    "smolvla": "SmolVLAPolicy",
}

_HALF = {"float16": torch.float16, "bfloat16": torch.bfloat16}

_FAILURES = (
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    OSError,
    RuntimeError,
    SafetensorError,
    TypeError,
    ValueError,
    draccus.utils.DecodingError,
)
"""What LeRobot and torch raise on a folder or an input that they cannot use."""

_WARM_RUNS = 3
_IMAGES = "observation.images"
_PREFIX, _COMMITTED = "prev_chunk_left_over", "inference_delay"


class LerobotBackend:
    """A policy of LeRobot's between its own processors."""

    def __init__(self, model: Model) -> None:
        self._path = model.path
        self._threads = model.threads
        self._thread = 0
        if reasons := faults(model.path):
            raise BackendError("\n".join(reasons))
        if model.torch.stages:
            raise BackendError(
                f"{model.path}: policy.torch.stages is for exported programs of torch; name the modules of a "
                f"LeRobot policy in policy.torch.device_map"
            )
        self._device = device_of(model)
        self._half = _autocast(model)
        try:
            self._config = _config(model)
            self._policy = _policy(model, self._config)
            self._before, self._after = _processors(model, self._config, self._device)
            placed = place(self._policy, self._device, devices_of(model))
        except _FAILURES as error:
            raise BackendError(
                f"{model.path}: LeRobot cannot load it: {error or type(error).__name__}; save it again with "
                f"save_pretrained of the LeRobot that is installed here"
            ) from error
        self._description = Description(
            _inputs(model, self._config, self._before), _outputs(self._config), placed
        )

    def describe(self) -> Description:
        return self._description

    def warm_up(self, inputs: Tensors) -> None:
        for _ in range(_WARM_RUNS):
            self.run(inputs)
        most = most_in_use(lambda: self.run(inputs))
        self._description = replace(self._description, activations=most)

    def run(self, inputs: Tensors) -> Tensors:
        if threading.get_ident() != self._thread:  # OpenMP keeps the number for each thread
            torch.set_num_threads(self._threads)
            self._thread = threading.get_ident()
        try:
            # Real-time chunking needs gradients, which inference mode would forbid.
            with torch.no_grad(), torch.autocast(self._device.type, self._half, enabled=bool(self._half)):
                actions = self._after(self._predict(inputs))
            return {"action": actions.to("cpu", torch.float32).contiguous().numpy()}
        except _FAILURES as error:
            raise BackendError(f"{self._path}: LeRobot failed: {error or type(error).__name__}") from error

    def close(self) -> None:
        del self._policy, self._before, self._after
        if self._device.type != "cpu":
            torch.cuda.empty_cache()

    def _predict(self, inputs: Tensors) -> Tensor:
        """The chunk (1, H, D) as the model gives it, without its normalisation undone."""
        given = {name: _given(array) for name, array in inputs.items()}
        prefix, committed = given.pop(_PREFIX, None), int(given.pop(_COMMITTED, 0))
        batch = self._before(given if prefix is None else {**given, "action": prefix})
        prefix = batch.pop("action")
        if self._config.type == "diffusion":
            batch = self._remembered(batch)
        chunking = {}
        if prefix is not None and committed:
            # Rows that are not committed are not all known: nothing is asked of them.
            chunking = {_PREFIX: prefix[:, :committed], _COMMITTED: committed, "execution_horizon": committed}
        chunk: Tensor = self._policy.predict_action_chunk(batch, **chunking)
        return chunk

    def _remembered(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Fill the policy's own memory with the history in `batch`, the oldest first."""
        features, count = self._config.input_features, self._config.n_obs_steps
        self._policy.reset()
        for step in range(count):
            now = {name: batch[name][:, step] if count > 1 else batch[name] for name in features}
            if images := [now[name] for name in self._config.image_features]:
                now[_IMAGES] = torch.stack(images, dim=-4)
            populate_queues(self._policy._queues, now)
        return now


def load(model: Model) -> LerobotBackend:
    """Load a folder of LeRobot's; BackendError where it cannot be used, or may not."""
    return LerobotBackend(model)


def _config(model: Model) -> Any:
    """The policy's own config, without anything that would be fetched: the weights have all of it.

    The policy is made on the CPU, since all of it might be too much for any other device.
    """
    values = read_json(model.path.parent / CONFIG)
    kind = values.pop("type")
    importlib.import_module(f"lerobot.policies.{kind}.modeling_{kind}")
    importlib.import_module(f"lerobot.policies.{kind}.processor_{kind}")
    config: Any = draccus.decode(PreTrainedConfig.get_choice_class(kind), values)
    config.device = "cpu"
    if hasattr(config, "pretrained_backbone_weights"):
        config.pretrained_backbone_weights = None
    if hasattr(config, "vlm_model_name"):
        config.load_vlm_weights = False
        config.vlm_model_name = str(language_model(model.path.parent))
    if _PREFIX in model.shapes:
        rtc = importlib.import_module("lerobot.policies.rtc.configuration_rtc")
        if not hasattr(config, "rtc_config"):
            raise ValueError(f"a policy of the type {kind} takes no {_PREFIX}; remove the input")
        config.rtc_config = config.rtc_config or rtc.RTCConfig()
        config.rtc_config.enabled = True
    return config


def _policy(model: Model, config: Any) -> Any:
    """The policy with all of its weights. Its own from_pretrained goes on where weights are missing."""
    module = importlib.import_module(f"lerobot.policies.{config.type}.modeling_{config.type}")
    policy = getattr(module, _CLASSES[config.type])(config)
    load_model(policy, model.path, strict=True)
    return policy.eval().requires_grad_(False)


def _processors(model: Model, config: Any, device: torch.device) -> tuple[Any, Any]:
    """What stands before and behind the policy, on its device and without anything to fetch."""
    folder = model.path.parent
    own: dict[str, dict[str, Any]] = {"device_processor": {"device": str(device)}}
    if (language := language_model(folder)) is not None:
        own["tokenizer_processor"] = {"tokenizer_name": str(language)}
    steps = {step["registry_name"] for step in read_json(folder / PREPROCESSOR)["steps"]}
    before = PolicyProcessorPipeline.from_pretrained(
        folder, PREPROCESSOR, local_files_only=True,
        overrides={name: values for name, values in own.items() if name in steps},
        to_transition=batch_to_transition, to_output=transition_to_batch,
    )  # fmt: skip
    after = PolicyProcessorPipeline.from_pretrained(
        folder, POSTPROCESSOR, local_files_only=True,
        to_transition=policy_action_to_transition, to_output=transition_to_policy_action,
    )  # fmt: skip
    _check_numbers(before, config)
    _check_numbers(after, config)
    return before, after


def _check_numbers(processor: Any, config: Any) -> None:
    """A normaliser leaves a feature as it is that it has no numbers for: ValueError."""
    for step in processor.steps:
        for name, feature in getattr(step, "features", {}).items():
            mode = step.norm_map.get(feature.type, "IDENTITY")
            used = name in config.input_features or name in config.output_features
            if (
                used
                and mode != "IDENTITY"
                and not any(key.startswith(f"{name}.") for key in step.state_dict())
            ):
                raise ValueError(f"{processor.name}: has no numbers to normalise {name} with ({mode.value})")


def _inputs(model: Model, config: Any, before: Any) -> dict[str, TensorSpec]:
    """What the preprocessor takes: a picture (1, H, W, 3), a row (1, N), or with a history (1, K, ...)."""
    earlier: dict[str, str] = {}
    specs = {}
    for step in before.steps:
        earlier |= {new: old for old, new in getattr(step, "rename_map", {}).items()}
        if hasattr(step, "task_key"):
            specs[step.task_key] = TensorSpec("object", (1,))
    several = (config.n_obs_steps,) if config.n_obs_steps > 1 else ()
    for name, feature in config.input_features.items():
        kind, shape = feature.type.value, tuple(feature.shape)
        if kind == "VISUAL" and not name.startswith(f"{_IMAGES}.empty_camera_"):
            specs[earlier.get(name, name)] = TensorSpec("uint8", (1, *several, *shape[1:], shape[0]))
        elif kind in ("STATE", "ENV"):
            specs[earlier.get(name, name)] = TensorSpec("float32", (1, *several, *shape))
    if _PREFIX in model.shapes:
        width = config.output_features["action"].shape[0]
        specs[_PREFIX] = TensorSpec("float32", (1, None, width))
        specs[_COMMITTED] = TensorSpec("int64", (1,))
    return specs


def _outputs(config: Any) -> dict[str, TensorSpec]:
    """Where nothing says how many steps a chunk has, the first run shows it."""
    width = config.output_features["action"].shape[0]
    return {"action": TensorSpec("float32", (1, getattr(config, "chunk_size", None), width))}


def _given(array: Any) -> Any:
    """A text as it is; a picture's channels first, 0 to 1; all else as it is."""
    if array.dtype == object:
        return list(array)
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    return tensor.movedim(-1, -3).float().div(255).contiguous() if array.dtype == np.uint8 else tensor


def _autocast(model: Model) -> torch.dtype | None:
    """The half float to compute in; None: as the policy itself says."""
    if model.precision == "int8":
        raise BackendError(f"{model.path}: LeRobot's policies have no int8; use float32 or bfloat16")
    if model.precision == "float32":
        torch.backends.cudnn.allow_tf32 = False
    return _HALF.get(model.precision)
