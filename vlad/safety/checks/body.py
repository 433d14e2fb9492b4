"""The body as a whole: battery, balance, tilt, power, temperatures."""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite

from vlad.messages import Battery
from vlad.safety.reaction import Finding
from vlad.safety.view import View


def battery(view: View) -> Iterator[Finding]:
    """Low: slower. Critical: home by hand."""
    body = view.rules.robot.body
    for topic in view.rules.batteries:
        sample = view.inputs.samples.get(topic)
        if sample is None:
            continue
        charge = sample.data.percentage if isinstance(sample.data, Battery) else float("nan")
        if not isfinite(charge):
            yield Finding("signal_invalid", topic, "its charge is not a number")
        elif charge < body.battery_critical:
            yield Finding("battery_critical", topic, f"{charge:.0%} left")
        elif charge < body.battery_low:
            yield Finding("battery_low", topic, f"{charge:.0%} left", 1 - charge / body.battery_low)
