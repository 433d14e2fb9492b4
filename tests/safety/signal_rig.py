"""The rover on paper with more signals: counts, an acknowledging motor driver, an enabling switch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.safety.rig import ROVER_SIGNALS, Rig, rover, settings
from vlad.messages import CommandAck, CommandMode, Deadman, Image, Imu, Sample
from vlad.safety.kernel import Inputs

HZ = 100


@dataclass
class Count:
    received: int = 0
    gaps: int = 0
    refused: int = 0
    off_clock: int = 0


class SignalRig(Rig):
    """Every signal comes with every tick, the camera with another picture each time unless it is `stuck`.

    `signals` are further settings of signals by topic; a topic that ends in `_2` is sent what the one
    without it is sent.
    """

    def __init__(self, signals: dict[str, dict[str, Any]] | None = None, **sections: Any) -> None:
        known = {topic: dict(values) for topic, values in ROVER_SIGNALS.items()}
        known |= {"teleop": {"type": "deadman"}, "command_ack": {"type": "command_ack"}}
        for topic in ("camera", "odometry", "estop", "laser"):
            known[topic]["rate_hz"] = HZ
        for topic, values in (signals or {}).items():
            known[topic] = {**known.get(topic, {}), **values}
        super().__init__(rover(acknowledged="command_ack"), settings(known, **sections))
        self.counts = {topic: Count() for topic in known}
        self.stuck: set[str] = set()
        self.acked: CommandMode | None = None
        """What the motor driver says it does; None: what it is told."""
        self.ack_age_s = 0.01
        self.odometer = 0.0
        self.data["teleop"] = Deadman(True)
        self.inputs |= {"counts": self.counts, "listeners": 1, "overflows": 0}
        if "imu" in known:
            self.data["imu"] = Imu((0, 0, 0, 1), (0, 0, 0), (0, 0, 9.81))

    def sense(self) -> Inputs:
        turn = self.now_ns // 10_000_000
        if "camera" not in self.stuck:
            self.data["camera"] = Image("rgb8", np.full((2, 2, 3), turn % 250, np.uint8))
        mode = self.verdict.command_mode if self.verdict is not None else CommandMode.HOLD
        stamp_ns = self.now_ns - round(self.ack_age_s * 1e9)
        self.data["command_ack"] = CommandAck(turn, stamp_ns, self.acked or mode)
        for topic in self.settings.signals:
            if topic.endswith("_2") and topic[:-2] in self.data:
                self.data[topic] = self.data[topic[:-2]]
        for topic in {*self.data, "odometry"} - self.silent:
            self.counts[topic].received += 1
        inputs = super().sense()
        if "odometry_2" in self.settings.signals and "odometry_2" not in self.silent:
            self.data["odometry_2"] = self.data["odometry"]
        return inputs

    def sample(self, topic: str, data: Any, age_s: float = 0.0) -> Sample:
        if topic in self.stuck and topic in self.samples:
            data = self.samples[topic].data
        return super().sample(topic, data, age_s)
