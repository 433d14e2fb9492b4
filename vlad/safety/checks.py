"""The checks: pure functions from what is known now to what is wrong with it.

Each yields findings, whose fault ids are rows of faults.py. Whether a number is finite is looked at before
it meets any comparison. What is unknown, stale or missing counts as unsafe.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import isfinite

import numpy as np

from vlad.clock import NS_PER_S
from vlad.messages import Battery, EStop, LaserScan, Proximity
from vlad.safety.chunks import step_problem
from vlad.safety.faults import FAULTS, Finding, Reaction
from vlad.safety.motion import Limits, Vector
from vlad.safety.obstacle import stopping_m
from vlad.safety.view import View

_POSITION_SLACK = 0.01
"""Part of a joint's range that it may be measured beyond a limit: encoders have offsets."""
_VELOCITY_SLACK = 1.2
_BATTERY_LOW = 0.2
_BATTERY_CRITICAL = 0.1


def _estop(view: View) -> Iterator[Finding]:
    if view.called is not None:
        yield Finding("estop", "operator", view.called)
    for topic in view.rules.estops:
        sample = view.inputs.samples.get(topic)
        if sample is not None and not (isinstance(sample.data, EStop) and not sample.data.pressed):
            yield Finding("estop_pressed", topic, "pressed")


def _signals(view: View) -> Iterator[Finding]:
    samples, now_ns = view.inputs.samples, view.inputs.now_ns
    for signal in view.rules.watched:
        sample = samples.get(signal.topic)
        if sample is None:
            yield Finding("estop_silent" if signal.estop else "signal_missing", signal.topic, "never came")
        elif problem := signal.age_problem(sample, now_ns):
            yield Finding("estop_silent" if signal.estop else "signal_stale", signal.topic, problem)


def _feedback(view: View) -> Iterator[Finding]:
    if view.motion is not None and view.motion.problem:
        yield Finding("signal_invalid", view.rules.robot.feedback, view.motion.problem)


def _scan(view: View) -> Iterator[Finding]:
    obstacle = view.rules.robot.obstacle
    sample = view.inputs.samples.get(obstacle.signal) if obstacle else None
    if obstacle is None or sample is None:
        return
    if not isinstance(sample.data, LaserScan) or not len(sample.data.ranges):
        yield Finding("signal_invalid", obstacle.signal, "is no laser scan with any beams")


def _battery(view: View) -> Iterator[Finding]:
    for topic in view.rules.batteries:
        sample = view.inputs.samples.get(topic)
        if sample is None:
            continue
        charge = sample.data.percentage if isinstance(sample.data, Battery) else float("nan")
        if not isfinite(charge):
            yield Finding("signal_invalid", topic, "its charge is not a number")
        elif charge < _BATTERY_CRITICAL:
            yield Finding("battery_critical", topic, f"{charge:.0%} left")
        elif charge < _BATTERY_LOW:
            yield Finding("battery_low", topic, f"{charge:.0%} left", (_BATTERY_LOW - charge) / _BATTERY_LOW)


def _contact(view: View) -> Iterator[Finding]:
    for topic in view.rules.bumpers:
        sample = view.inputs.samples.get(topic)
        if sample is None:
            continue
        if not isinstance(sample.data, Proximity):
            yield Finding("signal_invalid", topic, "is no proximity")
            continue
        for thing in sample.data.objects:
            if not thing.distance > 0:
                yield Finding("contact", topic, f"touches {thing.name or 'something'}")


def _chunks(view: View) -> Iterator[Finding]:
    if view.refused:
        yield Finding("chunk_refused", "policy", view.refused)
    inputs, settings, step = view.inputs, view.rules.settings, view.inputs.step
    silent_s = (inputs.now_ns - view.chunk_ns) / NS_PER_S
    if inputs.task and silent_s > settings.safety.silence_s:
        yield Finding("silence", "policy", f"no new chunk for {silent_s:.2f} s")
    if step is None:
        return
    if problem := step_problem(step, view.rules):
        yield Finding("step_invalid", "policy", problem)
        return
    if step.remaining_ns <= 0:
        yield Finding("chunk_used_up", "policy", f"for {-step.remaining_ns / NS_PER_S:.2f} s")
    age_s = (inputs.now_ns - step.stamp_ns) / NS_PER_S
    if age_s > settings.policy.max_chunk_age_s:
        yield Finding("chunk_old", "policy", f"its frame is {age_s:.2f} s old")
    likely, threshold = step.collision, settings.safety.collision_threshold
    if likely is not None and not likely <= threshold:
        yield Finding("collision_predicted", "policy", f"{likely:.2f}, at most {threshold:.2f}", likely)


