"""The answer to the control method `metrics`: everything that is counted or measured, as of now.

Gathered on the loop, so it is references and plain numbers only; what can be worked out of them is left to
`dashboard/metrics.py`, in a process of its own.
"""

from __future__ import annotations

import os
import resource
import threading
from collections import Counter
from collections.abc import Iterator
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import vlad
from vlad.clock import NS_PER_S
from vlad.messages import Battery, Level, Power
from vlad.record.store import together
from vlad.safety.ladder import ARMED
from vlad.statistics import Histogram

if TYPE_CHECKING:
    from vlad.daemon import Daemon

_EVENTS = ("instruction", "task_result")
_STATM = Path("/proc/self/statm")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")

Row = dict[str, Any]


def metrics_report(daemon: Daemon) -> Row:
    """On the loop's thread. What is not known is null; times are seconds but for the histograms'."""
    now_ns = daemon.clock.now_ns()
    guard = daemon.guard.newest()
    return {
        "robot": daemon.robot.name,
        "type": daemon.robot.type,
        "version": vlad.__version__,
        "uptime_s": _since(daemon.started_ns, now_ns),
        **_safety(daemon),
        "tick": _tick(daemon),
        "signals": {topic: _signal(daemon, topic, now_ns) for topic in daemon.ingest.latest},
        "unknown_topics": dict(daemon.ingest.unknown),
        "watts": dict(_drawn(daemon, now_ns)),
        "batteries": dict(_charged(daemon)),
        "policy": _policy(daemon, now_ns),
        "parts": {
            part.name: {"running": part.state == "running", "restarts": part.restarts}
            for part in daemon.parts
        },
        "health": _health(daemon),
        "process": _process(),
        "operation": together(daemon.events.before, daemon.operation.totals()),
        "guard": {"required": daemon.settings.guard.required, "state": guard.state if guard else None},
        "storage": _storage(daemon),
    }


def _since(stamp_ns: int, now_ns: int) -> float:
    return (now_ns - stamp_ns) / NS_PER_S


def _histogram(values: Histogram) -> Row:
    return {"bounds_ns": values.bounds, "counts": values.counts, "sum_ns": values.sum}


def _safety(daemon: Daemon) -> Row:
    verdict, metrics = daemon.watchdog.verdict, daemon.metrics
    return {
        "mode": daemon.kernel.mode.value,
        "armed": daemon.kernel.mode in ARMED,
        "level": verdict.level.value if verdict else 0,
        "estop": bool(verdict and verdict.estop_reason is not None),
        "faults": dict(Counter(fault.fault.id for fault in verdict.faults)) if verdict else {},
        "raised": dict(daemon.journal.raised),
        "stops": metrics.stops,
        "modes": {mode.value: count for mode, count in metrics.changes.items()},
        "commands": {mode.value: count for mode, count in metrics.commands.items()},
        "motor_drivers": daemon.watchdog.writer.listeners,
    }


def _tick(daemon: Daemon) -> Row:
    counts = daemon.watchdog.counts
    return {
        "hz": daemon.settings.realtime.tick_hz,
        "count": counts.count,
        "early": counts.early,
        "missed": counts.missed,
        "lateness": _histogram(daemon.metrics.lateness_ns),
    }


def _signal(daemon: Daemon, topic: str, now_ns: int) -> Row:
    slot, counter, known = daemon.ingest.latest[topic], daemon.ingest.counters[topic], daemon.settings.signals
    sample, used = slot.peek(), daemon.inference is not None and topic in daemon.inference.policy.topics
    return {
        "required": known[topic].required,
        "max_age_s": None if known[topic].type in _EVENTS else known[topic].max_age_s,
        "age_s": None if sample is None else _since(sample.stamp_ns, now_ns),
        "rate_hz": counter.rate_hz(now_ns),
        "received": counter.received,
        "refused": dict(counter.bad),
        "gaps": counter.gaps,
        "dropped": slot.dropped if used else 0,
    }


def _drawn(daemon: Daemon, now_ns: int) -> Iterator[tuple[str, float]]:
    """What signals say of the power that the robot draws [W], unless they are stale."""
    for topic, slot in daemon.ingest.latest.items():
        sample = slot.peek()
        if sample is None or _since(sample.stamp_ns, now_ns) > daemon.settings.signals[topic].max_age_s:
            continue
        match sample.data:
            case Power(watts) if isfinite(watts):
                yield topic, watts
            case Battery(voltage=volts, current=amperes) if isfinite(volts * amperes):
                yield topic, -volts * amperes


def _charged(daemon: Daemon) -> Iterator[tuple[str, float]]:
    """How full each battery is, 0 to 1, as it last said."""
    for topic, slot in daemon.ingest.latest.items():
        sample = slot.peek()
        match sample.data if sample is not None else None:
            case Battery(percentage=part) if isfinite(part):
                yield topic, part


def _policy(daemon: Daemon, now_ns: int) -> Row:
    loop, metrics = daemon.inference, daemon.metrics
    return {
        "name": loop.policy.bundle.manifest.name if loop else None,
        "version": loop.policy.bundle.manifest.version if loop else None,
        "lost": bool(daemon.policy_error or (loop and loop.lost)),
        "fallback": bool(daemon.seat.instead),
        "bad_observations": loop.bad_observations if loop else 0,
        "inference": _histogram(metrics.inference_ns),
        "age": _histogram(metrics.age_ns),
        "actions": metrics.actions,
        **metrics.pace.report(now_ns),
    }


def _health(daemon: Daemon) -> Row:
    report = daemon.health.report()
    return {
        "score": report["score"],
        "age_s": report["age_s"],
        "components": {
            name: {"score": row["score"], "level": Level[row["level"]].value, "readings": row["readings"]}
            for name, row in report["components"].items()
        },
        "alerts": [(alert["component"], alert["level"]) for alert in report["alerts"]],
    }


def _process() -> Row:
    """This process, as the kernel accounts for it."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "resident_bytes": int(_STATM.read_bytes().split()[1]) * _PAGE_BYTES,
        "threads": threading.active_count(),
        "descriptors": len(os.listdir("/proc/self/fd")) - 1,
    }


def _storage(daemon: Daemon) -> Row:
    record = daemon.blackbox.report()
    return {
        "events_dropped": daemon.events.dropped,
        "feed_dropped": daemon.feed.dropped,
        "problems": {
            "events": bool(daemon.events.problem),
            "estop": bool(daemon.latch.problem),
            "record": bool(daemon.blackbox.problem),
            "maintenance": bool(daemon.maintenance.memory.problem),
        },
        "recording": record["state"] == "recording",
        "recordings": record["finished"],
        "record_dropped": record["dropped"],
        "pictures_dropped": record["pictures_dropped"],
    }
