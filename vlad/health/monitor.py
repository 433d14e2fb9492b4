"""Health as the daemon runs it: judged in the computer's thread, told on the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import isfinite
from typing import Any

from vlad.clock import NS_PER_S, Clock
from vlad.computer.measured import Measured
from vlad.health.alerts import Alert, Alerts, Change
from vlad.health.figures import Figures
from vlad.health.judge import Component, Judge
from vlad.health.machine import machine_readings
from vlad.health.outlets import open_outlets
from vlad.health.parts import DaemonParts
from vlad.health.settings import HealthSettings
from vlad.health.words import duration
from vlad.jsontext import to_json
from vlad.messages import Level
from vlad.queues import DropOldest, Latest
from vlad.record.events import EventLog

_PERIOD_S = 1.0
_SILENT_S = 10.0
_WAITING = 256

Row = dict[str, Any]


class Health:
    """`judge` belongs to the computer's thread, everything else to the loop's."""

    def __init__(
        self,
        settings: HealthSettings,
        robot: str,
        clock: Clock,
        events: EventLog,
    ) -> None:
        self._settings = settings
        self._robot = robot
        self._clock = clock
        self._events = events
        self._judge = Judge()
        self._parts = DaemonParts()
        self._alerts = Alerts(settings.raise_s, settings.clear_s)
        self._figures: Latest[Figures] = Latest()
        self._told: Latest[Row] = Latest()
        self._changes: DropOldest[Change] = DropOldest(_WAITING)
        self._began_ns = clock.now_ns()
        self._silent = False
        self._outlets = open_outlets(settings)
        self._problems = dict.fromkeys((outlet.name for outlet in self._outlets), False)

    def close(self) -> None:
        """Stop telling."""
        for outlet in self._outlets:
            outlet.close()

    def judge(self, measured: Measured) -> None:
        """Off the loop: judge, and have alerts told."""
        readings = machine_readings(measured, self._settings)
        figures = self._figures.peek()
        if figures is not None:
            readings = {**readings, **self._parts.readings(figures, measured.stamp_ns)}
        report = self._judge.judge(measured.stamp_ns, readings)
        for change in self._alerts.update(report):
            self._changes.put(change)
            message = to_json({"robot": self._robot, "wall_ns": self._clock.wall_ns(), **change_row(change)})
            for outlet in self._outlets:
                outlet.put(message)
        self._told.put(
            {
                "score": _rounded(report.score),
                "level": report.level.name,
                "components": {part.name: component_row(part) for part in report.components},
                "alerts": [alert_row(alert, report.stamp_ns) for alert in self._alerts.active],
                "stamp_ns": report.stamp_ns,
            }
        )

    async def run(self, gather: Callable[[], Figures]) -> None:
        """Once a second, give the figures of the daemon, and take what was found to the event log."""
        while True:
            self._figures.put(gather())
            self.tell()
            await asyncio.sleep(_PERIOD_S)

    def tell(self) -> None:
        """What began and ended since the last time."""
        for change in self._changes.take_all():
            row = change_row(change)
            data = {key: row[key] for key in row if key not in ("event", "level", "text")}
            level = Level.SAFE if change.over else change.alert.level
            self._events.put(row["event"], level, _sentence(change), **data)
        for outlet in self._outlets:
            problem = outlet.problem
            if bool(problem) != self._problems[outlet.name]:
                self._problems[outlet.name] = bool(problem)
                text = f"alerts do not get out: {problem}" if problem else "alerts get out again"
                self._events.put(
                    "alert_outlet", Level.WARNING if problem else Level.SAFE, text, outlet=outlet.name
                )
        self._watch_over_the_thread()

    def report(self) -> Row:
        """The `health` part of the status; `age_s` since it was measured, null: never."""
        newest = self._told.peek()
        outlets = {
            outlet.name: {"problem": outlet.problem, "delivered": outlet.delivered, "lost": outlet.lost}
            for outlet in self._outlets
        }
        if newest is None:
            nothing: Row = {"score": None, "level": None, "components": {}, "alerts": [], "age_s": None}
            return {**nothing, "outlets": outlets}
        age_s = round((self._clock.now_ns() - newest["stamp_ns"]) / NS_PER_S, 1)
        return {**newest, "age_s": age_s, "outlets": outlets}

    def _watch_over_the_thread(self) -> None:
        """A disk or a driver that does not answer holds up the thread that asks it: told once."""
        newest = self._told.peek()
        since_ns = self._began_ns if newest is None else newest["stamp_ns"]
        silent = (self._clock.now_ns() - since_ns) / NS_PER_S > _SILENT_S
        if silent and not self._silent:
            text = f"nothing was measured for {_SILENT_S:.0f} s: a disk or driver hangs; else see the log"
            self._events.put("alert", Level.WARNING, text, component="health")
        elif self._silent and not silent:
            self._events.put("alert_over", Level.SAFE, "this computer is measured again", component="health")
        self._silent = silent


def component_row(component: Component) -> Row:
    """As the status has it: only what JSON can hold."""
    hours = component.trend_per_h
    return {
        "score": _rounded(component.score),
        "level": component.level.name,
        "text": component.text,
        "readings": {name: _rounded(value, 4) for name, value in component.readings.items()},
        "trend_per_h": None if hours is None else float(f"{hours:.3g}"),
        "unit": component.unit,
        "time_to_limit_s": _rounded(component.time_to_limit_s, 0),
        "risk": round(component.risk, 3),
        "reason": component.reason,
        "action": component.action,
    }


def alert_row(alert: Alert, now_ns: int) -> Row:
    """As the status has it; `for_s` it has been raised."""
    return {**_alert(alert), "for_s": round((now_ns - alert.since_ns) / NS_PER_S, 1)}


def change_row(change: Change) -> Row:
    """What is told of the begin or end of an alert, out of the process and in the event log."""
    row = {"event": "alert_over" if change.over else "alert", **_alert(change.alert)}
    return {**row, "lasted_s": round(change.lasted_s, 1), "now": change.now.name} if change.over else row


def _alert(alert: Alert) -> Row:
    told = ("id", "component", "level", "text", "action")
    return {name: getattr(alert, name) for name in told} | {"level": alert.level.name}


def _sentence(change: Change) -> str:
    alert = change.alert
    if not change.over:
        return f"{alert.component}: {alert.text}"
    now = "well again" if change.now is Level.SAFE else f"now {change.now.name}"
    return f"{alert.component}: {now}, after {duration(change.lasted_s)} of {alert.level.name}"


def _rounded(value: float | None, digits: int = 3) -> float | None:
    return None if value is None or not isfinite(value) else round(value, digits)
