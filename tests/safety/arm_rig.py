"""An arm on paper whose joint_state has every field, with a pose, people, forces and a body around it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from tests.safety.rig import ROVER_SIGNALS, Rig, arm, settings
from vlad.messages import (
    CenterOfMass,
    Imu,
    JointState,
    Kind,
    Pose,
    Power,
    Proximity,
    Temperature,
    Wrench,
)
from vlad.robot import Robot
from vlad.safety.kernel import Inputs

AXIS = {
    "velocity": 0.8, "acceleration": 4.0, "deceleration": 5.0, "lower": -10.0, "upper": 10.0,
    "soft_margin": 1.0, "effort": 100.0,
}  # fmt: skip
SIGNALS: dict[str, dict[str, Any]] = {
    "camera": ROVER_SIGNALS["camera"],
    "joints": {"type": "joint_state", "max_age_s": 0.1},
    "pose": {"type": "pose", "max_age_s": 0.1},
    "people": {"type": "proximity", "max_age_s": 0.2},
    "wrench": {"type": "wrench", "max_age_s": 0.1},
    "imu": {"type": "imu", "max_age_s": 0.1, "required": False},
    "balance": {"type": "center_of_mass", "max_age_s": 0.1, "required": False},
    "power": {"type": "power", "max_age_s": 0.5, "required": False},
    "heat": {"type": "temperature", "max_age_s": 1.0, "required": False},
}
CUBE = {"min": (-1.0, -1.0, 0.0), "max": (1.0, 1.0, 2.0)}
ZONE = {"name": "shelf", "min": (0.5, 0.5, 0.0), "max": (0.9, 0.9, 1.0)}
LIMITS: dict[str, Any] = {
    "workspace": {"pose": "pose", "box": CUBE, "keep_out": [ZONE, {"min": (-0.9,) * 3, "max": (-0.8,) * 3}]},
    "separation": {"signal": "people", "robot_speed": 1.0},
    "contact": {"signal": "wrench", "torque": 5.0},
    "body": {"power": 500.0},
}


def limits(kind: Kind = Kind.JOINT_VELOCITY, axis: dict[str, Any] | None = None, **changes: Any) -> Robot:
    """The arm's limits file; `axis` holds for all joints, `changes` replace whole sections."""
    axes = {f"j{k}": AXIS | (axis or {}) for k in range(2)}
    return arm(kind, **LIMITS | {"axes": axes} | changes)


class ArmRig(Rig):
    """Joint j1 can be made to say what is not true: `says` by field, for `lies` ticks."""

    def __init__(self, robot: Robot | None = None) -> None:
        robot = robot or limits()
        super().__init__(robot, settings(SIGNALS))
        self.says: dict[str, float] = {}
        self.lies = 0
        self.fields: dict[str, Any] = dict.fromkeys(("effort", "current", "temperature"), 1.0)
        self.data |= {
            "pose": Pose((0.1, 0.1, 0.5), (0, 0, 0, 1)), "people": Proximity(()),
            "wrench": Wrench((0, 0, 1), (0, 0, 0)), "imu": Imu((0, 0, 0, 1), (0, 0, 0), (0, 0, 9.8)),
            "balance": CenterOfMass(0.0, 0.1, 0.5), "power": Power(100.0), "heat": Temperature({"hip": 40.0}),
        }  # fmt: skip

    def lie(self, ticks: int = 1_000_000, **says: float) -> None:
        self.says, self.lies = says, ticks

    def sense(self) -> Inputs:
        inputs = super().sense()
        if "joints" not in self.silent:
            rows = {"position": self.position, "velocity": self.velocity}
            rows |= {field: np.full(len(self.names), value) for field, value in self.fields.items()}
            given = {field: row.astype(np.float32) for field, row in rows.items()}
            if self.lies > 0:
                self.lies -= 1
                for field, value in self.says.items():
                    given[field][1] = value
            self.samples["joints"] = self.sample("joints", JointState(self.names, **given))
        return replace(inputs, samples=dict(self.samples))
