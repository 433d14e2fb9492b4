"""The running daemon: what it says of itself, and whether its signals arrive."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import vlad
from vlad.config import Settings
from vlad.ctl.client import Client, ControlError
from vlad.ctl.doctor.finding import Finding, State

_SOCKETS = ("sensors.sock", "commands.sock")
_GUARD_SILENT_S = 0.15
_UNMEASURED_S = 10.0
_TOLD_ANYWAY = ("signal ", "part ", "tick")
EVENT_TYPES = ("instruction", "task_result")

Row = Mapping[str, Any]


def ask_daemon(run_dir: Path) -> Row | Finding:
    """Its status, or why there is none."""
    try:
        with Client(run_dir) as client:
            status: Row = client.call("status")
    except ControlError as error:
        state: State = "warning" if error.code == "not_running" else "problem"
        return Finding(state, "daemon", error.message, error.hint)
    return status


def check_daemon(run_dir: Path, status: Row, settings: Settings | None) -> Iterator[Finding]:
    about = f"vlad {status['version']}, pid {status['pid']}, {status['mode']}, {status['level']}"
    yield Finding("ok", "daemon", f"runs under {run_dir}: {about}")
    if status["version"] != vlad.__version__:
        what = f"vladctl is {vlad.__version__}, the daemon {status['version']}"
        yield Finding("warning", "daemon", what, "systemctl restart vlad")
    for name in _SOCKETS:
        if not (run_dir / name).is_socket():
            mend = "somebody removed it; systemctl restart vlad"
            yield Finding("problem", "daemon", f"{run_dir / name}: is missing, drivers cannot connect", mend)
    yield from _guard(status)
    yield from _faults(status)
    yield from _parts(status)
    yield from _record(status)
    yield from _page(status.get("page") or {})
    yield from _signals(status, settings)
    yield from _health(status.get("health") or {})


def _health(health: Row) -> Iterator[Finding]:
    """What was bad for long enough to be an alert, and whether anybody gets to know."""
    age_s = health.get("age_s")
    if age_s is not None and age_s > _UNMEASURED_S:
        mend = "a disk or a driver does not answer; see dmesg"
        yield Finding("problem", "health", f"nothing was measured for {age_s:.0f} s", mend)
    alerts = health.get("alerts") or ()
    for alert in alerts:
        if alert["component"].startswith(_TOLD_ANYWAY):
            continue
        severe = alert["level"] in ("DANGER", "EMERGENCY")
        what = f"{alert['component']}: {alert['text']}"
        yield Finding("problem" if severe else "warning", "health", what, alert["action"])
    for name, outlet in (health.get("outlets") or {}).items():
        if outlet["problem"]:
            mend = f"see health.{name} in the settings; under systemd, what the service may reach"
            yield Finding("warning", "health", f"alerts do not get out: {outlet['problem']}", mend)
    if age_s is not None and not alerts:
        yield Finding("ok", "health", "no alert")


def _record(status: Row) -> Iterator[Finding]:
    """Whether the black box reaches its disk, and keeps up."""
    record = status["record"]
    if record["problem"]:
        mend = "free space there, or make it writable; why a recorder ends is in the log"
        yield Finding("problem", "recordings", record["problem"], mend)
    left_out = record["dropped"] + record["pictures_dropped"] + record["chunks_lost"]
    if left_out:
        what = f"{left_out:,} messages, pictures or chunks were left out: this computer or its disk is slow"
        yield Finding("warning", "recordings", what, "lower record.picture_hz, or raise record.memory_mb")


def _page(page: Row) -> Iterator[Finding]:
    """The web page: where it is, or why it is not."""
    if page.get("problem"):
        yield Finding("warning", "page", page["problem"], "see [page] in the settings")
    elif page.get("address"):
        yield Finding("ok", "page", page["address"])


def _guard(status: Row) -> Iterator[Finding]:
    """A guard that is needed and silent is a fault already; one that has trouble says so itself."""
    guard = status["guard"]
    age_s, reason = guard["age_s"], guard["reason"]
    if age_s is None or age_s > _GUARD_SILENT_S:
        if not guard["required"]:
            what = "it does not run, and guard.required is false: nobody stops the robot if vlad hangs"
            yield Finding("warning", "guard", what, "systemctl start vlad-guard, or vlad-guard --config FILE")
    elif guard["state"] != "watching":
        yield Finding("problem", "guard", f"{guard['state']}: {reason}", "see journalctl -u vlad-guard")
    elif reason:
        yield Finding("warning", "guard", reason, "see journalctl -u vlad-guard")
    else:
        yield Finding("ok", "guard", "runs, and hears vlad")


def _faults(status: Row) -> Iterator[Finding]:
    """Faults, and what else forbids arming."""
    seen = set()
    for row in (*status["faults"], *status["refusals"]):
        if (row["id"], row["subject"]) not in seen:
            seen.add((row["id"], row["subject"]))
            what = f"{row['id']} {row['subject']}: {row['detail']}"
            severe = row["level"] in ("DANGER", "EMERGENCY")
            yield Finding("problem" if severe else "warning", "fault", what, row["hint"])


def _parts(status: Row) -> Iterator[Finding]:
    for name, part in status["parts"].items():
        if part["state"] != "running":
            what = f"{name} is {part['state']}: {part['error']}"
            yield Finding("problem", "daemon", what, "journalctl -u vlad has the whole error")
    for name, state in status["realtime"].items():
        if str(state).startswith("refused"):
            yield Finding("warning", "real time", f"{name} of the running daemon {state}", "see the reason")
    missed = status["tick"]["missed"]
    if missed:
        what = f"{missed:,} of {status['tick']['count']:,} ticks were missed"
        yield Finding("warning", "real time", what, "what else runs on these CPUs? Set realtime.cpus")


def _signals(status: Row, settings: Settings | None) -> Iterator[Finding]:
    """What does not arrive and is not a fault already, and what arrives in a bad state."""
    told = {row["subject"] for row in (*status["faults"], *status["refusals"])}
    arriving = 0
    for topic, signal in status["signals"].items():
        late = _late(topic, signal, settings)
        if late is None:
            arriving += signal["age_s"] is not None
        elif topic not in told:
            yield late
        for reason, count in signal["bad"].items():
            what = f"{topic}: {count:,} of {count + signal['received']:,} messages were dropped, {reason}"
            yield Finding("warning", "signal", what, "mend its driver, or the settings of this signal")
    for reason, count in status["unknown_topics"].items():
        mend = "add [signals.TOPIC] to the settings, or stop that driver"
        yield Finding("warning", "signal", f"unknown topics: {count:,} messages dropped, {reason}", mend)
    yield Finding("ok", "signal", f"{arriving} of {len(status['signals'])} arrive")


def _late(topic: str, signal: Row, settings: Settings | None) -> Finding | None:
    """That a signal never came or is stale, unless it is an event, which comes when it comes."""
    age_s, known = signal["age_s"], settings.signals.get(topic) if settings else None
    if signal["type"] in EVENT_TYPES:
        return None
    if age_s is None:
        if not signal["required"]:
            return None
        mend = f"start its driver; it must publish the topic {topic!r} as {signal['type']}"
        return Finding("problem", "signal", f"{topic}: never arrived", mend)
    if known is None or age_s <= known.max_age_s:
        return None
    what = f"{topic}: {age_s:.2f} s old, at most {known.max_age_s:g} s is allowed"
    mend = "is its driver still running, and its cable in place?"
    return Finding("problem" if signal["required"] else "warning", "signal", what, mend)
