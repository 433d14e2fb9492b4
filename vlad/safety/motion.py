"""How the robot really moves, from its feedback signal."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from vlad.clock import NS_PER_S
from vlad.messages import JointState, Kind, Odometry, Sample
from vlad.robot import TWIST_AXES, Robot

Vector = NDArray[np.float64]
T = TypeVar("T")

REST_FRACTION = 0.03
"""An axis that is measured slower than this part of its velocity limit stands still: sensors have noise."""

_LARGEST = float(np.finfo(np.float32).max)
"""Of a twist: it comes as double floats, whose squares may leave the range of numbers."""
_DIFFERENCE_NS = 30_000_000
"""A rate is the difference of two measurements at least this far apart: sensors have noise."""


class Limits:
    """The robot's limits file as arrays in the order of its axes; float64."""

    def __init__(self, robot: Robot) -> None:
        axes = robot.axes.values()
        self.names = tuple(robot.axes)
        self.velocity = np.array([axis.velocity for axis in axes])
        self.acceleration = np.array([axis.acceleration for axis in axes])
        self.deceleration = np.array([axis.deceleration or axis.acceleration for axis in axes])
        self.braking = 2 * self.deceleration
        """The square of a speed, by the way that it takes to brake from there."""
        jerk = np.array([axis.jerk or np.inf for axis in axes])
        self.jerk = jerk if np.isfinite(jerk).any() else None
        """None: no axis has a limit."""
        self.lower = np.array([-np.inf if axis.lower is None else axis.lower for axis in axes])
        self.upper = np.array([np.inf if axis.upper is None else axis.upper for axis in axes])
        self.rest = REST_FRACTION * self.velocity
        self.soft_margin = np.array([axis.soft_margin for axis in axes])
        self.effort = np.array([axis.effort or np.inf for axis in axes])
        self.current = np.array([axis.current for axis in axes])
        self.temperature = np.array([axis.temperature for axis in axes])
        self.following_error = np.array([axis.following_error for axis in axes])

    def stopping(self, velocity: Vector) -> Vector:
        """The way of each axis from these velocities to rest, signed: v |v| / 2a."""
        way: Vector = velocity * np.abs(velocity) / self.braking
        return way


def finite(values: NDArray[np.floating[Any]]) -> bool:
    """Whether all are numbers; counting takes half the time of numpy's all()."""
    return int(np.count_nonzero(np.isfinite(values))) == values.size


def turning(speed: Vector, limits: Limits) -> float:
    """The turn rate [rad/s] among these speeds; 0 for a base that cannot turn."""
    return float(speed[limits.names.index("angular_z")]) if "angular_z" in limits.names else 0.0


@dataclass(slots=True)
class Motion:
    """One measurement of all axes, in their order; None where the signal cannot tell. Nobody changes it.

    `measured` says that the velocity is the sensor's own and not a difference of positions. `problem` is
    what makes the sample useless; then all others are None.
    """

    velocity: Vector | None = None
    position: Vector | None = None
    measured: bool = False
    problem: str = ""
    speeding: Vector | None = None
    """How fast each axis gains speed, either way [unit/s^2]; negative: it slows down."""
    effort: Vector | None = None
    current: Vector | None = None
    temperature: Vector | None = None


class Past(Generic[T]):
    """The measurements of the last moments, for differences over at least `_DIFFERENCE_NS`."""

    def __init__(self) -> None:
        self._entries: deque[tuple[int, T]] = deque()

    def before(self, stamp_ns: int, value: T) -> tuple[float, T] | None:
        """Take in a measurement; how long ago [s] an older one was, and what it was. None: there is none."""
        entries = self._entries
        if not entries or stamp_ns > entries[-1][0]:
            entries.append((stamp_ns, value))
        while len(entries) > 1 and stamp_ns - entries[1][0] >= _DIFFERENCE_NS:
            entries.popleft()
        past_ns = stamp_ns - entries[0][0]
        return (past_ns / NS_PER_S, entries[0][1]) if past_ns >= _DIFFERENCE_NS else None


