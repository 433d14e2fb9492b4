"""What the benchmarks stand on: settings and a model made for the occasion, and the real daemon on them."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import psutil
from onnx import TensorProto, helper, numpy_helper

from vlad.ctl.client import Client
from vlad.policy.bundle import write_manifest
from vlad.policy.toml import write_toml

ROOT = Path(__file__).resolve().parents[2]
HORIZON, STEP_S = 20, 0.1


def _nodes(rounds: int) -> list[onnx.NodeProto]:
    """actions = plan + 0 * (mean of the image + mean of the last matrix product)."""
    nodes = [helper.make_node("ReduceMean", ["image"], ["mean"], keepdims=0)]
    if rounds:
        nodes.append(helper.make_node("Add", ["seed", "mean"], ["m0"]))
        nodes += [
            helper.make_node("MatMul", [f"m{number}", "weights"], [f"m{number + 1}"])
            for number in range(rounds)
        ]
        nodes.append(helper.make_node("ReduceMean", [f"m{rounds}"], ["product"], keepdims=0))
    nodes.append(helper.make_node("Mul", ["product" if rounds else "mean", "zero"], ["nothing"]))
    nodes.append(helper.make_node("Add", ["plan", "nothing"], ["actions"]))
    return nodes


def write_policy(
    folder: Path,
    signal_name: str,
    size: int,
    rounds: int,
    twist: tuple[float, float] = (0.05, 0.05),
    version: str = "1",
) -> Path:
    """A bundle whose model reads an image and costs `rounds` 512 x 512 matrix products; it says `twist`.

    With no rounds it does next to nothing, so that what is measured is vlad's own time.
    """
    folder.mkdir(parents=True)
    plan = np.tile(np.array(twist, np.float32), (1, HORIZON, 1))
    constants = {"plan": plan, "zero": np.zeros((1,), np.float32)}
    if rounds:
        constants["weights"] = np.random.default_rng(0).normal(0, 0.01, (512, 512)).astype(np.float32)
        constants["seed"] = np.ones((512, 512), np.float32)
    graph = helper.make_graph(
        _nodes(rounds),
        "bench",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, (1, 3, size, size))],
        [helper.make_tensor_value_info("actions", TensorProto.FLOAT, (1, HORIZON, 2))],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, folder / "model.onnx")
    return write_camera_bundle(folder, "onnx", "model.onnx", signal_name, size, rounds, version)


def write_camera_bundle(
    folder: Path, backend: str, model: str, signal_name: str, size: int, rounds: int, version: str
) -> Path:
    """The bundle around such a model for this backend, the file `model` in the folder."""
    image = {"name": "image", "shape": [1, 3, size, size], "mean": [0.5] * 3, "std": [0.25] * 3}
    latency_s = 0.03 if rounds else 0.001
    manifest = {
        "version": version,
        "backend": backend,
        "model": model,
        "expected_latency_s": latency_s,
    }
    return _write_bundle(folder, manifest, image | {"kind": "image", "signal": signal_name}, "actions")


def write_remote_policy(folder: Path, backend: str, signal_name: str, size: tuple[int, int]) -> Path:
    """A bundle for a server that drives slowly ahead; `size` is the picture's height and width."""
    folder.mkdir(parents=True)
    name, output = {
        "openpi": ("observation/image", "actions"),
        "groot": ("video.front", "base"),
        "groot-n1.5": ("video.front", "action.base"),
        "kserve": ("camera", "actions"),
    }[backend]
    image = {"name": name, "kind": "image", "signal": signal_name, "shape": [1, *size, 3], "dtype": "uint8"}
    return _write_bundle(folder, {"backend": backend, "expected_latency_s": 0.002}, image, output)


def _write_bundle(folder: Path, manifest: dict[str, Any], image: dict[str, Any], output: str) -> Path:
    """policy.toml in `folder`, for the rover."""
    common = {
        "schema": 1,
        "name": "bench",
        "version": "1",
        "robot_type": "rover",
        "precision": "float32",
        "inputs": [image],
        "output": {
            "name": output,
            "kind": "twist",
            "names": ["linear_x", "angular_z"],
            "horizon": HORIZON,
            "step_s": STEP_S,
            "mean": [0.0] * 2,
            "std": [1.0] * 2,
        },
    }
    write_manifest(folder, common | manifest)
    return folder


