"""What the daemon tells about itself: one dictionary, which vladctl, the demo and scripts read."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import vlad
from vlad.clock import NS_PER_S
from vlad.computer.measured import highest
from vlad.operation import unclean_ends
from vlad.record.store import together
from vlad.safety.kernel import ActiveFault
from vlad.statistics import Window

if TYPE_CHECKING:
    from vlad.daemon import Daemon

SCHEMA = 1
"""Raised when a key changes its meaning or goes; new keys may come at any time."""

_NS_PER_MS = 1e6


def _percentiles_ms(name: str, window: Window) -> dict[str, float | None]:
    """The median and the 99th percentile, as `NAME_p50_ms` and `NAME_p99_ms`."""
    values = zip(("p50", "p99"), window.percentiles(50, 99), strict=True)
    return {
        f"{name}_{point}_ms": None if value is None else round(value / _NS_PER_MS, 3)
        for point, value in values
    }


def fault_rows(faults: Iterable[ActiveFault], now_ns: int) -> list[dict[str, Any]]:
    """Faults as an operator sees them: what, where, how bad, what was done, and how to mend it."""
    return [
        {
            "id": active.fault.id,
            "subject": active.subject,
            "level": active.fault.level.name,
            "reaction": str(active.fault.reaction),
            "detail": active.detail,
            "hint": active.fault.hint,
            "since_s": round((now_ns - active.since_ns) / NS_PER_S, 3),
        }
        for active in faults
    ]


def status_report(daemon: Daemon) -> dict[str, Any]:
    """How everything is, as of now. Only what JSON can hold: a number that is not finite becomes null."""
    verdict = daemon.watchdog.verdict
    inputs = daemon.watchdog.sample()
    now_ns = daemon.clock.now_ns()
    return {
        "schema": SCHEMA,
        "version": vlad.__version__,
        "pid": os.getpid(),
        "state_dir": str(daemon.settings.paths.state_dir.absolute()),
        "uptime_s": round((now_ns - daemon.started_ns) / NS_PER_S, 1),
        "robot": {
            "name": daemon.robot.name,
            "type": daemon.robot.type,
            "command": daemon.robot.command.value,
            "simulated": daemon.robot.simulated,
        },
        "mode": daemon.kernel.mode.value,
        "level": verdict.level.name if verdict else "SAFE",
        "faults": fault_rows(verdict.faults if verdict else (), now_ns),
        "refusals": fault_rows(daemon.kernel.refusals(inputs), now_ns),
        "estop": {
            "latched": bool(verdict and verdict.estop_reason is not None),
            "reason": verdict.estop_reason if verdict else None,
        },
        "task": daemon.watchdog.task,
        "tick": _tick(daemon),
        "commands": _commands(daemon),
        "signals": _signals(daemon, now_ns),
        "unknown_topics": dict(daemon.ingest.unknown),
        "policy": _policy(daemon),
        "parts": {
            part.name: {
                "state": part.state,
                "critical": part.critical,
                "restarts": part.restarts,
                "error": part.error,
            }
            for part in daemon.parts
        },
        "motion": daemon.motion.report(now_ns),
        "computer": _computer(daemon, now_ns),
        "health": daemon.health.report(),
        "guard": _guard(daemon, now_ns),
        "realtime": daemon.realtime,
        "record": daemon.blackbox.report(),
        "page": daemon.page.report(),
        "maintenance": daemon.maintenance.report(),
        "operation": _operation(daemon),
        "reload": asdict(daemon.reloader.outcome),
        "storage": {
            "events_dropped": daemon.events.dropped,
            "problems": [problem for problem in _storage_problems(daemon) if problem],
        },
    }


def _storage_problems(daemon: Daemon) -> tuple[str, ...]:
    kept = (daemon.events, daemon.latch, daemon.blackbox, daemon.maintenance.memory)
    return tuple([part.problem for part in kept])


def _operation(daemon: Daemon) -> dict[str, float]:
    """What was counted since the first start, as `vlad.operation` names it."""
    totals = together(daemon.events.before, daemon.operation.totals())
    return {name: round(value, 1) for name, value in totals.items()} | {"unclean_ends": unclean_ends(totals)}


def _tick(daemon: Daemon) -> dict[str, Any]:
    counts, late = daemon.watchdog.counts, daemon.watchdog.lateness_ns
    return {
        "hz": daemon.settings.realtime.tick_hz,
        "count": counts.count,
        "early": counts.early,
        "missed": counts.missed,
        "late_1ms": counts.late_1ms,
        "late_5ms": counts.late_5ms,
        **_percentiles_ms("late", late),
    }


def _commands(daemon: Daemon) -> dict[str, Any]:
    verdict = daemon.watchdog.verdict
    return {
        "sent": daemon.watchdog.writer.sent,
        "listeners": daemon.watchdog.writer.listeners,
        "mode": verdict.command_mode.value if verdict else None,
        "kind": daemon.robot.command.value,
        "names": list(verdict.names) if verdict else [],
        "values": [round(float(value), 4) for value in verdict.values] if verdict else [],
    }


def _signals(daemon: Daemon, now_ns: int) -> dict[str, Any]:
    """`dropped` counts the samples of the policy's inputs that no inference used. `source` is what feeds
    the signal now: its own topic, that of a backup, or `estimate`.
    """
    rows = {}
    sources, frozen = daemon.kernel.sources, daemon.kernel.frozen
    used = daemon.inference.policy.topics if daemon.inference else ()
    for topic, known in daemon.settings.signals.items():
        sample = daemon.ingest.latest[topic].peek()
        counter = daemon.ingest.counters[topic]
        rows[topic] = {
            "type": known.type,
            "required": known.required,
            "source": "estimate" if topic in sources.estimates else sources.topics.get(topic, topic),
            "frozen": topic in frozen,
            "age_s": round((now_ns - sample.stamp_ns) / NS_PER_S, 4) if sample else None,
            "rate_hz": round(counter.rate_hz(now_ns), 1),
            "received": counter.received,
            "dropped": daemon.ingest.latest[topic].dropped if topic in used else 0,
            "bad": dict(counter.bad),
        }
    return rows


def _computer(daemon: Daemon, now_ns: int) -> dict[str, float | None]:
    """What is used of this computer, 0 to 1, its hottest sensor [degrees Celsius], and what its board and
    GPUs draw [W]; null: not measured.
    """
    sample = daemon.computer.measured.peek()
    if sample is None:
        return {}
    measured = {
        "cpu": sample.cpu,
        "memory": sample.memory,
        "gpu": highest(gpu.busy for gpu in sample.gpus),
        "gpu_memory": highest(gpu.memory for gpu in sample.gpus),
        "disk": sample.disk,
        "celsius": highest(sample.celsius.values()),
        "watts": sample.watts,
    }
    known = {name: round(value, 3) if math.isfinite(value) else None for name, value in measured.items()}
    return {**known, "age_s": round((now_ns - sample.stamp_ns) / NS_PER_S, 1)}


def _guard(daemon: Daemon, now_ns: int) -> dict[str, Any]:
    """What the guard said last, and when; nulls: it was never heard."""
    heard = daemon.guard.newest()
    return {
        "required": daemon.settings.guard.required,
        "state": heard.state if heard else None,
        "reason": heard.reason if heard else "",
        "age_s": round((now_ns - heard.stamp_ns) / NS_PER_S, 3) if heard else None,
    }


def _fallback(daemon: Daemon) -> dict[str, Any] | None:
    """The policy that stands in, whether it drives, and for whom; null: the settings name none."""
    named = daemon.settings.policy.fallback
    if daemon.seat.fallback is not None:
        return daemon.seat.fallback.report()
    return {"bundle": named, "state": "refused", "error": daemon.fallback_error} if named else None


def _policy(daemon: Daemon) -> dict[str, Any]:
    loop, bundle, age = daemon.inference, daemon.bundle, daemon.watchdog.age_ns
    report: dict[str, Any] = {
        "bundle": bundle.manifest.name if bundle else None,
        "version": bundle.manifest.version if bundle else None,
        "state": "running" if bundle else "refused" if daemon.policy_error else "none",
        "error": daemon.policy_error,
        "activating": daemon.seat.phase,
        "fallback": _fallback(daemon),
        "relief": [step.name.lower() for step in daemon.relief.steps],
        "residents": [
            {"bundle": str(policy.bundle), "memory_mb": policy.memory_mb}
            for policy in daemon.seat.residents.policies
        ],
        **_percentiles_ms("age", age),
        "inferences": 0,
        "rate_hz": None,
        "latency_p50_ms": None,
        "latency_p99_ms": None,
        "collision": None,
        "calibrated": False,
        "doubts": {},
    }
    if loop is not None:
        report |= loop.report()
        report["state"] = "lost" if loop.lost else "running"
        if (risk := report["collision"]) is not None and not math.isfinite(risk):
            report["collision"] = None
    return report
