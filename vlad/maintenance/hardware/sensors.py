"""Whether each sensor comes as often as it should, of the daemon's status."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from vlad.config import Settings, SignalSettings
from vlad.ctl.doctor.daemon import EVENT_TYPES
from vlad.maintenance.finding import Finding, State

_DRIVER = "is its driver running, its cable in place, this computer too busy?"


def check_sensors(settings: Settings, signals: Mapping[str, Mapping[str, Any]]) -> Iterator[Finding]:
    """`signals` are those of the status (vlad/status.py); none: the daemon was not asked."""
    if not signals:
        yield Finding("unknown", "sensors", "the daemon says nothing of them", "systemctl start vlad")
    for topic, known in settings.signals.items():
        if signals and known.type not in EVENT_TYPES:
            yield from _check(
                f"sensor {topic}", known, signals.get(topic, {}), settings.safety.rate_tolerance
            )


def _check(
    topic: str, known: SignalSettings, signal: Mapping[str, Any], tolerance: float
) -> Iterator[Finding]:
    age_s, rate_hz, bad = signal.get("age_s"), signal.get("rate_hz"), sum((signal.get("bad") or {}).values())
    lost: State = "problem" if known.required else "warning"
    if age_s is None or rate_hz is None:
        yield Finding(lost, topic, "never arrived", _DRIVER)
    elif age_s > known.max_age_s:
        yield Finding(lost, topic, f"the newest is {age_s:.1f} s old, {known.max_age_s:g} s may be", _DRIVER)
    elif known.rate_hz and abs(rate_hz - known.rate_hz) > tolerance * known.rate_hz:
        yield Finding("warning", topic, f"{rate_hz:g} Hz, not {known.rate_hz:g}", _DRIVER)
    elif bad:
        what = f"{bad:,} of {bad + signal.get('received', 0):,} messages were refused"
        yield Finding("warning", topic, what, "vladctl status says why; mend its driver")
    elif not known.rate_hz:
        yield Finding(
            "unknown", topic, f"{rate_hz:g} Hz; its rate is not set", "write rate_hz in its settings"
        )
    else:
        yield Finding("ok", topic, f"{rate_hz:g} Hz")
