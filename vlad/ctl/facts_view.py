"""What a status says of each part of the daemon, below faults and signals: a line for each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from vlad.ctl.figures import count, pair, rate, span
from vlad.ctl.health_view import health_line
from vlad.ctl.maintenance_view import maintenance_text
from vlad.ctl.output import clean
from vlad.ctl.stand_ins import stand_ins
from vlad.health.words import duration

_MOST_VALUES = 8
_GUARD_SILENT_S = 0.15

Row = Mapping[str, Any]


def facts_view(status: Row) -> Table:
    """A line or a few of each."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("policy", _policy(status.get("policy") or {}, status.get("signals") or {}))
    table.add_row("tick", _tick(status.get("tick") or {}))
    table.add_row("command", command_text(status.get("commands") or {}))
    table.add_row("parts", _parts(status.get("parts") or {}))
    if guard := status.get("guard"):
        table.add_row("guard", _guard(guard))
    if computer := status.get("computer"):
        table.add_row("computer", _computer(computer))
    if health := status.get("health"):
        table.add_row("health", health_line(health))
    if maintenance := status.get("maintenance"):
        table.add_row("maintenance", maintenance_text(maintenance))
    if operation := status.get("operation"):
        table.add_row("operation", _operation(operation))
    if record := status.get("record"):
        table.add_row("record", _record(record))
    if (page := status.get("page")) and (page.get("on") or page.get("problem")):
        table.add_row("page", _page(page))
    realtime = status.get("realtime") or {}
    text = Text(", ").join(_state(name, state, "applied", "off") for name, state in realtime.items())
    table.add_row("realtime", text)
    return table


def _policy(policy: Row, signals: Mapping[str, Row]) -> Text:
    if not policy.get("bundle"):
        return Text(clean(policy.get("error") or "none: the robot only holds"), style="yellow")
    state = clean(policy.get("state", "-"))
    text = Text(f"{clean(policy['bundle'])} {clean(policy.get('version') or '-')} {state}: ")
    text.append(f"{rate(policy.get('rate_hz'))}, {count(policy.get('inferences'))} so far")
    text.append(f"; inference {pair(policy, 'latency')}; observation to command {pair(policy, 'age')}")
    if policy.get("device"):
        text.append(f"; on {clean(policy['device'])}")
    if policy.get("collision") is not None:
        text.append(f"; collision {policy['collision']:.0%}")
    if doubts := policy.get("doubts"):
        text.append(f"\n{_doubts(doubts)}{'' if policy.get('calibrated') else '; not calibrated'}")
    if remembered := policy.get("remembered"):
        text.append(f"\nknown from before: {', '.join(_times(*row) for row in remembered.items())}")
    if waits_for := policy.get("waits_for"):
        task = any(signals.get(topic, {}).get("type") == "instruction" for topic in waits_for)
        line = f"\nwaits for {', '.join(map(clean, waits_for))}{' (vladctl task TEXT)' if task else ''}"
        text.append(line, style="yellow")
    for line in stand_ins(policy):
        text.append(f"\n{line}", style="cyan")
    if policy.get("advice"):
        text.append(f"\n{clean(policy['advice'])}", style="yellow")
    if policy.get("error"):
        text.append(f"\n{clean(policy['error'])}", style="red")
    return text


def _times(name: str, asked: Mapping[str, int]) -> str:
    hits, misses = asked.get("hits", 0), asked.get("misses", 0)
    return f"{clean(name)} {count(hits)} of {count(hits + misses)}"


def _doubts(doubts: Mapping[str, Row]) -> str:
    """How unsure the newest chunk is, and above which values the robot slows down and stops."""
    said = []
    for measure, doubt in doubts.items():
        value, slow, stop = (doubt.get(key) for key in ("value", "slow", "stop"))
        text = f"{clean(measure)} {'-' if value is None else f'{value:.3g}'}"
        if slow is not None and stop is not None:
            text += f" (slows above {slow:.3g}, stops above {stop:.3g})"
        said.append(text)
    return ", ".join(said)


def _tick(tick: Row) -> Text:
    missed = tick.get("missed") or 0
    text = Text(
        f"{tick.get('hz', '-')} Hz, {count(tick.get('count'))} and {count(tick.get('early'))} early; "
    )
    text.append(f"late {pair(tick, 'late')}, over 1 ms {count(tick.get('late_1ms'))}, ")
    text.append(f"over 5 ms {count(tick.get('late_5ms'))}, ")
    return text.append(f"missed {count(tick.get('missed'))}", style="yellow" if missed else "")


