"""Joints and base: measured against their limits and against what was commanded."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from vlad.messages import Kind
from vlad.safety.reaction import Finding
from vlad.safety.view import View

_JUMP_PART = 0.5
"""A step may differ from the one before by this part of the velocity limit."""
_JUMP_S = 0.1
"""A step of positions may be as far from the one before as the axis moves in this time."""


def limits(view: View) -> Iterator[Finding]:
    """All quantities of all axes; they are judged anew when the feedback signal has a new sample."""
    if view.motion is not None:
        yield from view.axes.findings(view.motion, view.commanded_position)


def deviation(view: View) -> Iterator[Finding]:
    """A base that moves as it was not commanded at any moment of the last 0.3 s."""
    motion = view.motion
    if view.rules.robot.command is not Kind.TWIST or not view.following:
        return
    if motion is None or motion.velocity is None:
        return
    beyond = view.commands.beyond(motion.velocity)
    if beyond is not None and np.count_nonzero(beyond > 0):
        axis = int((beyond / view.rules.limits.velocity).argmax())
        yield Finding("base_deviation", view.rules.limits.names[axis], f"at {motion.velocity[axis]:.3f}")


def jump(view: View) -> Iterator[Finding]:
    """The policy's steps from one tick to the next; one that must not be followed is a fault of its own."""
    step, last, robot = view.inputs.step, view.followed, view.rules.robot
    if step is None or last is None or view.misstep or step.values.shape != last.shape:
        return
    rates = robot.command in (Kind.TWIST, Kind.JOINT_VELOCITY)
    most = view.rules.limits.velocity * (_JUMP_PART if rates else _JUMP_S)
    by = np.abs(step.values.astype(np.float64) - last)
    if np.count_nonzero(by > most):
        axis = int((by / most).argmax())
        yield Finding("step_deviation", view.rules.limits.names[axis], f"by {by[axis]:.3f}")
