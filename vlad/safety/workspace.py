"""Where the end effector may be: inside its box and outside the zones it must keep out of.

Judged are where it is, where it comes to rest if it is stopped now, and where the policy's step leads. With
a URDF the joints tell: each is carried on for `REACTION_S` at its speed, and then brakes at its limit. With
a `pose` signal the tip itself is carried on straight, for `REACTION_S` and half the time in which the
robot's axes come to rest.
"""

from __future__ import annotations

from math import isfinite

import numpy as np

from vlad.messages import Pose, Sample
from vlad.robot import Workspace, Zone
from vlad.safety.kinematics import Kinematics, Tip
from vlad.safety.motion import Limits, Motion, Past, Vector
from vlad.safety.reaction import Finding

REACTION_S = 0.1
"""From a measurement to the first braking of the motors."""


class TipWatch:
    """Judges each new measurement of the end effector once, and remembers the outcome."""

    def __init__(self, limits: Limits, workspace: Workspace) -> None:
        """KinematicsError where the URDF cannot be used."""
        self.pose = workspace.pose
        """The signal that tells where the tip is; empty: the joints do."""
        self._workspace = workspace
        self._zones = tuple(enumerate(workspace.keep_out, start=1))
        self._limits = limits
        self._subject = workspace.pose or workspace.tip
        self._arm = Kinematics(workspace.urdf, workspace.tip, limits.names) if workspace.urdf else None
        self._seen: Motion | Sample | None = None
        self._found: tuple[Finding, ...] = ()
        self._past: Past[Tip] = Past()

    def of_joints(self, motion: Motion) -> tuple[Finding, ...]:
        """Where the measured joints have it; nothing without a URDF."""
        if self._arm is not None and motion.position is not None and motion is not self._seen:
            self._seen = motion
            tips = [(self._arm.tip(motion.position), "")]
            if motion.velocity is not None and motion.velocity.any():
                way = motion.velocity * REACTION_S + self._limits.stopping(motion.velocity)
                tips.append((self._arm.tip(motion.position + way), " when it comes to rest"))
            self._found = self._first_problem(tips)
        return self._found

    def of_command(self, positions: Vector) -> tuple[Finding, ...]:
        """Where these joint positions would have it; they are finite. Nothing without a URDF."""
        if self._arm is None:
            return ()
        return self._first_problem([(self._arm.tip(positions), ", as the policy asks")])

    def of_pose(self, sample: Sample, speed: Vector) -> tuple[Finding, ...]:
        """Where the pose signal has it; `speed` is how fast the axes move."""
        if sample is self._seen:
            return self._found
        self._seen = sample
        pose = sample.data
        if not isinstance(pose, Pose) or not all(map(isfinite, pose.position)):
            self._found = (Finding("signal_invalid", self._subject, "is no pose with finite numbers"),)
            return self._found
        tips = [(pose.position, "")]
        before = self._past.before(sample.stamp_ns, pose.position)
        if before is not None:
            past_s, then = before
            stopping_s = float((np.abs(speed) / self._limits.deceleration).max())
            part = (REACTION_S + stopping_s / 2) / past_s
            (x, y, z), (was_x, was_y, was_z) = pose.position, then
            rest = x + (x - was_x) * part, y + (y - was_y) * part, z + (z - was_z) * part
            tips.append((rest, " when it comes to rest"))
        self._found = self._first_problem(tips)
        return self._found

    def _first_problem(self, tips: list[tuple[Tip, str]]) -> tuple[Finding, ...]:
        for tip, when in tips:
            if found := self._judge(tip, when):
                return found
        return ()

    def _judge(self, tip: Tip, when: str) -> tuple[Finding, ...]:
        box = self._workspace.box
        if not all(map(isfinite, tip)):
            return (Finding("signal_invalid", self._subject, _at(tip, when)),)
        if box is not None and not _inside(tip, box):
            return (Finding("workspace", self._subject, _at(tip, when)),)
        return tuple(
            Finding("keep_out", zone.name or f"zone {number}", _at(tip, when))
            for number, zone in self._zones
            if _inside(tip, zone)
        )


def _at(tip: Tip, when: str) -> str:
    x, y, z = tip
    return f"at ({x:.3f}, {y:.3f}, {z:.3f}){when}"


def _inside(tip: Tip, zone: Zone) -> bool:
    (x, y, z), low, high = tip, zone.min, zone.max
    return low[0] <= x <= high[0] and low[1] <= y <= high[1] and low[2] <= z <= high[2]