def command_text(command: Row) -> Text:
    """What was sent last, and who listens."""
    names, values = command.get("names") or (), command.get("values") or ()
    pairs = [
        f"{clean(name)} {value:+.3f}" for name, value in zip(names, values, strict=False) if value is not None
    ]
    more = f", and {len(pairs) - _MOST_VALUES} more" if len(pairs) > _MOST_VALUES else ""
    head = f"{clean(command.get('mode') or '-')} {clean(command.get('kind') or '')}".rstrip()
    said = f": {', '.join(pairs[:_MOST_VALUES])}{more}" if pairs else ""
    text = Text(f"{head}{said} ({count(command.get('sent'))} sent")
    listeners = command.get("listeners")
    if listeners is not None:
        drivers = f", {listeners} motor driver{'' if listeners == 1 else 's'}"
        text.append(drivers, style="" if listeners else "yellow")
    return text.append(")")


def _guard(guard: Row) -> Text:
    """What it does, and why; or for how long it has said nothing."""
    age_s = guard.get("age_s")
    if age_s is None or age_s > _GUARD_SILENT_S:
        said = "was never heard" if age_s is None else f"silent for {span(age_s)}"
        return Text(said, "red" if guard.get("required") else "yellow")
    state, reason = clean(guard.get("state", "-")), clean(guard.get("reason") or "")
    return Text(f"{state}: {reason}" if reason else state, "" if state == "watching" else "bold red")


def _computer(computer: Row) -> Text:
    """What is measured of it."""
    parts = (
        ("cpu", "cpu"), ("memory", "memory"), ("gpu", "gpu"), ("gpu_memory", "gpu memory"), ("disk", "disk"),
    )  # fmt: skip
    used = [f"{name} {computer[key]:.0%}" for key, name in parts if computer.get(key) is not None]
    if computer.get("celsius") is not None:
        used.append(f"{computer['celsius']:.0f} degrees")
    if computer.get("watts") is not None:
        used.append(f"{computer['watts']:.0f} W")
    return Text(", ".join(used) or "-")


def _operation(counted: Row) -> Text:
    """What the robot did since the first start."""
    armed_s, done, failed = (counted.get(name) or 0 for name in ("armed_s", "tasks_done", "tasks_failed"))
    told = [f"{duration(counted.get('uptime_s') or 0)}, armed {duration(armed_s)}"]
    if (distance_m := counted.get("distance_m") or 0) >= 1:
        told.append(f"{distance_m:,.0f} m")
    if done + failed:
        told.append(f"{done:,.0f} of {done + failed:,.0f} tasks done")
    told.append(f"{counted.get('interventions') or 0:,.0f} interventions")
    told.append(f"{counted.get('errors') or 0:,.0f} faults from DANGER up")
    return Text(", ".join(told))


def _record(record: Row) -> Text:
    """What the black box writes and why, or what it holds."""
    state = clean(record.get("state", "-"))
    if record.get("problem"):
        return Text(clean(record["problem"]), style="red")
    if record.get("file"):
        return Text(f"{state}: {clean('; '.join(record.get('causes') or ()))}", style="yellow")
    held = (
        f", holds the last {record['held_s']:.0f} s in {record['held_mb']:.0f} MB" if state != "off" else ""
    )
    return Text(f"{state}{held}")


def _page(page: Row) -> Text:
    """Where the web page is, and how many look at it."""
    if page.get("problem"):
        return Text(clean(page["problem"]), style="yellow")
    if not page.get("address"):
        return Text("starting")
    browsers = page.get("browsers") or 0
    return Text(f"{clean(page['address'])}, {browsers} browser{'' if browsers == 1 else 's'}")


def _parts(parts: Mapping[str, Row]) -> Text:
    texts = []
    for name, part in parts.items():
        text = _state(name, part.get("state", "-"), "running")
        if part.get("restarts"):
            text.append(f" ({part['restarts']} restarts; {clean(part.get('error') or '-')})", style="yellow")
        elif part.get("error"):
            text.append(f" ({clean(part['error'])})", style="red")
        texts.append(text)
    return Text(", ").join(texts)


def _state(name: str, state: object, *good: str) -> Text:
    return Text(f"{clean(name)} ").append(clean(state), style="" if state in good else "yellow")
