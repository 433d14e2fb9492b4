"""A run that was recorded gives the same commands to the byte when it is judged again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tools.sim.world import make_world
from tools.training import demo_drive
from tools.training.demo_drive import Drive
from vlad.clock import FakeClock
from vlad.config import load_settings
from vlad.messages import Battery, Command, EStop, LaserScan, Odometry
from vlad.policy.bundle import load_bundle
from vlad.policy.policy import Policy
from vlad.safety.kernel import Inputs, Kernel, Verdict
from vlad.wire import encode_command

ROOT = Path(__file__).resolve().parents[2]
SETTINGS, ROBOT = load_settings(ROOT / "etc" / "demo.toml")
TICKS = 1500


def frames(number: int, now_ns: int, verdict: Verdict) -> bytes:
    """The command as it goes to the wire."""
    command = Command(
        number, now_ns, SETTINGS.safety.command_ttl_ms, verdict.command_mode, verdict.kind, verdict.names,
        verdict.values, verdict.source_stamp_ns,
    )  # fmt: skip
    return b"".join(bytes(frame) for frame in encode_command(command))


class Recorded(Kernel):
    """A kernel that writes down what it is asked, and what it answers."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.tape: list[tuple[str, tuple[Any, ...]]] = []
        self.commands: list[bytes] = []
        self.trouble = np.random.default_rng(7)

    def admit(self, chunk, now_ns):
        self.tape.append(("admit", (chunk, now_ns)))
        return super().admit(chunk, now_ns)

    def arm(self, inputs):
        inputs = replace(inputs, samples=dict(inputs.samples))
        self.tape.append(("arm", (inputs,)))
        return super().arm(inputs)

    def judge(self, inputs: Inputs) -> Verdict:
        inputs = replace(inputs, samples=self._spoilt(dict(inputs.samples), len(self.commands)))
        self.tape.append(("judge", (inputs,)))
        verdict = super().judge(inputs)
        self.commands.append(frames(len(self.commands), inputs.now_ns, verdict))
        return verdict

    def _spoilt(self, samples, tick):
        """Now and then a sensor goes wrong, and at the end the button is pressed."""
        wrong = {
            "battery": Battery(0.15, 24.0, -1.0, 30.0),
            "laser": LaserScan(-np.pi, 0.1, 0.05, 8.0, np.float32(self.trouble.random(63))),
            "odometry": Odometry("base_link", (0, 0, 0), (0, 0, 0, 1), (2.0, 0, 0), (0, 0, np.nan)),
        }
        topic = ("battery", "laser", "odometry")[tick // 100 % 3]
        if tick > 300 and tick % 100 < 3 and topic in samples:
            samples[topic] = replace(samples[topic], data=wrong[topic])
        if tick > TICKS - 50:
            samples["estop"] = replace(samples["estop"], data=EStop(True))
        return samples


def replayed(tape, kernel: Kernel) -> list[bytes]:
    commands: list[bytes] = []
    for act, arguments in tape:
        answer = getattr(kernel, act)(*arguments)
        if act == "judge":
            commands.append(frames(len(commands), arguments[0].now_ns, answer))
    return commands


@pytest.mark.slow
def test_a_recorded_drive_gives_the_same_commands_to_the_byte(monkeypatch):
    monkeypatch.setattr(demo_drive, "Kernel", Recorded)
    monkeypatch.setattr(demo_drive, "TIME_LIMIT_S", TICKS * demo_drive.TICK_S)
    policy = Policy(load_bundle(SETTINGS.policy.bundle, ROBOT, SETTINGS.signals), FakeClock())
    world = make_world(3_000_001)
    drive = Drive(world, policy, SETTINGS, ROBOT, delay_ticks=4)
    for target in world.targets[:2]:
        drive.run(target.name)
    kernel = drive._kernel
    assert len(set(kernel.commands)) > 500
    assert replayed(kernel.tape, Kernel(ROBOT, SETTINGS, None)) == kernel.commands