class Feedback:
    """Turns the feedback signal's samples into Motion; remembers the samples before for differences."""

    def __init__(self, robot: Robot) -> None:
        self._names = tuple(robot.axes)
        self._twist = [TWIST_AXES.index(name) for name in self._names if robot.command is Kind.TWIST]
        """Where in a twist each axis is."""
        arm = robot.workspace is not None and robot.workspace.urdf is not None
        bounded = any(axis.lower is not None for axis in robot.axes.values())
        self._needs_position = arm or bounded
        self._sample: Sample | None = None
        self._motion = Motion()
        self._seen_names: tuple[str, ...] | None = None
        self._order: NDArray[np.intp] = np.zeros(0, dtype=np.intp)
        self._past: Past[Vector] = Past()

    def read(self, sample: Sample) -> Motion:
        """The motion of this sample; the same sample twice costs nothing."""
        if sample is not self._sample:
            if self._sample is not None and sample.topic != self._sample.topic:
                self._sample, self._past = None, Past()  # a backup: no differences between two sensors
            match sample.data:
                case Odometry() as odometry if self._twist:
                    self._motion = self._from_odometry(odometry, sample.stamp_ns)
                case JointState() as joints:
                    self._motion = self._from_joints(joints, sample.stamp_ns)
                case _:
                    self._motion = Motion(problem=f"carries a {type(sample.data).__name__}")
            self._sample = sample
        return self._motion

    def _from_odometry(self, odometry: Odometry, stamp_ns: int) -> Motion:
        twist = (*odometry.linear, *odometry.angular)
        found = [twist[index] for index in self._twist]
        if not all(abs(value) <= _LARGEST for value in found):
            return Motion(problem="its twist is not finite, or beyond all measure")
        velocity = np.array(found, dtype=np.float64)
        return Motion(velocity, measured=True, speeding=self._speeding(velocity, stamp_ns))

    def _from_joints(self, joints: JointState, stamp_ns: int) -> Motion:
        if joints.names != self._seen_names:
            missing = [name for name in self._names if name not in joints.names]
            if missing:
                return Motion(problem=f"lacks the joints {', '.join(missing)}")
            self._order = np.array([joints.names.index(name) for name in self._names], dtype=np.intp)
            self._seen_names = joints.names
        if joints.position is None and (self._needs_position or joints.velocity is None):
            return Motion(problem="has no positions")
        given = {
            field: row
            for field in ("position", "velocity", "effort", "current", "temperature")
            if (row := getattr(joints, field)) is not None
        }
        if {row.shape for row in given.values()} != {(len(joints.names),)}:
            return Motion(problem="has not one value for each joint")
        rows = np.concatenate(list(given.values()), dtype=np.float64).reshape(len(given), -1)
        if not finite(rows):
            return Motion(problem="has values that are not finite")
        return self._joint_motion(dict(zip(given, rows.take(self._order, axis=1), strict=True)), stamp_ns)

    def _joint_motion(self, rows: dict[str, Vector], stamp_ns: int) -> Motion:
        velocity, position = rows.get("velocity"), rows.get("position")
        return Motion(
            velocity=self._difference(position, stamp_ns) if velocity is None else velocity,
            position=position,
            measured=velocity is not None,
            speeding=None if velocity is None else self._speeding(velocity, stamp_ns),
            effort=rows.get("effort"),
            current=rows.get("current"),
            temperature=rows.get("temperature"),
        )

    def _difference(self, position: Vector | None, stamp_ns: int) -> Vector | None:
        """Velocity from the position before; None where there is none."""
        before, last = self._sample, self._motion.position
        if before is None or last is None or position is None:
            return None
        if stamp_ns <= before.stamp_ns:
            return self._motion.velocity
        return (position - last) * (NS_PER_S / (stamp_ns - before.stamp_ns))

    def _speeding(self, velocity: Vector, stamp_ns: int) -> Vector | None:
        """The gain of speed a second; None where nothing was measured before."""
        speed = np.abs(velocity)
        before = self._past.before(stamp_ns, speed)
        if before is None:
            return None
        past_s, then = before
        gain: Vector = (speed - then) / past_s
        return gain