def _compute(view: View) -> Iterator[Finding]:
    inputs, settings = view.inputs, view.rules.settings
    if inputs.inference_since_ns is not None:
        taken_s = (inputs.now_ns - inputs.inference_since_ns) / NS_PER_S
        if taken_s > settings.policy.deadline_s:
            yield Finding("inference_late", "policy", f"runs for {taken_s:.2f} s")
    if view.overruns >= settings.safety.overruns_stop:
        yield Finding("overrun_stop", "tick", f"{view.overruns} missed")
    elif view.overruns >= settings.safety.overruns_slow:
        yield Finding("overrun", "tick", f"{view.overruns} missed")
    for part in inputs.failed_parts:
        yield Finding("part_failed", part, "died")


def _obstacle(view: View) -> Iterator[Finding]:
    """An obstacle stop once begun is brought to rest, unless the way is free for full speed again."""
    obstacle = view.rules.robot.obstacle
    if obstacle is None:
        return
    if view.blocked:
        yield Finding("obstacle_ahead", obstacle.signal, view.blocked)
    limits = view.rules.limits
    axis = limits.names.index("linear_x")
    linear = float(view.speed[axis])
    if abs(linear) <= limits.rest[axis]:
        return
    free_m = view.free_way_m(linear, turning(view.speed, limits))
    brake = float(limits.deceleration[axis])
    needed_m = enough_m = stopping_m(abs(linear), brake, obstacle.reaction_s)
    if "obstacle" in view.acting:
        enough_m = stopping_m(float(limits.velocity[axis]), brake, obstacle.reaction_s)
    if enough_m > free_m:
        yield Finding("obstacle", obstacle.signal, f"{free_m:.2f} m free, {needed_m:.2f} m needed to stop")


def turning(speed: Vector, limits: Limits) -> float:
    """The turn rate [rad/s] among these speeds; 0 for a base that cannot turn."""
    return float(speed[limits.names.index("angular_z")]) if "angular_z" in limits.names else 0.0


def _limits(view: View) -> Iterator[Finding]:
    motion, limits = view.motion, view.rules.limits
    if motion is None:
        return
    if motion.position is not None:
        slack = _POSITION_SLACK * (limits.upper - limits.lower)
        beyond = np.maximum(limits.lower - motion.position, motion.position - limits.upper) > slack
        if beyond.any():
            for axis in np.flatnonzero(beyond):
                yield Finding("position_limit", limits.names[axis], f"at {motion.position[axis]:.3f}")
    if motion.measured and motion.velocity is not None:
        fast = np.abs(motion.velocity) > _VELOCITY_SLACK * limits.velocity
        if fast.any():
            for axis in np.flatnonzero(fast):
                yield Finding("velocity_limit", limits.names[axis], f"at {motion.velocity[axis]:.3f}")


def _stopping(view: View) -> Iterator[Finding]:
    """Does the robot slow down as planned? Unknown counts as no, once it should be at rest."""
    plan, now_ns, limits = view.stop, view.inputs.now_ns, view.rules.limits
    if plan is None or not view.rules.robot.feedback:
        return
    row = "stop_late" if plan.category is Reaction.STOP2 else "stop_failed"
    velocity = view.motion.velocity if view.motion is not None else None
    if velocity is None:
        if plan.category is Reaction.STOP2 and plan.over(now_ns):
            yield Finding(row, view.rules.robot.feedback, "nothing confirms that the robot came to rest")
        return
    excess = np.abs(velocity) - plan.allowed(now_ns) - limits.rest
    axis = int(excess.argmax())
    if excess[axis] > 0:
        yield Finding(row, limits.names[axis], f"still at {velocity[axis]:.3f}")


CHECKS: tuple[Callable[[View], Iterator[Finding]], ...] = (
    _estop, _signals, _feedback, _scan, _battery, _contact, _chunks, _compute, _obstacle, _limits, _stopping,
)  # fmt: skip
"""All of them, in the order in which a person would ask."""


def findings(view: View) -> list[Finding]:
    """What is wrong now."""
    return [
        finding
        for check in CHECKS
        for finding in check(view)
        if view.armed or not FAULTS[finding.fault].only_armed
    ]
