"""Maintenance as text: what runs, else what went wrong last, and what is next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.text import Text

from vlad.ctl.output import clean
from vlad.ctl.times import local

Row = Mapping[str, Any]

VERDICT_STYLES = {"ok": "green", "warning": "yellow", "failed": "bold red"}
_LONGEST = 160


def maintenance_text(maintenance: Row) -> Text:
    """All that counts of the status' part."""
    tasks: Mapping[str, Row] = maintenance.get("tasks") or {}
    ordered: Sequence[str] = maintenance.get("ordered") or ()
    lines = []
    if running := maintenance.get("running"):
        lines.append(running_text(running))
    elif bad := _worst(tasks):
        lines.append(_bad(bad[0], tasks[bad[0]], len(bad) - 1))
    if ordered:
        lines.append(waiting_text(ordered, tasks))
    lines.append(_next(tasks))
    if problem := maintenance.get("problem"):
        lines.append(Text(clean(problem), "red"))
    return Text("\n").join(lines)


def running_text(running: Row) -> Text:
    """What runs now, and how far it is."""
    progress = running.get("progress")
    far = "" if progress is None else f": {progress:.0%}"
    return Text(f"{clean(running.get('name', '-'))} runs{far} {clean(running.get('text') or '')}".rstrip())


def waiting_text(ordered: Sequence[str], tasks: Mapping[str, Row]) -> Text:
    """What was ordered by hand and does not run yet, and what for it waits where that can be long."""
    held = any((tasks.get(name) or {}).get("only_disarmed") for name in ordered)
    until = "; only while the robot is disarmed" if held else ""
    return Text(f"waiting: {', '.join(map(clean, ordered))}{until}", "yellow" if held else "")


def _worst(tasks: Mapping[str, Row]) -> list[str]:
    """The tasks that did not end well; those that failed come first, of the same the newest."""

    def order(name: str) -> tuple[bool, int]:
        return tasks[name].get("verdict") != "failed", -(tasks[name].get("ended_wall_ns") or 0)

    bad = (name for name, task in tasks.items() if (task or {}).get("verdict") in ("warning", "failed"))
    return sorted(bad, key=order)


def _bad(name: str, task: Row, others: int) -> Text:
    verdict, failures = task["verdict"], task.get("failures") or 0
    again = f", {failures} times in a row" if failures > 1 else ""
    more = f"; {others} more: vladctl maintenance list" if others else ""
    summary = Text(f": {clean(task.get('summary') or '-')}")
    summary.truncate(_LONGEST, overflow="ellipsis")
    text = Text(f"{clean(name)} {clean(verdict)}", VERDICT_STYLES[verdict])
    text.append(f" {local(task.get('ended_wall_ns'))}{again}", "default")
    text.append_text(summary)
    return text.append(f"; vladctl maintenance show {clean(name)}{more}", "default")


def _next(tasks: Mapping[str, Row]) -> Text:
    due = [(due_ns, name) for name, task in tasks.items() if (due_ns := (task or {}).get("due_wall_ns"))]
    if not due:
        return Text("nothing is due by itself")
    due_ns, name = min(due)
    return Text(f"next {clean(name)} {local(due_ns)}")
