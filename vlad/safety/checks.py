"""The checks: pure functions from what is known now to what is wrong with it.

Each yields findings, whose fault ids are rows of faults.py. Whether a number is finite is looked at before
it meets any comparison. What is unknown, stale or missing counts as unsafe.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import isfinite

import numpy as np

from vlad.clock import NS_PER_S
from vlad.config import Robot, Settings
from vlad.messages import Battery, Chunk, EStop, Kind, LaserScan, Proximity, Sample, Step
from vlad.safety.faults import Finding, Reaction
from vlad.safety.motion import Limits, Motion, StopPlan, Vector
from vlad.safety.obstacle import Surroundings, stopping_m

FUTURE_NS = 50_000_000
"""A stamp may be this far ahead: the sample came after the judgement's time was read."""
_EVENTS = ("instruction", "task_result")
_GROSS = 3.0
"""A speed beyond this many times its limit is no mere exaggeration."""
_POSITION_SLACK = 0.01
"""Part of a joint's range that it may be measured beyond a limit: encoders have offsets."""
_VELOCITY_SLACK = 1.2
_BATTERY_LOW = 0.2
_BATTERY_CRITICAL = 0.1


@dataclass(frozen=True, slots=True)
class Inputs:
    """All that one judgement may know."""

    now_ns: int
    samples: Mapping[str, Sample]
    """The newest good sample of each topic; missing: it never came."""
    step: Step | None = None
    """What the follower proposes for now; None: it has no chunk."""
    task: str = ""
    """The standing instruction."""
    inference_since_ns: int | None = None
    """When the inference that runs now began."""
    missed_ticks: int = 0
    """Periods missed since the last judgement."""
    early: bool = False
    """A turn between two ticks."""
    failed_parts: tuple[str, ...] = ()
    """Parts the daemon cannot do without that died."""


class Watched:
    """A signal that the safety tick insists on."""

    __slots__ = ("estop", "max_age_ns", "topic")

    def __init__(self, topic: str, max_age_s: float, estop: bool) -> None:
        self.topic = topic
        self.max_age_ns = int(max_age_s * NS_PER_S)
        self.estop = estop

    def age_problem(self, sample: Sample, now_ns: int) -> str:
        """Why this sample may not be trusted any more; empty: it may."""
        age_ns = now_ns - sample.stamp_ns
        if age_ns > self.max_age_ns:
            return f"{age_ns / NS_PER_S:.3f} s old, at most {self.max_age_ns / NS_PER_S:.3f} s"
        if age_ns < -FUTURE_NS:
            return f"stamped {-age_ns / NS_PER_S:.3f} s in the future"
        return ""


class Rules:
    """What the settings and the limits file say, laid out once for the checks."""

    def __init__(self, robot: Robot, settings: Settings) -> None:
        self.robot = robot
        self.settings = settings
        self.limits = Limits(robot)
        own = {robot.feedback, robot.obstacle.signal if robot.obstacle else ""}
        self.watched = tuple(
            Watched(topic, signal.max_age_s, signal.type == "estop")
            for topic, signal in settings.signals.items()
            if (signal.required or topic in own) and signal.type not in _EVENTS
        )
        self.feedback = next((signal for signal in self.watched if signal.topic == robot.feedback), None)
        self.estops = _of_type(settings, "estop")
        self.batteries = _of_type(settings, "battery")
        self.bumpers = _of_type(settings, "proximity")
        self.period_ns = NS_PER_S // settings.realtime.tick_hz


def _of_type(settings: Settings, kind: str) -> tuple[str, ...]:
    return tuple(topic for topic, signal in settings.signals.items() if signal.type == kind)


@dataclass(slots=True)
class View:
    """One judgement's inputs, and what the kernel made of them and of those before."""

    rules: Rules
    inputs: Inputs
    armed: bool
    motion: Motion | None
    """What the feedback signal says; None where the robot has none, or it is stale or missing."""
    speed: Vector
    """Signed, in the order of the axes: measured where it is known, else as last commanded."""
    surroundings: Surroundings | None
    stop: StopPlan | None
    """The controlled stop that is under way."""
    chunk_ns: int
    """When the last chunk was admitted, or when one could first be expected."""
    refused: str
    """Why the last chunk was refused; empty: it was not."""
    overruns: int
    """Ticks missed in a row."""
    blocked: str
    """What the obstacle limit did to the last command; empty: nothing worth telling."""


def _estop(view: View) -> Iterator[Finding]:
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
    if not view.armed:
        return
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
    obstacle = view.rules.robot.obstacle
    if not view.armed or obstacle is None or view.surroundings is None:
        return
    if view.blocked:
        yield Finding("obstacle_ahead", obstacle.signal, view.blocked)
    limits = view.rules.limits
    axis = limits.names.index("linear_x")
    linear = float(view.speed[axis])
    if abs(linear) <= limits.rest[axis]:
        return
    free_m = free_way_m(view.inputs, view.rules, view.surroundings, linear, turning(view.speed, limits))
    needed_m = stopping_m(abs(linear), float(limits.deceleration[axis]), obstacle.reaction_s)
    if needed_m > free_m:
        yield Finding("obstacle", obstacle.signal, f"{free_m:.2f} m free, {needed_m:.2f} m needed to stop")


def turning(speed: Vector, limits: Limits) -> float:
    """The turn rate [rad/s] among these speeds; 0 for a base that cannot turn."""
    return float(speed[limits.names.index("angular_z")]) if "angular_z" in limits.names else 0.0


def free_way_m(inputs: Inputs, rules: Rules, seen: Surroundings, linear: float, angular: float) -> float:
    """The free way as of now: what the scan saw, less what the robot drove since."""
    obstacle = rules.robot.obstacle
    sample = inputs.samples.get(obstacle.signal) if obstacle else None
    if sample is None:
        return 0.0
    age_s = max(0, inputs.now_ns - sample.stamp_ns) / NS_PER_S
    return max(0.0, seen.free_m(linear, angular) - abs(linear) * age_s)


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
    if view.armed and motion.measured and motion.velocity is not None:
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
    return [finding for check in CHECKS for finding in check(view)]
