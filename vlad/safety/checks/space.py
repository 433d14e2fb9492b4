"""Space: what is in the way, who is near, what is touched, where the end effector may be."""

from __future__ import annotations

from collections.abc import Iterator

from vlad.messages import Proximity
from vlad.safety.motion import turning
from vlad.safety.obstacle import stopping_m
from vlad.safety.reaction import Finding
from vlad.safety.view import View


def contact(view: View) -> Iterator[Finding]:
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
    free_m = view.free_way_m(linear, turning(view.speed, limits))
    brake = float(limits.deceleration[axis])
    needed_m = enough_m = stopping_m(abs(linear), brake, obstacle.reaction_s)
    if "obstacle" in view.acting:
        enough_m = stopping_m(float(limits.velocity[axis]), brake, obstacle.reaction_s)
    if enough_m > free_m:
        yield Finding(
            "obstacle", obstacle.lasers[0].signal, f"{free_m:.2f} m free, {needed_m:.2f} m needed to stop"
        )
