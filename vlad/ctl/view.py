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

from vlad.ctl.facts_view import command_text, facts_view
from vlad.ctl.figures import count, counts, milliseconds, rate, span
from vlad.ctl.output import clean

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
        parts.append(Text(f"dropped from unknown topics: {counts(unknown)}", style="yellow"))
    reload = {**(status.get("reload") or {}), "applied": ()}
    if any(reload.values()):
        parts += [_heading("settings"), settings_view(reload)]
    parts += [Text(), facts_view(status)]
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
    aside = f"  ({clean(fault.get('reaction', '-'))}, for {span(fault.get('since_s'))})"
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
        Text(f"  {clean(topic)} bad: {counts(signal['bad'])}", style="yellow")
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
        Text("never" if age_s is None else span(age_s), alarm),
        Text("-" if rate_hz is None else f"{rate_hz:.1f} Hz"),
        Text(count(signal.get("received"))),
        Text(count(signal.get("dropped"))),
        Text(count(bad), "yellow" if bad else ""),
    ]


def summary_line(status: Row) -> str:
    """The status on one line, for a log."""
    tick, policy = status.get("tick") or {}, status.get("policy") or {}
    seen = Counter(clean(fault.get("id", "")) for fault in status.get("faults") or ())
    faults = " ".join(name if times == 1 else f"{times}x{name}" for name, times in seen.items()) or "none"
    return (
        f"{span(status.get('uptime_s'))} {clean(status.get('mode', '-'))} {clean(status.get('level', '-'))}"
        f" | faults {faults}"
        f" | late p99 {milliseconds(tick.get('late_p99_ms'))}, missed {count(tick.get('missed'))}"
        f" | {rate(policy.get('rate_hz'))}, age p50 {milliseconds(policy.get('age_p50_ms'))}"
        f" | {command_text(status.get('commands') or {})}"
    )


def _headline(status: Row) -> RenderableType:
    mode, level = str(status.get("mode", "-")), str(status.get("level", "-"))
    robot, estop = status.get("robot") or {}, status.get("estop") or {}
    text = Text(f"{clean(robot.get('name', 'robot'))} ", style="bold")
    text.append(f" {clean(mode).upper()} ", style=_MODE_STYLES.get(mode, "bold reverse"))
    text.append(" ").append(f" {clean(level)} ", style=level_style(level))
    about = f"  vlad {clean(status.get('version', '-'))}, pid {status.get('pid', '-')}"
    text.append(f"{about}, up {span(status.get('uptime_s'))}", style="dim")
    if estop.get("latched"):
        text.append(f"\ne-stop: {clean(estop.get('reason') or 'latched')}; vladctl reset", style="bold red")
    text.append("\ntask: ", style="dim").append(clean(status.get("task") or "none"))
    return text


def _only_refusals(status: Row) -> Sequence[Row]:
    """Why it cannot be armed, beyond the faults that are shown anyway."""
    shown = {(fault.get("id"), fault.get("subject")) for fault in status.get("faults") or ()}
    return [row for row in status.get("refusals") or () if (row.get("id"), row.get("subject")) not in shown]


def _heading(text: str) -> Text:
    return Text(f"\n{text}", style="bold underline")
