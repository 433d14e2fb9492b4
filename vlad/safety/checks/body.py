"""The body as a whole: battery, balance, tilt, power, temperatures."""

from __future__ import annotations

from collections.abc import Iterator
from math import asin, atan2, fabs, hypot, isfinite, nan

from vlad.messages import Battery, CenterOfMass, Data, Imu, Power, Temperature
from vlad.robot import Robot
from vlad.safety.looks import Look
from vlad.safety.reaction import Finding
from vlad.safety.view import View

_WARM_DEGREES = 10.0
"""A component is warm from this far below its limit on."""
_UNIT_ERROR = 0.1
"""A quaternion's length may differ from 1 by this."""


def body(view: View) -> Iterator[Finding]:
    """Every signal that says something of the whole body; one that is not required must not be old."""
    for topic, kind in view.rules.body:
        sample = view.fresh(topic)
        if sample is not None:
            yield from view.looks.at(topic, sample, _LOOKS[kind])


def battery(topic: str, data: Data, robot: Robot) -> Iterator[Finding]:
    """Low: slower. Critical: home by hand."""
    body = robot.body
    charge = data.percentage if isinstance(data, Battery) else nan
    if not isfinite(charge):
        yield Finding("signal_invalid", topic, "its charge is not a number")
    elif charge < body.battery_critical:
        yield Finding("battery_critical", topic, f"{charge:.0%} left")
    elif charge < body.battery_low:
        yield Finding("battery_low", topic, f"{charge:.0%} left", 1 - charge / body.battery_low)


def balance(topic: str, data: Data, robot: Robot) -> Iterator[Finding]:
    """The centre of mass must stay over the support."""
    x, y = (data.x, data.y) if isinstance(data, CenterOfMass) else (nan, nan)
    if not (isfinite(x) and isfinite(y)):
        yield Finding("signal_invalid", topic, "is no centre of mass with finite numbers")
    elif hypot(x, y) > robot.body.center_of_mass:
        yield Finding("unbalanced", topic, f"the centre of mass is {hypot(x, y):.2f} m off")


def tilt(topic: str, data: Data, robot: Robot) -> Iterator[Finding]:
    """Roll and pitch [rad] of REP 103 from the orientation."""
    x, y, z, w = data.orientation if isinstance(data, Imu) else (nan,) * 4
    length = hypot(x, y, z, w)
    if not fabs(length - 1) <= _UNIT_ERROR:
        yield Finding("signal_invalid", topic, "has no orientation: its quaternion is not of length 1")
        return
    x, y, z, w = x / length, y / length, z / length, w / length
    roll = atan2(2 * (w * x + y * z), 1 - 2 * (x * x + y * y))
    pitch = asin(max(-1.0, min(1.0, 2 * (w * y - z * x))))
    if max(fabs(roll), fabs(pitch)) > robot.body.tilt:
        yield Finding("tilted", topic, f"roll {roll:.2f}, pitch {pitch:.2f} rad")


def power(topic: str, data: Data, robot: Robot) -> Iterator[Finding]:
    """What the whole robot draws."""
    watts, most = data.watts if isinstance(data, Power) else nan, robot.body.power
    if most is None:
        return
    if not isfinite(watts):
        yield Finding("signal_invalid", topic, "its power is not a number")
    elif watts > most:
        yield Finding("power_limit", topic, f"{watts:.0f} of {most:.0f} W")


def heat(topic: str, data: Data, robot: Robot) -> Iterator[Finding]:
    """Every component by its name."""
    if not isinstance(data, Temperature):
        yield Finding("signal_invalid", topic, "carries no temperatures")
        return
    hottest = robot.body.temperature
    for part, celsius in data.celsius.items():
        if not isfinite(celsius):
            yield Finding("signal_invalid", topic, f"the temperature of {part} is not a number")
        elif celsius > hottest - _WARM_DEGREES:
            said, severity = (
                f"{celsius:.0f} of {hottest:.0f} degrees",
                1 - (hottest - celsius) / _WARM_DEGREES,
            )
            hot = celsius > hottest
            yield Finding("component_hot" if hot else "component_warm", part, said, min(1.0, severity))


_LOOKS: dict[str, Look] = {
    "battery": battery, "center_of_mass": balance, "imu": tilt, "power": power, "temperature": heat,
}  # fmt: skip
