"""Space: what is in the way, who is near, what is touched, where the end effector may be."""

from __future__ import annotations

from collections.abc import Iterator
from math import hypot, isfinite

import numpy as np

from vlad.clock import NS_PER_S
from vlad.messages import Data, Kind, NearObject, Proximity, Wrench
from vlad.robot import Robot, Separation
from vlad.safety.motion import Vector, turning
from vlad.safety.obstacle import stopping_m
from vlad.safety.reaction import Finding
from vlad.safety.view import View

_UNKNOWN = (NearObject("nobody knows what", 0.0, 0.0),)
_CLOSE = 2.0
"""A person within so many protective distances makes the robot slow."""
_RobotPart = tuple[float, float]
"""v_r T_r + S_s + C + Z_d + Z_r of the protective distance [m], and T_r + T_s [s]."""


def contact(view: View) -> Iterator[Finding]:
    """What a bumper touches."""
    for topic in view.rules.bumpers:
        sample = view.inputs.samples.get(topic)
        if sample is not None:
            yield from view.looks.at(topic, sample, _touch)


def _touch(topic: str, data: Data, robot: Robot) -> Iterator[Finding]:
    if not isinstance(data, Proximity):
        yield Finding("signal_invalid", topic, "is no proximity")
        return
    for thing in data.objects:
        if not thing.distance > 0:
            yield Finding("contact", topic, f"touches {thing.name or 'something'}")


def force(view: View) -> Iterator[Finding]:
    """What pushes against the robot."""
    contact = view.rules.robot.contact
    sample = view.fresh(contact.signal) if contact is not None else None
    if contact is not None and sample is not None:
        yield from view.looks.at(contact.signal, sample, _push)


def _push(topic: str, data: Data, robot: Robot) -> Iterator[Finding]:
    if not isinstance(data, Wrench) or not all(map(isfinite, (*data.force, *data.torque))):
        yield Finding("signal_invalid", topic, "is no wrench with finite numbers")
        return
    most, force, torque = robot.contact, hypot(*data.force), hypot(*data.torque)
    if most is not None and force > most.force:
        yield Finding("contact_force", topic, f"{force:.1f} of {most.force:g} N")
    elif most is not None and most.torque is not None and torque > most.torque:
        yield Finding("contact_force", topic, f"{torque:.1f} of {most.torque:g} N m")


def obstacle(view: View) -> Iterator[Finding]:
    """An obstacle stop once begun is brought to rest, unless the way is free for full speed again."""
    obstacle = view.rules.robot.obstacle
    if obstacle is None:
        return
    if view.blocked:
        yield Finding("obstacle_ahead", obstacle.lasers[0].signal, view.blocked)
    limits = view.rules.limits
    axis = limits.names.index("linear_x")
    linear = float(view.speed[axis])
    if abs(linear) <= limits.rest[axis]:
        return
    brake = float(limits.deceleration[axis])
    needed_m = enough_m = stopping_m(abs(linear), brake, obstacle.reaction_s)
    if "obstacle" in view.acting:
        enough_m = stopping_m(float(limits.velocity[axis]), brake, obstacle.reaction_s)
    free_m = view.free_way_m(linear, turning(view.speed, limits), enough_m)
    if enough_m > free_m:
        yield Finding(
            "obstacle", obstacle.lasers[0].signal, f"{free_m:.2f} m free, {needed_m:.2f} m needed to stop"
        )


def workspace(view: View) -> Iterator[Finding]:
    """The end effector as it is measured, and where the policy's step would lead it."""
    tip, motion = view.tip, view.motion
    if tip is None:
        return
    if tip.pose:
        sample = view.fresh(tip.pose)
        if sample is not None:
            yield from tip.of_pose(sample, view.speed)
    elif motion is not None and motion.position is not None:
        yield from tip.of_joints(motion)
        target = _asked(view, motion.position)
        if target is not None:
            yield from tip.of_command(target)


def _asked(view: View, position: Vector) -> Vector | None:
    """The joint positions that the policy's step asks for; None: there is none that could be followed."""
    step, kind = view.inputs.step, view.rules.robot.command
    if step is None or view.misstep or not view.armed or kind is Kind.JOINT_VELOCITY:
        return None
    return step.values + position if kind is Kind.JOINT_DELTA else step.values.astype(np.float64)


def separation(view: View) -> Iterator[Finding]:
    """Speed and separation monitoring. What has begun ends when the way is free for full speed."""
    settings = view.rules.robot.separation
    if settings is None:
        return
    sample = view.fresh(settings.signal)
    people: tuple[NearObject, ...] = _UNKNOWN
    age_s = 0.0
    if sample is not None and isinstance(sample.data, Proximity):
        people = sample.data.objects
        age_s = (view.inputs.now_ns - sample.stamp_ns) / NS_PER_S
    near = close = _robot_part(view, settings, age_s, "person_near" in view.acting)
    if "person_close" in view.acting:
        close = _robot_part(view, settings, age_s, at_full_speed=True)
    for person in people:
        if person.name not in settings.ignore:
            yield from _keeps_away(person, settings, near, close)


def _keeps_away(
    person: NearObject, settings: Separation, near: _RobotPart, close: _RobotPart
) -> Iterator[Finding]:
    sane = isfinite(person.distance) and isfinite(person.velocity)
    approach = max(settings.person_speed, -person.velocity) if sane else settings.person_speed
    distance_m = person.distance if sane else 0.0
    needed_m, slow_m = (fixed_m + approach * time_s for fixed_m, time_s in (near, close))
    if distance_m < _CLOSE * slow_m:
        said = f"{person.name or 'someone'} at {distance_m:.2f} m, {needed_m:.2f} m needed"
        fault = "person_near" if distance_m < needed_m else "person_close"
        yield Finding(fault, settings.signal, said, min(1.0, _CLOSE - distance_m / slow_m))


def _robot_part(view: View, settings: Separation, age_s: float, at_full_speed: bool) -> _RobotPart:
    """What the robot's own motion needs.

    T_r is not shorter than the measurement is old. Without the settings T_s is the longest time in which an
    axis comes to rest, and S_s = v_r T_s / 2, the way of an even braking.
    """
    limits = view.rules.limits
    speed = limits.velocity if at_full_speed else np.abs(view.speed)
    robot_speed = settings.robot_speed
    if robot_speed is None:
        robot_speed = float(speed[limits.names.index("linear_x")])
    stopping_s = settings.stopping_s
    if stopping_s is None:
        stopping_s = float((speed / limits.deceleration).max())
    way_m = settings.stopping_m if settings.stopping_m is not None else robot_speed * stopping_s / 2
    reaction_s = max(settings.reaction_s, age_s)
    slack_m = settings.intrusion + settings.person_uncertainty + settings.robot_uncertainty
    return robot_speed * reaction_s + way_m + slack_m, reaction_s + stopping_s
