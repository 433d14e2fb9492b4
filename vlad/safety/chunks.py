"""Whether what the policy says may be followed at all. Small exaggerations may: they are bounded later."""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite

import numpy as np

from vlad.clock import NS_PER_S
from vlad.messages import Chunk, Floats, Kind, Step
from vlad.safety.motion import Limits, Vector, finite
from vlad.safety.reaction import Finding
from vlad.safety.view import FUTURE_NS, Rules

_POSITIONAL = (Kind.JOINT_POSITION, Kind.JOINT_DELTA)
_GROSS = 3.0
"""A speed beyond this many times its limit is no mere exaggeration."""
_SWING = 1.5
"""Nor is a change of speed at a join beyond this many times the limit."""
_SLACK = 1.05
"""Steps beyond this many times a limit are worth telling."""


def step_problem(step: Step, rules: Rules) -> str:
    """Why the step must not be followed; empty: it may."""
    if step.kind is not rules.robot.command or step.names != rules.limits.names:
        return f"{step.kind} for {', '.join(step.names)}"
    if step.values.shape != (len(step.names),) or not finite(step.values):
        return "not one finite value for each axis"
    if step.collision is not None and not isfinite(step.collision):
        return "its collision probability is no number"
    if step.uncertainty is not None and not isfinite(step.uncertainty):
        return "its uncertainty is no number"
    return ""


class Admission:
    """Lets chunks through to the follower, or not, and remembers what was wrong with them."""

    def __init__(self, rules: Rules) -> None:
        self.findings: tuple[Finding, ...] = ()
        """Since they were last looked at; whoever looks makes them empty again."""
        self.newest_ns = 0
        """When the last chunk was let through, or when one could first be expected."""
        self._rules = rules
        self._stamp_ns = 0

    def expect(self, now_ns: int) -> None:
        """From now on the robot waits for a chunk."""
        self.newest_ns = now_ns

    def admit(self, chunk: Chunk, now_ns: int, followed: Floats | None, measured: Vector | None) -> bool:
        """Whether the follower may have the chunk; `followed` and `measured` as for `jump`."""
        tame = _tame(chunk, self._rules.limits)
        problem = chunk_problem(chunk, self._rules, now_ns, tame)
        if problem is None and chunk.stamp_ns < self._stamp_ns:
            late_s = (self._stamp_ns - chunk.stamp_ns) / NS_PER_S
            problem = Finding(
                "chunk_order", "policy", f"its frame is {late_s:.3f} s older than the one before"
            )
        if problem is None and (detail := jump(chunk, self._rules, now_ns, followed, measured)):
            problem = Finding("chunk_jump", "policy", detail)
        if problem is not None:
            self.findings += (problem,)
            return False
        if not tame:
            self.findings += tuple(exaggerations(chunk, self._rules))
        self.newest_ns = max(self.newest_ns, now_ns)
        self._stamp_ns = chunk.stamp_ns
        return True


def _tame(chunk: Chunk, limits: Limits) -> bool:
    """Whether all steps are known to be numbers within the limits, which spares a closer look at each."""
    actions = chunk.actions
    if chunk.kind in _POSITIONAL or actions.dtype.kind != "f" or actions.shape[1:] != limits.velocity.shape:
        return False
    return int(np.count_nonzero(np.abs(actions) <= limits.velocity)) == actions.size


def chunk_problem(chunk: Chunk, rules: Rules, now_ns: int, tame: bool = False) -> Finding | None:
    """Why the chunk must not be followed, whatever the robot does just now; None: it may.

    `tame`: its steps are known to be numbers within the robot's limits.
    """
    if detail := _misfit(chunk, rules):
        return Finding("chunk_shape", "policy", detail)
    heads = [head for head in (chunk.collision, chunk.uncertainty) if head is not None]
    if not (tame or finite(chunk.actions)) or not all(map(isfinite, heads)):
        return Finding("chunk_not_finite", "policy", "it holds NaN or infinity")
    if not all(0 <= head <= 1 for head in heads):
        return Finding("chunk_bounds", "policy", f"its heads say {heads}; probabilities are 0 to 1")
    if detail := _disorder(chunk, rules, now_ns):
        return Finding("chunk_order", "policy", detail)
    detail = "" if tame else _gross(chunk, rules)
    return Finding("chunk_bounds", "policy", detail) if detail else None


