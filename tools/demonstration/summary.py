"""What came out of a run: numbers for machines (schema 1) and the same in words."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tools.demonstration.referee import Score

SCHEMA = 1
"""Raised when a key changes its meaning or goes."""

_OWN_ACTS = ("disarm: ", "stop: ")
_STOPS = ("stopping", "estop")


def stop_reason(event: dict[str, Any]) -> str:
    """Why the daemon stopped the robot by itself: a fault's id; empty if this event tells of no such stop."""
    data = event.get("data") or {}
    cause = str(data.get("cause", ""))
    if event.get("kind") != "mode" or data.get("after") not in _STOPS or cause.startswith(_OWN_ACTS):
        return ""
    return cause.split(":", 1)[0]


@dataclass(slots=True)
class Measured:
    """What a run measured besides the score. Times count from the start of the processes.

    `seconds`, `inferences` and `cpu_s` (of the daemon) count from the first arming. `stops` are reasons,
    `status` is the daemon's last report, `trouble` what went wrong at the end.
    """

    ready_s: float | None = None
    armed_s: float | None = None
    seconds: float = 0.0
    inferences: int = 0
    cpu_s: float = 0.0
    memory_bytes: int = 0
    stops: list[str] = field(default_factory=list)
    status: dict[str, Any] = field(default_factory=dict)
    trouble: list[str] = field(default_factory=list)


def summarize(seed: int, score: Score, measured: Measured, error: str) -> dict[str, Any]:
    """The summary; what is not known is null. `error` is empty when all went well."""
    seconds, status = measured.seconds, measured.status
    tick, policy = status.get("tick", {}), status.get("policy", {})
    return {
        "schema": SCHEMA,
        "ok": not error,
        "error": error or None,
        "seed": seed,
        "seconds": round(seconds, 2),
        "start_to_ready_s": _rounded(measured.ready_s),
        "start_to_armed_s": _rounded(measured.armed_s),
        "ticks": tick.get("count"),
        "ticks_late_1ms": tick.get("late_1ms"),
        "ticks_late_5ms": tick.get("late_5ms"),
        "ticks_missed": tick.get("missed"),
        "tick_late_p50_ms": tick.get("late_p50_ms"),
        "tick_late_p99_ms": tick.get("late_p99_ms"),
        "commands": status.get("commands", {}).get("sent"),
        "observation_to_command_p50_ms": policy.get("age_p50_ms"),
        "observation_to_command_p99_ms": policy.get("age_p99_ms"),
        "inferences": measured.inferences,
        "inferences_per_s": round(measured.inferences / seconds, 2) if seconds else None,
        "model_p50_ms": policy.get("latency_p50_ms"),
        "model_p99_ms": policy.get("latency_p99_ms"),
        "worlds": score.worlds,
        "episodes": score.outcomes.total(),
        "successes": score.successes,
        "collisions": score.collisions,
        "outcomes": dict(score.outcomes),
        "stops": [{"reason": why, "count": count} for why, count in Counter(measured.stops).most_common()],
        "daemon_memory_mb": round(measured.memory_bytes / 1e6, 1) if measured.memory_bytes else None,
        "daemon_cpu_share": round(measured.cpu_s / seconds, 3) if seconds else None,
    }


def in_words(summary: dict[str, Any]) -> list[str]:
    """The summary for people, a line each."""
    outcomes = ", ".join(f"{name} {count}" for name, count in summary["outcomes"].items()) or "none finished"
    stops = ", ".join(f"{stop['reason']} {stop['count']}" for stop in summary["stops"]) or "none"
    rows = {
        "start": f"{_shown(summary['start_to_ready_s'])} s to ready, "
        f"{_shown(summary['start_to_armed_s'])} s to armed; then {summary['seconds']:.0f} s",
        "episodes": f"{summary['episodes']} in {summary['worlds']} worlds: {outcomes}",
        "stops": stops,
        "ticks": f"{_shown(summary['ticks'])}; late by more than 1 ms {_shown(summary['ticks_late_1ms'])}, "
        f"5 ms {_shown(summary['ticks_late_5ms'])}; missed {_shown(summary['ticks_missed'])}; "
        f"p50 {_shown(summary['tick_late_p50_ms'])} ms, p99 {_shown(summary['tick_late_p99_ms'])} ms",
        "commands": f"{_shown(summary['commands'])}; frame to command "
        f"p50 {_shown(summary['observation_to_command_p50_ms'])} ms, "
        f"p99 {_shown(summary['observation_to_command_p99_ms'])} ms",
        "policy": f"{_shown(summary['inferences_per_s'])} inferences/s; "
        f"model p50 {_shown(summary['model_p50_ms'])} ms, p99 {_shown(summary['model_p99_ms'])} ms",
        "daemon": f"{_shown(summary['daemon_memory_mb'])} MB, "
        f"{_shown(summary['daemon_cpu_share'])} of one core",
    }
    return [f"{name:<9} {text}" for name, text in rows.items()]


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def _shown(value: Any) -> str:
    return "-" if value is None else str(value)
