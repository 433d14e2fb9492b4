"""One number that tells how well a sensor is calibrated, beside what it should be."""

from __future__ import annotations

from dataclasses import dataclass
from math import floor, isfinite, log10

from vlad.maintenance.finding import Finding, State

MUCH = 3.0
"""So many times the limit is a problem, and not a warning only."""


@dataclass(frozen=True, slots=True)
class Figure(Finding):
    """None: not measured, or nothing to compare it with."""

    name: str = ""
    measured: float | None = None
    reference: float | None = None
    unit: str = ""


def judged(
    topic: str, name: str, measured: float, reference: float, limit: float, unit: str, mend: str,
    off: float | None = None,
) -> Figure:  # fmt: skip
    """How far `measured` is from `reference`; `off` is that distance where it is not their difference."""
    off = abs(measured - reference) if off is None else off
    if not isfinite(off):
        return unknown(topic, name, "is not a number", mend)
    state: State = "ok" if off <= limit else "warning" if off <= MUCH * limit else "problem"
    shown, apart, wanted = (f"{_plain(value, limit)}{unit}" for value in (measured, off, reference))
    what = f"{name} is {shown}, {apart} off {wanted}; {limit:g}{unit} may be"
    return Figure(state, topic, what, "" if state == "ok" else mend, name, measured, reference, unit)


def unknown(
    topic: str, name: str, why: str, mend: str, measured: float | None = None, unit: str = ""
) -> Figure:
    return Figure("unknown", topic, f"{name}: {why}", mend, name, measured, None, unit)


def _plain(value: float, limit: float) -> str:
    """With as many places as matter beside the limit."""
    places = 2 - floor(log10(limit)) if limit else 2
    return f"{round(value, places) + 0.0:g}"
