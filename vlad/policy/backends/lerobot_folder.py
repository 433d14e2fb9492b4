"""What a pretrained folder of LeRobot's holds, and why one is not loaded; LeRobot is not needed to know that.

LeRobot follows what the folder's files say: it imports any class that a step of a processor names, fetches
from the network what a model is built on, runs the code that comes with that, leaves numbers as they are
where a normaliser has none, and goes on with random weights where some are missing. So a folder is let
through only where it asks for none of that.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

POLICIES = frozenset({"act", "diffusion", "pi0", "pi05", "smolvla"})
"""The `type` in config.json: policies that need nothing but their folder, and run no code from it."""

STEPS = frozenset({
    "rename_observations_processor", "to_batch_processor", "device_processor", "normalizer_processor",
    "unnormalizer_processor", "tokenizer_processor", "smolvla_new_line_processor", "pi0_new_line_processor",
    "pi05_prepare_state_tokenizer_processor_step",
})  # fmt: skip
"""The steps of a processor that compute and do nothing else."""

CONFIG = "config.json"
PREPROCESSOR = "policy_preprocessor.json"
POSTPROCESSOR = "policy_postprocessor.json"

LANGUAGE = "vlm"
"""A folder in the folder: config and tokenizer of the language model, which LeRobot leaves to the Hub."""

_NORMALISERS = ("normalizer_processor", "unnormalizer_processor")
_HEADER_MAX = 100_000_000


def faults(weights: Path) -> list[str]:
    """Why the policy whose weights are in this file is not loaded; a line for each reason."""
    folder = weights.parent
    return [
        *_weight_faults(weights),
        *_config_faults(folder),
        *_processor_faults(folder, PREPROCESSOR),
        *_processor_faults(folder, POSTPROCESSOR),
        *_language_faults(folder),
    ]


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; ValueError, with the file and why, where there is none."""
    try:
        value = json.loads(path.read_bytes())
    except OSError as error:
        raise ValueError(
            f"{path}: cannot be read ({error.strerror}); copy all of the folder that LeRobot saved"
        ) from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: is not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise ValueError(f"{path}: is no JSON object; copy the folder again")
    return value


def _table(values: dict[str, Any], key: str) -> dict[str, Any]:
    value = values.get(key)
    return value if isinstance(value, dict) else {}


def language_model(folder: Path) -> Path | None:
    """Where the folder has the config and tokenizer of a language model."""
    return folder / LANGUAGE if (folder / LANGUAGE).is_dir() else None


def _weight_faults(path: Path) -> Iterator[str]:
    """Of a file of tensors: it begins with the length of a JSON object, and that object."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length)) if length <= _HEADER_MAX else None
    except OSError as error:
        yield f"{path}: cannot be read ({error.strerror}); copy all of the folder that LeRobot saved"
        return
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict):
        yield (
            f"{path}: is no safetensors file; weights are read from no other kind, since a pickle runs "
            f"anything; save the policy again with save_pretrained"
        )


def _config_faults(folder: Path) -> Iterator[str]:
    path = folder / CONFIG
    try:
        config = read_json(path)
    except ValueError as error:
        yield str(error)
        return
    kind = config.get("type")
    if kind not in POLICIES:
        yield f"{path}: type: {kind!r} cannot be run; this vlad runs {', '.join(sorted(POLICIES))}"
    if config.get("use_peft"):
        yield f"{path}: use_peft: holds an adapter alone; merge it into the policy and save that"
    if "action" not in _table(config, "output_features"):
        yield f"{path}: output_features: has no 'action'; save the policy again after training"
    if kind == "smolvla" and not (folder / LANGUAGE / CONFIG).is_file():
        yield _lacks_language(folder, CONFIG, config.get("vlm_model_name"))


def _processor_faults(folder: Path, name: str) -> Iterator[str]:
    path = folder / name
    try:
        steps = read_json(path).get("steps")
    except ValueError as error:
        yield str(error)
        return
    if not isinstance(steps, list) or not all(isinstance(step, dict) for step in steps):
        yield f"{path}: has no list of steps; save the policy's processors again"
        return
    for number, step in enumerate(steps):
        yield from _step_faults(folder, f"{path}: step {number}", step)


def _step_faults(folder: Path, where: str, step: dict[str, Any]) -> Iterator[str]:
    kind, state = step.get("registry_name"), step.get("state_file")
    if kind not in STEPS:
        named = repr(kind) if kind else f"the Python class {step.get('class')!r}"
        yield f"{where}: {named} is not run; this vlad runs {', '.join(sorted(STEPS))}"
        return
    if kind == "tokenizer_processor" and not (folder / LANGUAGE / "tokenizer.json").is_file():
        yield _lacks_language(folder, "tokenizer.json", _table(step, "config").get("tokenizer_name"))
    if state is None and kind in _NORMALISERS:
        yield f"{where}: {kind} has no state_file, so it would normalise nothing; save the processors again"
    elif state is not None and (not isinstance(state, str) or Path(state).name != state):
        yield f"{where}: state_file {state!r} is no file of this folder"
    elif state is not None:
        yield from _weight_faults(folder / state)


def _language_faults(folder: Path) -> Iterator[str]:
    """A config with an `auto_map` names Python files that would be run."""
    for path in sorted((folder / LANGUAGE).glob("*.json")):
        try:
            if "auto_map" in read_json(path):
                yield f"{path}: auto_map: names Python code, which is not run; use a model without it"
        except ValueError as error:
            yield str(error)


def _lacks_language(folder: Path, file: str, name: object) -> str:
    return (
        f"{folder / LANGUAGE / file}: is missing; nothing is fetched from the network: "
        f"`hf download {name} --include '*.json' '*.txt' --local-dir {folder / LANGUAGE}`"
    )
