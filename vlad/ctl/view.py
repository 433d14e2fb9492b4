"""The daemon's status as a picture made of text; for `status`, `top` and whoever shows it elsewhere.

Whatever key an older or newer daemon does not send shows as a dash.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from vlad.ctl.health_view import health_line
from vlad.ctl.output import clean
from vlad.ctl.stand_ins import stand_ins
from vlad.health.words import duration

_LEVEL_STYLES = {
    "SAFE": "green",
    "CAUTION": "cyan",
    "WARNING": "yellow",
    "DANGER": "bold red",
    "EMERGENCY": "bold white on red",
}
_MODE_STYLES = {
    "active": "bold green",
    "degraded": "bold yellow",
    "stopping": "bold yellow",
    "stopped": "bold yellow",
    "estop": "bold white on red",
}
_MOST_VALUES = 8
_GUARD_SILENT_S = 0.15

Row = Mapping[str, Any]


def status_view(status: Row, live: Sequence[RenderableType] = ()) -> RenderableType:
    """All of a status report, and in the midst of it what else is to be seen where it is live."""
    parts: list[RenderableType] = [_headline(status)]
    if status.get("faults"):
        parts += [_heading("faults"), fault_view(status["faults"])]
    if reasons := _only_refusals(status):
        parts += [_heading("cannot be armed, because"), fault_view(reasons)]
    parts += live
    if signals := status.get("signals"):
        parts += [_heading("signals"), signal_view(signals)]
    if unknown := status.get("unknown_topics"):
        parts.append(Text(f"dropped from unknown topics: {_counts(unknown)}", style="yellow"))
    reload = {**(status.get("reload") or {}), "applied": ()}
    if any(reload.values()):
        parts += [_heading("settings"), settings_view(reload)]
    parts += [Text(), _facts(status)]
    return Group(*parts)


def settings_view(reload: Row) -> RenderableType:
    """What became of settings that were read again."""
    parts = [Text("  refused, the old ones hold:", style="red")] if reload.get("problems") else []
    parts += [Text(f"    {clean(problem)}") for problem in reload.get("problems", ())]
    for key, what, style in (
        ("applied", "applied", "green"),
        ("waiting", "once the robot is disarmed, nothing is latched, and they are read again", "yellow"),
        ("restart", "after a restart", "yellow"),
    ):
        if names := reload.get(key):
            parts.append(Text(f"  {what}: ", style=style).append(clean(", ".join(names)), style="default"))
    return Group(*parts)


def level_style(level: str) -> str:
    return _LEVEL_STYLES.get(level.upper(), "")


def fault_view(faults: Iterable[Row]) -> Table:
    """A fault to a paragraph: how bad, what, where, what the robot does about it, and how to mend it.

    A hint that holds for several in a row stands below the last of them.
    """
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    rows = list(faults)
    hints = [fault.get("hint") for fault in rows]
    for fault, following in zip(rows, [*hints[1:], None], strict=True):
        level = str(fault.get("level", ""))
        what = _fault(fault)
        if fault.get("hint") and fault["hint"] != following:
            what.append(f"\n{clean(fault['hint'])}", style="not bold italic")
        table.add_row(Text(f"  {clean(level)}", style=level_style(level)), what)
    return table


def _fault(fault: Row) -> Text:
    what = Text(" ".join(filter(None, (clean(fault.get("id", "")), clean(fault.get("subject", ""))))), "bold")
    if fault.get("detail"):
        what.append(f"  {clean(fault['detail'])}", style="not bold")
    aside = f"  ({clean(fault.get('reaction', '-'))}, for {_time(fault.get('since_s'))})"
    return what.append(aside, style="not bold dim")


def signal_view(signals: Mapping[str, Row]) -> RenderableType:
    """A line for each signal; below it what was dropped as bad. Narrow: names fold, numbers never do."""
    table = Table.grid(padding=(0, 2))
    for name in ("  signal", "type"):
        table.add_column(name, overflow="fold")
    for name in ("age", "rate", "received", "dropped", "bad"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_row(*(Text(str(column.header), style="dim") for column in table.columns))
    for topic, signal in signals.items():
        table.add_row(*_signal(topic, signal))
    bad = [
        Text(f"  {clean(topic)} bad: {_counts(signal['bad'])}", style="yellow")
        for topic, signal in signals.items()
        if signal.get("bad")
    ]
    return Group(table, *bad)


def _signal(topic: str, signal: Row) -> list[Text]:
    age_s, rate_hz, required = signal.get("age_s"), signal.get("rate_hz"), signal.get("required")
    alarm = "red" if age_s is None and required else ""
    bad = sum((signal.get("bad") or {}).values())
    name = Text(f"  {clean(topic)}", alarm).append("" if required else " (optional)", style="dim")
    if (source := signal.get("source") or topic) != topic:
        name.append(f" <- {clean(source)}", style="yellow")
    if signal.get("frozen"):
        name.append(" frozen", style="yellow")
    return [
        name,
        Text(clean(signal.get("type", "-"))),
        Text("never" if age_s is None else _time(age_s), alarm),
        Text("-" if rate_hz is None else f"{rate_hz:.1f} Hz"),
        Text(_count(signal.get("received"))),
        Text(_count(signal.get("dropped"))),
        Text(_count(bad), "yellow" if bad else ""),
    ]


def summary_line(status: Row) -> str:
    """The status on one line, for a log."""
    tick, policy = status.get("tick") or {}, status.get("policy") or {}
    seen = Counter(clean(fault.get("id", "")) for fault in status.get("faults") or ())
    faults = " ".join(name if count == 1 else f"{count}x{name}" for name, count in seen.items()) or "none"
    return (
        f"{_time(status.get('uptime_s'))} {clean(status.get('mode', '-'))} {clean(status.get('level', '-'))}"
        f" | faults {faults} | late p99 {_ms(tick.get('late_p99_ms'))}, missed {_count(tick.get('missed'))}"
        f" | {_rate(policy.get('rate_hz'))}, age p50 {_ms(policy.get('age_p50_ms'))}"
        f" | {_command(status.get('commands') or {})}"
    )


def _headline(status: Row) -> RenderableType:
    mode, level = str(status.get("mode", "-")), str(status.get("level", "-"))
    robot, estop = status.get("robot") or {}, status.get("estop") or {}
    text = Text(f"{clean(robot.get('name', 'robot'))} ", style="bold")
    text.append(f" {clean(mode).upper()} ", style=_MODE_STYLES.get(mode, "bold reverse"))
    text.append(" ").append(f" {clean(level)} ", style=level_style(level))
    about = f"  vlad {clean(status.get('version', '-'))}, pid {status.get('pid', '-')}"
    text.append(f"{about}, up {_time(status.get('uptime_s'))}", style="dim")
    if estop.get("latched"):
        text.append(f"\ne-stop: {clean(estop.get('reason') or 'latched')}; vladctl reset", style="bold red")
    text.append("\ntask: ", style="dim").append(clean(status.get("task") or "none"))
    return text


def _only_refusals(status: Row) -> Sequence[Row]:
    """Why it cannot be armed, beyond the faults that are shown anyway."""
    shown = {(fault.get("id"), fault.get("subject")) for fault in status.get("faults") or ()}
    return [row for row in status.get("refusals") or () if (row.get("id"), row.get("subject")) not in shown]


def _facts(status: Row) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("policy", _policy(status.get("policy") or {}))
    table.add_row("tick", _tick(status.get("tick") or {}))
    table.add_row("command", _command(status.get("commands") or {}))
    table.add_row("parts", _parts(status.get("parts") or {}))
    if guard := status.get("guard"):
        table.add_row("guard", _guard(guard))
    if computer := status.get("computer"):
        table.add_row("computer", _computer(computer))
    if health := status.get("health"):
        table.add_row("health", health_line(health))
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


def _policy(policy: Row) -> Text:
    if not policy.get("bundle"):
        return Text(clean(policy.get("error") or "none: the robot only holds"), style="yellow")
    state = clean(policy.get("state", "-"))
    text = Text(f"{clean(policy['bundle'])} {clean(policy.get('version') or '-')} {state}: ")
    text.append(f"{_rate(policy.get('rate_hz'))}, {_count(policy.get('inferences'))} so far")
    text.append(f"; inference {_pair(policy, 'latency')}; observation to command {_pair(policy, 'age')}")
    if policy.get("device"):
        text.append(f"; on {clean(policy['device'])}")
    if policy.get("collision") is not None:
        text.append(f"; collision {policy['collision']:.0%}")
    if doubts := policy.get("doubts"):
        text.append(f"\n{_doubts(doubts)}{'' if policy.get('calibrated') else '; not calibrated'}")
    for line in stand_ins(policy):
        text.append(f"\n{line}", style="cyan")
    if policy.get("advice"):
        text.append(f"\n{clean(policy['advice'])}", style="yellow")
    if policy.get("error"):
        text.append(f"\n{clean(policy['error'])}", style="red")
    return text


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
        f"{tick.get('hz', '-')} Hz, {_count(tick.get('count'))} and {_count(tick.get('early'))} early; "
    )
    text.append(f"late {_pair(tick, 'late')}, over 1 ms {_count(tick.get('late_1ms'))}, ")
    text.append(f"over 5 ms {_count(tick.get('late_5ms'))}, ")
    return text.append(f"missed {_count(tick.get('missed'))}", style="yellow" if missed else "")


def _command(command: Row) -> Text:
    names, values = command.get("names") or (), command.get("values") or ()
    pairs = [
        f"{clean(name)} {value:+.3f}" for name, value in zip(names, values, strict=False) if value is not None
    ]
    more = f", and {len(pairs) - _MOST_VALUES} more" if len(pairs) > _MOST_VALUES else ""
    head = f"{clean(command.get('mode') or '-')} {clean(command.get('kind') or '')}".rstrip()
    said = f": {', '.join(pairs[:_MOST_VALUES])}{more}" if pairs else ""
    text = Text(f"{head}{said} ({_count(command.get('sent'))} sent")
    listeners = command.get("listeners")
    if listeners is not None:
        drivers = f", {listeners} motor driver{'' if listeners == 1 else 's'}"
        text.append(drivers, style="" if listeners else "yellow")
    return text.append(")")


def _guard(guard: Row) -> Text:
    """What it does, and why; or for how long it has said nothing."""
    age_s = guard.get("age_s")
    if age_s is None or age_s > _GUARD_SILENT_S:
        said = "was never heard" if age_s is None else f"silent for {_time(age_s)}"
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


def _heading(text: str) -> Text:
    return Text(f"\n{text}", style="bold underline")


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{clean(reason)} {_count(count)}" for reason, count in counts.items() if count)


def _count(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _rate(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}/s"


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} ms"


def _pair(row: Row, name: str) -> str:
    p50, p99 = row.get(f"{name}_p50_ms"), row.get(f"{name}_p99_ms")
    return f"p50 {_ms(p50)}, p99 {_ms(p99)}"


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    if seconds < 1:
        return f"{seconds * 1_000:.0f} ms"
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7_200 else f"{seconds / 3_600:.1f} h"
