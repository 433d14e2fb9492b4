"""The rover's physics: two driven wheels, casters and a round bumper, stepped at 100 Hz."""

from __future__ import annotations

import math
from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import NDArray

from tools.sim.scene import TIMESTEP_S, WHEEL_RADIUS_M, WHEEL_TRACK_M, build
from tools.sim.world import Pose, World

STEP_S = 0.01
_SUBSTEPS = round(STEP_S / TIMESTEP_S)


@dataclass(frozen=True, slots=True)
class Imu:
    """Orientation quaternion (x,y,z,w), angular velocity [rad/s] and specific force [m/s^2] in base_link."""

    orientation: NDArray[np.float64]
    angular_velocity: NDArray[np.float64]
    linear_acceleration: NDArray[np.float64]


class Rover:
    """A rover in a world. `command` sets what the wheels strive for; `step` advances the physics by 10 ms."""

    def __init__(self, world: World, *, pose: Pose | None = None) -> None:
        self.world = world
        self.model = build(world)
        self.data = mujoco.MjData(self.model)
        self._wheels = [self.model.joint(name) for name in ("left_wheel", "right_wheel")]
        self._qpos = [int(joint.qposadr[0]) for joint in self._wheels]
        self._qvel = [int(joint.dofadr[0]) for joint in self._wheels]
        self._shell = self.model.geom("shell").id
        self._floor = self.model.geom("floor").id
        self.place(pose or world.start)

    def place(self, pose: Pose) -> None:
        """Put the rover at rest at this pose; time, odometry and wheel angles start at zero again."""
        mujoco.mj_resetData(self.model, self.data)
        x, y, yaw = pose
        self.data.qpos[0:2] = x, y
        self.data.qpos[3:7] = math.cos(yaw / 2), 0.0, 0.0, math.sin(yaw / 2)
        self.odometry_pose: Pose = (0.0, 0.0, 0.0)
        self.collided = False
        mujoco.mj_forward(self.model, self.data)

    def command(self, linear_x: float, angular_z: float) -> None:
        """Strive for this twist [m/s, rad/s] until the next call."""
        turn = angular_z * WHEEL_TRACK_M / 2
        self.data.ctrl[:] = (linear_x - turn) / WHEEL_RADIUS_M, (linear_x + turn) / WHEEL_RADIUS_M

    def step(self) -> None:
        """Advance by STEP_S; `collided` stays True from the first contact on."""
        mujoco.mj_step(self.model, self.data, _SUBSTEPS)
        self.collided = self.collided or bool(self.contacts())
        linear, angular = self.twist
        x, y, yaw = self.odometry_pose
        middle = yaw + angular * STEP_S / 2
        self.odometry_pose = (
            x + linear * math.cos(middle) * STEP_S,
            y + linear * math.sin(middle) * STEP_S,
            yaw + angular * STEP_S,
        )

    @property
    def time_s(self) -> float:
        """Simulated time since `place`."""
        return float(self.data.time)

    @property
    def pose(self) -> Pose:
        """True x, y [m] and yaw [rad] in the room."""
        w, x, y, z = self.data.qpos[3:7]
        yaw = math.atan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))
        return float(self.data.qpos[0]), float(self.data.qpos[1]), yaw

    @property
    def wheel_positions(self) -> tuple[float, float]:
        """Left, right [rad]."""
        return float(self.data.qpos[self._qpos[0]]), float(self.data.qpos[self._qpos[1]])

    @property
    def wheel_velocities(self) -> tuple[float, float]:
        """Left, right [rad/s]."""
        return float(self.data.qvel[self._qvel[0]]), float(self.data.qvel[self._qvel[1]])

    @property
    def twist(self) -> tuple[float, float]:
        """Linear x [m/s] and angular z [rad/s] in base_link, as the wheels tell (wheel odometry)."""
        left, right = self.wheel_velocities
        return (left + right) * WHEEL_RADIUS_M / 2, (right - left) * WHEEL_RADIUS_M / WHEEL_TRACK_M

    @property
    def imu(self) -> Imu:
        """What an ideal IMU in the rover's centre reads."""
        values = self.data.sensordata
        w, x, y, z = values[0:4]
        return Imu(np.array([x, y, z, w]), values[4:7].copy(), values[7:10].copy())

    def contacts(self) -> list[float]:
        """Bearings in base_link [rad] of what the bumper touches now (anything but the floor)."""
        found: list[float] = []
        contact = self.data.contact
        for index in range(self.data.ncon):
            pair = contact.geom[index]
            if self._shell in pair and self._floor not in pair:
                x, y, yaw = self.pose
                at = contact.pos[index]
                found.append(math.remainder(math.atan2(at[1] - y, at[0] - x) - yaw, math.tau))
        return found
