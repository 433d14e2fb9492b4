"""A manifest for a pretrained folder of LeRobot's: what its config says, matched with the robot's signals."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vlad.config import SignalSettings
from vlad.policy.backends.lerobot_folder import CONFIG, PREPROCESSOR, faults, read_json
from vlad.policy.bundle import BundleRefused
from vlad.robot import Robot

WEIGHTS = "model.safetensors"
_PICTURES = ("image", "compressed_image")


def propose_manifest(
    folder: Path, robot: Robot, signals: Mapping[str, SignalSettings], rate_hz: float
) -> dict[str, Any]:
    """All but name, version and latency; BundleRefused with every reason why that cannot be told.

    A camera is the signal with the last part of the feature's name, or the only one. State and action are
    the robot's axes in their order, in its units. `rate_hz` is that of the data that the policy learned from.
    """
    if reasons := faults(folder / WEIGHTS):
        raise BundleRefused(reasons)
    config, found = read_json(folder / CONFIG), _Found(robot, signals)
    several = [count] if (count := config.get("n_obs_steps", 1)) > 1 else []
    steps = read_json(folder / PREPROCESSOR)["steps"]
    earlier = {
        new: old for step in steps for old, new in (step.get("config", {}).get("rename_map") or {}).items()
    }
    inputs = [
        found.input(earlier.get(name, name), feature["type"], feature["shape"], several)
        for name, feature in config["input_features"].items()
        if not name.startswith("observation.images.empty_camera_")
    ]
    if any(step["registry_name"] == "tokenizer_processor" for step in steps):
        told = found.signal("task", ("instruction",))
        inputs.append({"name": "task", "kind": "instruction", "signal": told})
    width = config["output_features"]["action"]["shape"][0]
    found.axes("action", width)
    if found.reasons:
        raise BundleRefused([f"{folder / CONFIG}: {reason}" for reason in found.reasons])
    return {
        "robot_type": robot.type, "backend": "lerobot", "precision": "float32", "model": WEIGHTS,
        "inputs": inputs,
        "output": {
            "name": "action", "kind": robot.command, "names": list(robot.axes), "step_s": 1 / rate_hz,
            "horizon": config.get("chunk_size") or config["n_action_steps"], **_as_it_is(width),
        },
        "provenance": {"policy": config["type"], "folder": folder.name},
    }  # fmt: skip


class _Found:
    """What the robot has for the features of a policy, and `reasons` why there is nothing for some."""

    def __init__(self, robot: Robot, signals: Mapping[str, SignalSettings]) -> None:
        self.reasons: list[str] = []
        self._robot = robot
        self._signals = signals

    def input(self, name: str, kind: str, shape: list[int], several: list[int]) -> dict[str, Any]:
        if kind == "VISUAL":
            return {
                "name": name, "kind": "image", "signal": self.signal(name, _PICTURES), "dtype": "uint8",
                "shape": [1, *several, *shape[1:], shape[0]],
            }  # fmt: skip
        if kind != "STATE":
            self.reasons.append(f"{name}: is a {kind}, which no signal of a robot is")
        self.axes(name, shape[0])
        return {
            "name": name, "kind": "joint_state", "signal": self.signal(name, ("joint_state",)),
            "field": "position", "joints": list(self._robot.axes), "shape": [1, *several, *shape],
            **_as_it_is(shape[0]),
        }  # fmt: skip

    def signal(self, name: str, types: tuple[str, ...]) -> str:
        """The signal of one of these types with this name's last part, or the only one."""
        fit = [topic for topic, signal in self._signals.items() if signal.type in types]
        wanted = name.rpartition(".")[2]
        if wanted not in fit and len(fit) != 1:
            self.reasons.append(
                f"{name}: no signal of the type {types[0]} is called {wanted!r} in the settings, and there "
                f"is not just one; add [signals.{wanted}], or rename the signal"
            )
        return wanted if wanted in fit or not fit else fit[0]

    def axes(self, name: str, width: int) -> None:
        if width != (count := len(self._robot.axes)):
            self.reasons.append(
                f"{name}: has {width} numbers, the robot has {count} axes; use a policy that was trained for "
                f"this robot"
            )


def _as_it_is(width: int) -> dict[str, list[float]]:
    """LeRobot's own processors normalise."""
    return {"mean": [0.0] * width, "std": [1.0] * width}
