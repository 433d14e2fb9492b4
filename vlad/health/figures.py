"""The daemon's own figures, gathered on the loop once a second: counters are copied, that is all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import nan
from typing import TYPE_CHECKING

from vlad.clock import NS_PER_S

if TYPE_CHECKING:
    from vlad.config import SignalSettings
    from vlad.daemon import Daemon


@dataclass(frozen=True, slots=True)
class TickFigures:
    """Of the safety tick, since the start."""

    count: int
    missed: int
    late_5ms: int


@dataclass(frozen=True, slots=True)
class PartFigures:
    """Of something that runs for as long as the daemon does."""

    state: str
    restarts: int
    error: str


@dataclass(frozen=True, slots=True)
class SignalFigures:
    """Counts of a signal since the start; `age_s` of its newest sample is NaN if there is none."""

    received: int
    gaps: int
    refused: int
    age_s: float


@dataclass(frozen=True, slots=True)
class PolicyFigures:
    """Of the policy that drives; `late` is the part of its newest inferences that missed their deadline."""

    inferences: int
    late: float
    lost: str


@dataclass(frozen=True, slots=True)
class MaintenanceFigures:
    """`worst`: 0.75 if a task of high priority failed, 1 if a critical one did, else 0; `text` names them."""

    worst: float = 0.0
    text: str = ""


@dataclass(frozen=True, slots=True)
class Figures:
    """All of them, as of `stamp_ns`."""

    stamp_ns: int
    tick: TickFigures
    events_dropped: int
    storage_problem: str
    storage_lost: str
    parts: Mapping[str, PartFigures]
    signals: Mapping[str, SignalFigures]
    settings: Mapping[str, SignalSettings]
    """What each signal should be like, as the safety kernel goes by it now."""
    policy: PolicyFigures | None
    """None: there is none."""
    maintenance: MaintenanceFigures = MaintenanceFigures()


def gather(daemon: Daemon) -> Figures:
    """On the loop's thread."""
    now_ns = daemon.clock.now_ns()
    counts = daemon.watchdog.counts
    return Figures(
        stamp_ns=now_ns,
        tick=TickFigures(counts.count, counts.missed, counts.late_5ms),
        events_dropped=daemon.events.dropped,
        storage_problem=daemon.events.problem
        or daemon.latch.problem
        or daemon.blackbox.problem
        or daemon.maintenance.memory.problem,
        storage_lost=daemon.events.lost,
        parts={part.name: PartFigures(part.state, part.restarts, part.error) for part in daemon.parts},
        signals={topic: _signal(daemon, topic, now_ns) for topic in daemon.ingest.latest},
        settings=daemon.kernel.settings.signals,
        policy=_policy(daemon),
        maintenance=daemon.maintenance.figures(),
    )


def _signal(daemon: Daemon, topic: str, now_ns: int) -> SignalFigures:
    counter, sample = daemon.ingest.counters[topic], daemon.ingest.latest[topic].peek()
    age_s = nan if sample is None else (now_ns - sample.stamp_ns) / NS_PER_S
    return SignalFigures(counter.received, counter.gaps, counter.refused, age_s)


def _policy(daemon: Daemon) -> PolicyFigures | None:
    loop = daemon.inference
    if loop is None:
        return None
    late = loop.latency_ns.above(daemon.settings.policy.deadline_s * NS_PER_S)
    return PolicyFigures(loop.inferences, late, loop.lost)
