"""Alerts: what stayed bad for long enough to be told, and when it was over. The time comes with the reports.

A component has one alert at a time, of the worst level that holds. Another level ends it and begins another.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field

from vlad.clock import NS_PER_S
from vlad.health.judge import Component, Report
from vlad.messages import Level

_LEVELS = (Level.CAUTION, Level.WARNING, Level.DANGER, Level.EMERGENCY)


@dataclass(frozen=True, slots=True)
class Alert:
    """Something is bad. `id` is the same for its begin and its end, and no other alert's."""

    id: str
    component: str
    level: Level
    text: str
    action: str
    since_ns: int
    """When it was raised, on the monotonic clock."""


@dataclass(frozen=True, slots=True)
class Change:
    """An alert began; or it is over, after so many seconds, and the component at another level."""

    alert: Alert
    over: bool = False
    lasted_s: float = 0.0
    now: Level = Level.SAFE


@dataclass(slots=True)
class _Steps:
    """Which levels a component has reached, and since when each that it has not (or has) says otherwise."""

    reached: Level = Level.SAFE
    contrary_ns: dict[Level, int] = field(default_factory=dict)
    alert: Alert | None = None


class Alerts:
    """Belongs to one thread."""

    def __init__(self, raise_s: float, clear_s: float) -> None:
        self._raise_ns = round(raise_s * NS_PER_S)
        self._clear_ns = round(clear_s * NS_PER_S)
        self._steps: dict[str, _Steps] = {}

    @property
    def active(self) -> tuple[Alert, ...]:
        """The worst first."""
        alerts = [steps.alert for steps in self._steps.values() if steps.alert is not None]
        return tuple(sorted(alerts, key=lambda alert: -alert.level))

    def update(self, report: Report) -> list[Change]:
        """What begins and ends with this report. A component that it does not have any more is well."""
        seen = {component.name: component for component in report.components}
        gone = [
            Component(name, 1.0, Level.SAFE, Level.SAFE, "is gone", {}) for name in self._steps.keys() - seen
        ]
        return [
            change
            for component in (*report.components, *gone)
            for change in self._update(component, report.stamp_ns)
        ]

    def _update(self, component: Component, now_ns: int) -> list[Change]:
        steps = self._steps.setdefault(component.name, _Steps())
        if component.score is None:
            steps.contrary_ns.clear()  # not known: neither better nor worse
            return []
        before = steps.reached
        steps.reached = self._reached(steps, component, now_ns)
        if steps.reached is before:
            return []
        changes = []
        if steps.alert is not None:
            lasted_s = (now_ns - steps.alert.since_ns) / NS_PER_S
            changes.append(Change(steps.alert, True, lasted_s, steps.reached))
            steps.alert = None
        if steps.reached is not Level.SAFE:
            steps.alert = Alert(
                uuid.uuid4().hex, component.name, steps.reached, component.text, component.action, now_ns
            )
            changes.append(Change(steps.alert, now=steps.reached))
        return changes

    def _reached(self, steps: _Steps, component: Component, now_ns: int) -> Level:
        """The highest level that was held for long enough and not left for long enough."""
        reached = Level.SAFE
        for step in _LEVELS:
            on = step <= steps.reached
            contrary = component.eased < step if on else component.level >= step
            if not contrary:
                steps.contrary_ns.pop(step, None)
            elif now_ns - steps.contrary_ns.setdefault(step, now_ns) >= (
                self._clear_ns if on else self._raise_ns
            ):
                del steps.contrary_ns[step]
                on = not on
            if on:
                reached = step
        return reached
