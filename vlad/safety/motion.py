"""How the robot really moves, from its feedback signal."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vlad.clock import NS_PER_S
from vlad.messages import JointState, Kind, Odometry, Sample
from vlad.robot import Robot

Vector = NDArray[np.float64]

REST_FRACTION = 0.03
"""An axis that is measured slower than this part of its velocity limit stands still: sensors have noise."""


class Limits:
    """The robot's limits file as arrays in the order of its axes; float64."""

    def __init__(self, robot: Robot) -> None:
        axes = robot.axes.values()
        self.names = tuple(robot.axes)
        self.velocity = np.array([axis.velocity for axis in axes])
        self.acceleration = np.array([axis.acceleration for axis in axes])
        self.deceleration = np.array([axis.deceleration or axis.acceleration for axis in axes])
        jerk = np.array([axis.jerk or np.inf for axis in axes])
        self.jerk = jerk if np.isfinite(jerk).any() else None
        """None: no axis has a limit."""
        self.lower = np.array([-np.inf if axis.lower is None else axis.lower for axis in axes])
        self.upper = np.array([np.inf if axis.upper is None else axis.upper for axis in axes])
        self.rest = REST_FRACTION * self.velocity


def turning(speed: Vector, limits: Limits) -> float:
    """The turn rate [rad/s] among these speeds; 0 for a base that cannot turn."""
    return float(speed[limits.names.index("angular_z")]) if "angular_z" in limits.names else 0.0


@dataclass(frozen=True, slots=True)
class Motion:
    """One measurement of all axes; velocity or position is None where the signal cannot tell.

    `measured` says that the velocity is the sensor's own and not a difference of positions. `problem` is
    what makes the sample useless; then both are None.
    """

    velocity: Vector | None = None
    position: Vector | None = None
    measured: bool = False
    problem: str = ""


class Feedback:
    """Turns the feedback signal's samples into Motion; remembers one sample for differences."""

    def __init__(self, robot: Robot) -> None:
        self._names = tuple(robot.axes)
        self._needs_position = robot.command in (Kind.JOINT_POSITION, Kind.JOINT_DELTA)
        self._sample: Sample | None = None
        self._motion = Motion(problem="never came")
        self._seen_names: tuple[str, ...] = ()
        self._order: list[int] = []

    def read(self, sample: Sample) -> Motion:
        """The motion of this sample; the same sample twice costs nothing."""
        if sample is not self._sample:
            match sample.data:
                case Odometry() as odometry:
                    self._motion = self._from_odometry(odometry)
                case JointState() as joints:
                    self._motion = self._from_joints(joints, sample.stamp_ns)
                case _:
                    self._motion = Motion(problem=f"carries a {type(sample.data).__name__}")
            self._sample = sample
        return self._motion

    def _from_odometry(self, odometry: Odometry) -> Motion:
        parts = {"linear": odometry.linear, "angular": odometry.angular}
        found = [parts[name[:-2]]["xyz".index(name[-1])] for name in self._names]
        velocity = np.array(found, dtype=np.float64)
        if not np.isfinite(velocity).all():
            return Motion(problem="its twist is not finite")
        return Motion(velocity, None, measured=True)

    def _from_joints(self, joints: JointState, stamp_ns: int) -> Motion:
        if joints.names != self._seen_names:
            missing = [name for name in self._names if name not in joints.names]
            if missing:
                return Motion(problem=f"lacks the joints {', '.join(missing)}")
            self._order = [joints.names.index(name) for name in self._names]
            self._seen_names = joints.names
        if joints.position is None and (self._needs_position or joints.velocity is None):
            return Motion(problem="has no positions")
        for row in (joints.position, joints.velocity):
            if row is not None and (row.shape != (len(joints.names),) or not np.isfinite(row).all()):
                return Motion(problem="has values that are not finite, or not one for each joint")
        position = None if joints.position is None else joints.position[self._order].astype(np.float64)
        if joints.velocity is not None:
            return Motion(joints.velocity[self._order].astype(np.float64), position, measured=True)
        return Motion(self._difference(position, stamp_ns), position)

    def _difference(self, position: Vector | None, stamp_ns: int) -> Vector | None:
        """Velocity from the position before; None where there is none."""
        before, last = self._sample, self._motion.position
        if before is None or last is None or position is None:
            return None
        if stamp_ns <= before.stamp_ns:
            return self._motion.velocity
        return (position - last) * (NS_PER_S / (stamp_ns - before.stamp_ns))
