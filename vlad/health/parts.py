"""The components of the daemon: its tick, its parts, what it stores, the policy and every signal."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf, isnan, nan
from typing import TYPE_CHECKING

from vlad.clock import NS_PER_S
from vlad.health.figures import Figures, MaintenanceFigures, PartFigures, PolicyFigures, SignalFigures
from vlad.health.reading import Growth, Reading, Readings

if TYPE_CHECKING:
    from vlad.config import SignalSettings

_SHORT_S, _MINUTE_S, _LONG_S = 10.0, 60.0, 600.0
_EVENTS = ("instruction", "task_result")
_MISSED, _LATE = (0.001, 0.01, 0.05), (0.01, 0.05, 0.2)
_RESTARTS, _DROPPED = (0.5, 2.0, 5.0), (0.5, 10.0, 100.0)
_WRONG = (0.5, 0.75, 1.0)
"""For what is 1 when it is wrong: no score left, DANGER."""
_LOST = (0.5, 0.75, 2.0)
"""For what was lost, and goes on as it should: WARNING."""
_LATE_INFERENCES = (0.05, 0.2, 0.5)
_TOO_FEW, _GAPS, _REFUSED = (0.2, 0.5, 0.9), (0.02, 0.1, 0.3), (0.01, 0.1, 0.5)
_STALE = (1.0, 2.0, 5.0)
"""Times its `max_age_s`."""
_SILENT_S = (3.0, 5.0, 10.0)
_PERIODS = 10
"""The rate of a slow signal is that of so many of its periods."""
_OPTIONAL = (0.5, 1.5)
"""A signal that is not required, and gone: half a score, CAUTION."""
_REALTIME = "Look for other load on this computer; vladctl doctor checks the real-time settings."
_DRIVER = "Is its driver running? Look at its log, at the cable and at the network."


class DaemonParts:
    """Turns counters since the start into what happened lately."""

    def __init__(self) -> None:
        self._growths: dict[tuple[str, str], Growth] = {}

    def readings(self, figures: Figures, now_ns: int) -> Readings:
        """As of the figures, which may be old by now."""
        return {
            "tick": (*self._tick(figures), _silence(figures, now_ns)),
            "storage": tuple(self._storage(figures)),
            "maintenance": _maintenance(figures.maintenance),
            **{f"part {name}": tuple(self._part(name, part, figures))
               for name, part in figures.parts.items()},
            **({"policy": tuple(self._policy(figures.policy, figures))} if figures.policy else {}),
            **{f"signal {topic}": tuple(self._signal(topic, figures)) for topic in figures.signals},
        }  # fmt: skip

    def _grown(self, component: str, name: str, window_s: float, now_ns: int, count: int) -> int:
        return self._growth(component, name, window_s).add(now_ns, count)

    def _growth(self, component: str, name: str, window_s: float) -> Growth:
        return self._growths.setdefault((component, name), Growth(window_s))

    def _tick(self, figures: Figures) -> Iterator[Reading]:
        tick, now_ns = figures.tick, figures.stamp_ns
        count = self._grown("tick", "count", _MINUTE_S, now_ns, tick.count)
        missed = self._grown("tick", "missed", _MINUTE_S, now_ns, tick.missed)
        late = self._grown("tick", "late", _MINUTE_S, now_ns, tick.late_5ms)
        yield Reading(
            "missed", _part(missed, count + missed), _told(missed, "missed in a minute"), _MISSED, _REALTIME
        )
        yield Reading("late", _part(late, count), _told(late, "late by 5 ms in a minute"), _LATE, _REALTIME)

    def _storage(self, figures: Figures) -> Iterator[Reading]:
        action = "Is the disk with the state folder full, slow or read-only? Free space, or mend it."
        dropped = self._grown("storage", "dropped", _MINUTE_S, figures.stamp_ns, figures.events_dropped)
        problem = figures.storage_problem
        yield Reading("stored", float(bool(problem)), problem, _WRONG, action)
        lost = figures.storage_lost
        mend = (
            "Is the disk sound (smartctl)? Keep the corrupt file if you miss what is in it, else remove it."
        )
        yield Reading("lost", float(bool(lost)), lost, _LOST, mend)
        yield Reading("dropped", dropped, _told(dropped, "events dropped in a minute"), _DROPPED, action)

    def _part(self, name: str, part: PartFigures, figures: Figures) -> Iterator[Reading]:
        action = "See its error in vladctl status; journalctl -u vlad has all of it."
        restarts = self._grown(f"part {name}", "restarts", _LONG_S, figures.stamp_ns, part.restarts)
        error = f": {part.error}" if part.error and part.state != "running" else ""
        failed = float(part.state in ("failed", "restarting"))
        yield Reading("failed", failed, f"{part.state}{error}", _WRONG, action)
        yield Reading("restarts", restarts, _told(restarts, "restarts in 10 minutes"), _RESTARTS, action)

    def _policy(self, policy: PolicyFigures, figures: Figures) -> Iterator[Reading]:
        action = "Use a faster backend or precision, a GPU or more policy.threads; look for other load."
        growth = self._growth("policy", "inferences", _SHORT_S)
        rate_hz = growth.rate_hz(figures.stamp_ns, policy.inferences)
        mend = "See its error in vladctl status; is its server running?"
        yield Reading("lost", float(bool(policy.lost)), policy.lost, _WRONG, mend)
        yield Reading(
            "late",
            policy.late,
            f"{policy.late:.0%} of inferences late" if policy.late else "",
            _LATE_INFERENCES,
            action,
        )
        yield Reading("rate", rate_hz, f"{rate_hz:.1f} inferences/s")

    def _signal(self, topic: str, figures: Figures) -> Iterator[Reading]:
        """An event comes when it comes; all others must be young, and come as often as they should."""
        known, counts, now_ns = figures.settings[topic], figures.signals[topic], figures.stamp_ns
        name = f"signal {topic}"
        window_s = max(_SHORT_S, _PERIODS / known.rate_hz) if known.rate_hz else _SHORT_S
        rate_hz = self._growth(name, "received", window_s).rate_hz(now_ns, counts.received)
        gaps = self._grown(name, "gaps", _SHORT_S, now_ns, counts.gaps)
        received = self._grown(name, "lately", _SHORT_S, now_ns, counts.received)
        refused = self._grown(name, "refused", _SHORT_S, now_ns, counts.refused)
        if known.type not in _EVENTS:
            yield _age(known, counts)
        if known.rate_hz and not isnan(counts.age_s):
            scale = _TOO_FEW if known.required else _OPTIONAL
            missing = 1 - rate_hz / known.rate_hz
            text = f"{rate_hz:.1f} of {known.rate_hz:g} Hz"
            yield Reading("too few", 0.0 if missing < 0 else missing, text, scale, _DRIVER)
        if not counts.received and not counts.refused:
            return
        mend = "Look for load on the network and on this computer."
        yield Reading("gaps", _part(gaps, received + gaps), _told(gaps, "messages lost"), _GAPS, mend)
        mend = "Mend its driver, or the settings of this signal; vladctl status has the reasons."
        yield Reading(
            "refused", _part(refused, received + refused), _told(refused, "refused"), _REFUSED, mend
        )


def _silence(figures: Figures, now_ns: int) -> Reading:
    """For how long the loop has told nothing: it is held up."""
    silent_s = max(0, now_ns - figures.stamp_ns) / NS_PER_S
    text = f"the loop is silent for {silent_s:.0f} s" if silent_s >= _SILENT_S[0] else ""
    return Reading("silent", silent_s, text, _SILENT_S, _REALTIME)


def _maintenance(maintenance: MaintenanceFigures) -> tuple[Reading, ...]:
    """What failed and matters, until it was done again."""
    action = "vladctl maintenance show NAME has what went wrong; then vladctl maintenance run NAME."
    return (Reading("failed", maintenance.worst, maintenance.text, _WRONG, action),)


def _age(known: SignalSettings, counts: SignalFigures) -> Reading:
    """Of a signal that is not required nothing is said before it came."""
    text = "never came" if isnan(counts.age_s) else f"{counts.age_s:.2f} s old"
    times = counts.age_s / known.max_age_s
    if known.required:
        return Reading("stale", inf if isnan(times) else times, text, _STALE, _DRIVER)
    return Reading("stale", nan if isnan(times) else float(times > 1), text, _OPTIONAL, _DRIVER)


def _told(count: int, what: str) -> str:
    """Nothing is not worth a word."""
    return f"{count} {what}" if count else ""


def _part(some: int, of_all: int) -> float:
    """0 to 1; 0 of nothing is 0."""
    return some / of_all if of_all else 0.0
