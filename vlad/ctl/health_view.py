"""The health of the computer and the daemon as text: one line for `status`, a table for `health`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from vlad.ctl.output import clean
from vlad.health.words import duration

Row = Mapping[str, Any]

_OLD_S = 10.0
_STYLES = {"CAUTION": "cyan", "WARNING": "yellow", "DANGER": "bold red", "EMERGENCY": "bold white on red"}
_NAMED = 3


def health_line(health: Row) -> Text:
    """How well everything is, and what is not."""
    if (silent := _silence(health)) is not None:
        return silent
    level = str(health.get("level") or "-")
    bad = [clean(name) for name, part in _worst_first(health) if part.get("level") != "SAFE"]
    named = ", ".join(bad[:_NAMED]) + (f" and {len(bad) - _NAMED} more" if len(bad) > _NAMED else "")
    text = Text(_score(health.get("score"))).append(f" {clean(level)}", _STYLES.get(level, ""))
    text.append(f": {named}" if named else "")
    if count := len(health.get("alerts") or ()):
        text.append(f"; {count} alert{'' if count == 1 else 's'}, see vladctl health", style="yellow")
    return text


def health_view(health: Row) -> RenderableType:
    """All of it: the components, the worst first, what to do about them, the alerts, and who is told."""
    parts: list[RenderableType] = [Text("health ", style="bold").append(health_line(health)), Text()]
    parts.append(_table(health))
    if actions := list(_actions(health)):
        parts += [Text("\nwhat to do", style="bold underline"), *actions]
    if alerts := health.get("alerts"):
        parts += [Text("\nalerts", style="bold underline"), *(_alert(alert) for alert in alerts)]
    for name, outlet in (health.get("outlets") or {}).items():
        problem = outlet.get("problem")
        told = f"{outlet.get('delivered', '-')} told, {outlet.get('lost', '-')} lost"
        parts.append(Text(f"\n{clean(name)}: {told}" + (f"; {clean(problem)}" if problem else ""),
                          style="yellow" if problem else "dim"))  # fmt: skip
    return Group(*parts)


def _table(health: Row) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column("  component", overflow="fold")
    for name in ("score", "risk"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("trend", justify="right")
    table.add_column("limit in", justify="right")
    table.add_column("", overflow="fold")
    table.add_row(*(Text(str(column.header), style="dim") for column in table.columns))
    for name, part in _worst_first(health):
        style = _STYLES.get(str(part.get("level")), "")
        left_s = part.get("time_to_limit_s")
        risk = part.get("risk")
        table.add_row(
            Text(f"  {clean(name)}", style),
            Text(_score(part.get("score")), style),
            Text(f"{risk:.0%}" if risk else "-"),
            Text(_trend(part)),
            Text("-" if left_s is None else duration(left_s), "" if left_s is None else "yellow"),
            Text(clean(part.get("text", "-")), style),
        )
    return table


def _actions(health: Row) -> list[Text]:
    return [
        Text(f"  {clean(name)}: ", style="bold").append(clean(part["action"]), style="not bold italic")
        for name, part in _worst_first(health)
        if part.get("action")
    ]


def _alert(alert: Row) -> Text:
    level = str(alert.get("level", "-"))
    text = Text(f"  {clean(level)} ", style=_STYLES.get(level, ""))
    for_s = alert.get("for_s")
    since = "" if for_s is None else f", for {duration(for_s)}"
    return text.append(
        f"{clean(alert.get('component', '-'))}: {clean(alert.get('text', '-'))}{since}", "default"
    )


def _worst_first(health: Row) -> list[tuple[str, Row]]:
    """What is not known comes last."""
    rows: Mapping[str, Row] = health.get("components") or {}

    def order(item: tuple[str, Row]) -> tuple[bool, float, float]:
        score = item[1].get("score")
        return score is None, 0.0 if score is None else score, -(item[1].get("risk") or 0.0)

    return sorted(rows.items(), key=order)


def _silence(health: Row) -> Text | None:
    """That nothing was measured, yet or for long."""
    age_s = health.get("age_s")
    if age_s is None:
        return Text("not measured yet", style="yellow")
    return Text(f"not measured for {duration(age_s)}", style="red") if age_s > _OLD_S else None


def _score(score: float | None) -> str:
    return "-" if score is None else f"{score:.2f}"


def _trend(part: Row) -> str:
    """Per hour, in the unit of the reading."""
    per_h = part.get("trend_per_h")
    if per_h is None:
        return "-"
    return f"{per_h * 100:+.2g} %/h" if part.get("unit") == "part" else f"{per_h:+.2g} {part.get('unit')}/h"