@dataclass
class Rig:
    """A folder with settings, and the processes that a benchmark starts; all are gone when it is left."""

    folder: Path
    signals: dict[str, dict[str, Any]]
    policy: dict[str, Any] = field(default_factory=dict)
    realtime: dict[str, Any] = field(default_factory=dict)
    page: dict[str, Any] = field(default_factory=lambda: {"listen": ""})
    record: dict[str, Any] = field(default_factory=lambda: {"mode": "off"})
    guard: bool = False
    """A guard runs beside the daemon, which needs it."""
    velocity: tuple[float, float] = (1.0, 1.0)
    """How fast the robot may be: ahead [m/s], and around [rad/s]."""
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def run_dir(self) -> Path:
        return self.folder / "run"

    @property
    def sensors(self) -> str:
        return f"ipc://{self.run_dir}/sensors.sock"

    @property
    def commands(self) -> str:
        return f"ipc://{self.run_dir}/commands.sock"

    def write_settings(self) -> Path:
        """The rover's limits without the obstacle stop, and the signals that this benchmark feeds."""
        robot = self.folder / "rover.toml"
        axes = {
            name: {"velocity": velocity, "acceleration": 20.0}
            for name, velocity in zip(("linear_x", "angular_z"), self.velocity, strict=True)
        }
        robot.write_text(write_toml({"name": "bench", "type": "rover", "command": "twist", "axes": axes}))
        path = self.folder / "vlad.toml"
        values: dict[str, Any] = {
            "robot": {"limits": str(robot)},
            "paths": {"run_dir": str(self.run_dir), "state_dir": str(self.folder / "state")},
            "realtime": self.realtime,
            "signals": self.signals,
            "policy": self.policy,
            "guard": {"required": self.guard},
            "page": self.page,
            "maintenance": {"health_check": {"schedule": "off"}, "hardware_check": {"schedule": "off"}},
            "record": self.record,
        }
        path.write_text(write_toml(values))
        return path

    def start(self, module: str, *arguments: object, environment: dict[str, str] | None = None) -> int:
        """Start `python -m module` beside us; its index in `processes`."""
        words = [sys.executable, "-m", module, *(str(argument) for argument in arguments)]
        with (self.folder / f"{module}.log").open("ab") as output:
            process = subprocess.Popen(
                words, stdout=output, stderr=output, cwd=ROOT, env={**os.environ, **(environment or {})}
            )
        self.processes.append(process)
        return len(self.processes) - 1

    def feed(self, streams: Sequence[str]) -> int:
        return self.start("tools.benchmarks.feed", self.sensors, *streams)

    def start_daemon(self, module: str = "vlad", *arguments: object) -> float:
        """Start the daemon, wait for READY as systemd does; seconds from the start of the process to it."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
            systemd.bind(str(self.folder / "notify"))
            systemd.settimeout(30)
            began_s = time.monotonic()
            index = self.start(module, *arguments, environment={"NOTIFY_SOCKET": str(self.folder / "notify")})
            try:
                while b"READY=1" not in systemd.recv(4096):
                    continue
            except TimeoutError:
                log = (self.folder / f"{module}.log").read_text()
                raise SystemExit(f"the daemon did not get ready within 30 s; it said:\n{log}") from None
            ready_s = time.monotonic() - began_s
        self.daemon = psutil.Process(self.processes[index].pid)
        if self.guard:
            self.start("vlad.guard", "--config", self.folder / "vlad.toml")
        return ready_s

    def call(self, method: str, timeout_s: float = 5.0, **params: Any) -> Any:
        with Client(self.run_dir, timeout_s) as client:
            return client.call(method, **params)

    def arm(self) -> None:
        """Arm as soon as nothing stands against it any more."""
        for _ in range(100):
            answer = self.call("arm")
            if answer["ok"]:
                return
            time.sleep(0.1)
        against = "; ".join(f"{row['id']} {row['subject']} {row['detail']}" for row in answer["refusals"])
        raise SystemExit(f"cannot be armed: {against}")

    def stop(self, index: int) -> None:
        """SIGTERM, and wait until it has ended in order."""
        process = self.processes[index]
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)


@contextlib.contextmanager
def rig(
    signals: dict[str, dict[str, Any]],
    policy: dict[str, Any] | None = None,
    realtime: dict[str, Any] | None = None,
    guard: bool = False,
    record: dict[str, Any] | None = None,
) -> Iterator[Rig]:
    """A rig in a folder of its own, with everything stopped and removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="vlad-bench-"))
    made = Rig(folder, signals, policy or {}, realtime or {}, record=record or {"mode": "off"}, guard=guard)
    try:
        yield made
    finally:
        for process in reversed(made.processes):
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(timeout=15)
                except subprocess.TimeoutExpired:
                    process.kill()
        shutil.rmtree(folder)
