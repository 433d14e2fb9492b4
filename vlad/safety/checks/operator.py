"""What people ask for: emergency stops, enabling switches."""

from __future__ import annotations

from collections.abc import Iterator

from vlad.messages import Deadman, EStop
from vlad.safety.reaction import Finding
from vlad.safety.view import View


def estop(view: View) -> Iterator[Finding]:
    """A button that is pressed, or whose message is not one of a button."""
    if view.called is not None:
        yield Finding("estop", "operator", view.called)
    for topic in view.rules.estops:
        sample = view.inputs.samples.get(topic)
        if sample is not None and not (isinstance(sample.data, EStop) and not sample.data.pressed):
            yield Finding("estop_pressed", topic, "pressed")


def deadman(view: View) -> Iterator[Finding]:
    """Not held, or not known to be held."""
    for topic in view.rules.deadmen:
        sample = view.fresh(topic)
        if sample is None or not (isinstance(sample.data, Deadman) and sample.data.held):
            yield Finding("deadman_released", topic, "not held")