def jump(chunk: Chunk, rules: Rules, now_ns: int, followed: Floats | None, measured: Vector | None) -> str:
    """How far the chunk begins from what is `followed`, or from the `measured` pose where nothing is yet.

    Empty where that is near enough, or where there is nothing to compare it with.
    """
    row = min(max((now_ns - chunk.stamp_ns) // chunk.step_ns - 1, 0), len(chunk.actions) - 1)
    due = chunk.actions[row]
    if chunk.kind in _POSITIONAL:
        farthest = np.full(len(due), rules.settings.safety.start_distance)
        before = followed if followed is not None else measured
        if chunk.kind is Kind.JOINT_DELTA:
            before = np.zeros(len(due))
    else:
        farthest, before = _SWING * rules.limits.velocity, followed
    if before is None:
        return ""
    distance = np.abs(due - before)
    if not np.count_nonzero(distance > farthest):
        return ""
    axis = int((distance - farthest).argmax())
    where = "the measured pose" if followed is None else "what is followed"
    return f"{chunk.names[axis]} begins {distance[axis]:.3g} from {where}; at most {farthest[axis]:.3g}"


def exaggerations(chunk: Chunk, rules: Rules) -> Iterator[Finding]:
    """The first axis whose steps leave the robot's limits, anywhere in the chunk; they are bounded."""
    limits, actions = rules.limits, chunk.actions
    low, high = -_SLACK * limits.velocity, _SLACK * limits.velocity
    if chunk.kind is Kind.JOINT_POSITION:
        rate = high * (chunk.step_ns / NS_PER_S)
        wrong = (actions < limits.lower) | (actions > limits.upper)
        wrong[1:] |= np.abs(np.diff(actions, axis=0)) > rate
    elif chunk.kind is Kind.JOINT_DELTA:
        wrong = np.abs(actions) > high * (chunk.step_ns / NS_PER_S)
    else:
        wrong = (actions < low) | (actions > high)
    if np.count_nonzero(wrong):
        row, axis = (int(index) for index in np.argwhere(wrong)[0])
        yield Finding("chunk_envelope", "policy", f"{chunk.names[axis]} at step {row}")


def _misfit(chunk: Chunk, rules: Rules) -> str:
    names, actions = rules.limits.names, chunk.actions
    if chunk.kind is not rules.robot.command:
        return f"its actions are {chunk.kind}, the robot takes {rules.robot.command}"
    if chunk.names != names:
        return f"its axes are {', '.join(chunk.names)}; the robot's are {', '.join(names)}"
    if actions.ndim != 2 or actions.shape[0] < 1 or actions.shape[1] != len(names):
        return f"its shape is {actions.shape}, expected (horizon, {len(names)})"
    return "" if actions.dtype.kind == "f" else f"its actions are {actions.dtype}, not floating-point numbers"


def _disorder(chunk: Chunk, rules: Rules, now_ns: int) -> str:
    if chunk.step_ns <= 0:
        return f"its steps last {chunk.step_ns} ns"
    age_ns, max_age_s = now_ns - chunk.stamp_ns, rules.settings.policy.max_chunk_age_s
    if -FUTURE_NS <= age_ns <= max_age_s * NS_PER_S:
        return ""
    return f"its frame is {age_ns / NS_PER_S:.3f} s old; 0 to {max_age_s:g} s is allowed"


def _gross(chunk: Chunk, rules: Rules) -> str:
    """What only a broken policy says."""
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
