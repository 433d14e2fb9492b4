"""calibration_check of a real daemon: drivers publish, something is injected, and it is found."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tools.benchmarks.rig import Rig, rig
from vlad.driver import SensorPublisher
from vlad.maintenance.sensors import shelf
from vlad.messages import Image, Imu, JointState, Odometry, Wrench
from vlad.policy.toml import write_toml

SIGNALS: dict[str, dict[str, Any]] = {
    "imu": {"type": "imu", "required": False},
    "wrist/force": {"type": "wrench", "required": False},
    "camera": {"type": "image", "required": False},
    "joints": {"type": "joint_state", "required": False},
    "odometry": {"type": "odometry", "required": False},
    "depth": {"type": "image", "required": False},
}
LEVEL = (0.0, 0.0, 0.0, 1.0)
NONE = (0.0, 0.0, 0.0)


def picture() -> np.ndarray:
    noise = np.random.default_rng(0).standard_normal((120, 160))
    return np.clip(128 + 60 * cv2.GaussianBlur(noise, (0, 0), 1.2) / 0.25, 10, 245)


class Drivers:
    """Of a robot at rest, until a test changes what they say; None: nothing."""

    def __init__(self, endpoint: str) -> None:
        self.bias, self.force, self.speed, self.joint = NONE, NONE, 0.0, 0.1
        self.scene: np.ndarray | None = picture()
        self._endpoint = endpoint
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def close(self) -> None:
        self._ending.set()
        self._thread.join()

    def _run(self) -> None:
        publishers = {
            topic: SensorPublisher(self._endpoint, topic, known["type"]) for topic, known in SIGNALS.items()
        }
        rng, count = np.random.default_rng(1), 0
        while not self._ending.wait(0.01):
            noise = 0.002 * rng.standard_normal(3)
            publishers["imu"].publish(Imu(LEVEL, tuple(noise + self.bias), (0.0, 0.0, 9.81)))
            publishers["wrist/force"].publish(Wrench(self.force, NONE))
            position = np.array([self.joint, 77.0 + count], np.float32)
            publishers["joints"].publish(JointState(("elbow", "wheel"), position=position))
            publishers["odometry"].publish(Odometry("base", NONE, LEVEL, (self.speed, 0.0, 0.0), NONE))
            if count % 10 == 0 and self.scene is not None:
                grain = 2 * rng.standard_normal(self.scene.shape)
                publishers["camera"].publish(
                    Image("mono8", np.clip(self.scene + grain, 0, 255).astype(np.uint8))
                )
                publishers["depth"].publish(Image("16UC1", np.zeros((4, 4), np.uint16)))
            count += 1
        for publisher in publishers.values():
            publisher.close()


class Robot:
    """A daemon with its drivers, asked as an operator asks it."""

    def __init__(self, made: Rig, drivers: Drivers) -> None:
        self.made = made
        self.drivers = drivers

    def check(self, *words: str) -> dict[str, Any]:
        command = [
            sys.executable,
            "-m",
            "vlad.ctl",
            "--run-dir",
            str(self.made.run_dir),
            "maintenance",
            "run",
        ]
        done = subprocess.run(
            [*command, "calibration_check", *words, "--json"],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def kept(self, topic: str) -> Path:
        return shelf.file_of(self.made.folder / "state", topic)

    def rows(self, *words: str) -> dict[str, dict[str, Any]]:
        return {f"{row['topic']} {row['name']}": row for row in self.check(*words)["rows"]}

    def states(self, *words: str) -> dict[str, str]:
        return {name: row["state"] for name, row in self.rows(*words).items()}


@pytest.fixture(scope="module")
def robot() -> Iterator[Robot]:
    with running() as made:
        yield made


@contextmanager
def running() -> Iterator[Robot]:
    with rig(SIGNALS, realtime={"lock_memory": False}) as made:
        settings = made.write_settings()
        folder = Path(f"{settings}.d")
        folder.mkdir()
        check = {"seconds": 1.5, "pose": {"elbow": 0.1}}
        (folder / "check.toml").write_text(write_toml({"maintenance": {"calibration_check": check}}))
        made.start_daemon("vlad", "--config", settings)
        drivers = Drivers(made.sensors)
        try:
            deadline_s = time.monotonic() + 30
            while made.call("status")["signals"]["camera"]["age_s"] is None:
                assert time.monotonic() < deadline_s
                time.sleep(0.1)
            yield Robot(made, drivers)
        finally:
            drivers.close()


def test_a_reference_is_stored_and_what_is_injected_after_it_is_found(robot: Robot) -> None:
    first = robot.states("--reference")
    assert first["imu gyro bias x"] == first["camera sharpness"] == first["wrist/force force at zero"] == "ok"
    again = robot.states()
    assert set(again.values()) == {"ok", "unknown"}
    assert [name for name, state in again.items() if state == "unknown"] == ["depth calibration"]
    assert again["joints position of elbow"] == "ok"
    assert not any("wheel" in name for name in again)

    robot.drivers.bias = (0.0, 0.0, 0.05)
    robot.drivers.force = (0.0, 3.5, 0.0)
    robot.drivers.joint = 0.15
    robot.drivers.scene = cv2.GaussianBlur(picture(), (0, 0), 2)
    found = robot.rows()
    bad = {name for name, row in found.items() if row["state"] in ("warning", "problem")}
    assert bad >= {
        "imu gyro bias z", "wrist/force force at zero", "joints position of elbow", "camera sharpness"
    }  # fmt: skip
    assert found["imu gyro bias z"]["measured"] == pytest.approx(0.05, abs=0.002)
    assert found["imu gyro bias z"]["reference"] == pytest.approx(0.0, abs=0.002)
    assert found["wrist/force force at zero"]["measured"] == pytest.approx(3.5)
    assert not bad & {"imu gyro bias x", "imu gravity", "camera brightness", "wrist/force torque at zero"}


def test_what_is_bad_does_not_become_the_reference(robot: Robot) -> None:
    robot.drivers.bias = (0.3, 0.0, 0.0)
    rows = [row for row in robot.check("--reference")["rows"] if row["topic"] == "imu"]
    robot.drivers.bias = NONE
    assert any("not good enough" in row["what"] for row in rows)
    stored = json.loads(robot.kept("imu").read_text())["reference"]
    assert stored is None or abs(stored["values"]["angular_velocity"][0]) < 0.01


def test_a_file_that_makes_no_sense_is_moved_aside_and_results_are_kept_with_their_times(
    robot: Robot,
) -> None:
    path = robot.kept("imu")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{")
    before = time.time_ns()
    assert any("moved aside" in row["what"] for row in robot.check("--reference")["rows"])
    assert path.with_suffix(".corrupt").read_text() == "{"
    kept = json.loads(path.read_text())
    assert before < kept["records"][-1]["wall_ns"] < time.time_ns()
    assert {"name", "measured", "reference", "state"} <= set(kept["records"][-1]["figures"][0])
    assert len(kept["reference"]["values"]["angular_velocity"]) == 3


def test_a_robot_that_moves_is_not_checked(robot: Robot) -> None:
    robot.drivers.speed = 0.4
    try:
        answer = robot.check()
    finally:
        robot.drivers.speed = 0.0
    assert answer["verdict"] == "failed"
    assert "the robot moves, says odometry" in answer["summary"]
