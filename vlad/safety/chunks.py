"""Whether what the policy says may be followed at all. Small exaggerations may: they are bounded later."""

from __future__ import annotations

from math import isfinite

import numpy as np

from vlad.clock import NS_PER_S
from vlad.messages import Chunk, Kind, Step
from vlad.safety.view import FUTURE_NS, Rules

_GROSS = 3.0
"""A speed beyond this many times its limit is no mere exaggeration."""


def step_problem(step: Step, rules: Rules) -> str:
    """Why the step must not be followed; empty: it may."""
    if step.kind is not rules.robot.command or step.names != rules.limits.names:
        return f"{step.kind} for {', '.join(step.names)}"
    if step.values.shape != (len(step.names),) or not np.isfinite(step.values).all():
        return "not one finite value for each axis"
    if step.collision is not None and not isfinite(step.collision):
        return "its collision probability is no number"
    return ""


def chunk_problem(chunk: Chunk, rules: Rules, now_ns: int) -> str:
    """Why the chunk must not be followed; empty: it may."""
    names, actions = rules.limits.names, chunk.actions
    age_s, max_age_s = (now_ns - chunk.stamp_ns) / NS_PER_S, rules.settings.policy.max_chunk_age_s
    if chunk.kind is not rules.robot.command:
        return f"its actions are {chunk.kind}, the robot takes {rules.robot.command}"
    if chunk.names != names:
        return f"its axes are {', '.join(chunk.names)}; the robot's are {', '.join(names)}"
    if actions.ndim != 2 or actions.shape[0] < 1 or actions.shape[1] != len(names):
        return f"its shape is {actions.shape}, expected (horizon, {len(names)})"
    if actions.dtype.kind != "f" or not np.isfinite(actions).all():
        return "its actions hold NaN, infinity or no floating-point numbers"
    if chunk.collision is not None and not 0 <= chunk.collision <= 1:
        return f"its collision probability is {chunk.collision}"
    if chunk.step_ns <= 0:
        return f"its steps last {chunk.step_ns} ns"
    if age_s > max_age_s or now_ns - chunk.stamp_ns < -FUTURE_NS:
        return f"its frame is {age_s:.3f} s old; 0 to {max_age_s:g} s is allowed"
    return _gross_problem(chunk, rules)


def _gross_problem(chunk: Chunk, rules: Rules) -> str:
    """The bounds make small exaggerations harmless; this is for what only a broken policy says."""
    limits = rules.limits
    match chunk.kind:
        case Kind.JOINT_POSITION:
            span = limits.upper - limits.lower
            lowest, highest = limits.lower - span, limits.upper + span
        case Kind.JOINT_DELTA:
            highest = limits.upper - limits.lower
            lowest = -highest
        case _:
            highest = _GROSS * limits.velocity
            lowest = -highest
    wrong = np.flatnonzero(((chunk.actions < lowest) | (chunk.actions > highest)).any(axis=0))
    if not wrong.size:
        return ""
    axis = int(wrong[0])
    worst = float(np.abs(chunk.actions[:, axis]).max())
    return f"{chunk.names[axis]} reaches {worst:g}; {lowest[axis]:g} to {highest[axis]:g} could be bounded"
