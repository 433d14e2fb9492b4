"""vladctl maintenance."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from vlad.config import ConfigError, PathSettings, load_settings
from vlad.ctl.client import Client, ControlError, connect
from vlad.ctl.findings import findings_table
from vlad.ctl.maintenance_view import VERDICT_STYLES, running_text, waiting_text
from vlad.ctl.output import Output, clean
from vlad.ctl.times import local
from vlad.jsontext import to_json
from vlad.maintenance.backup import BackupError
from vlad.maintenance.restore import Restored, restore
from vlad.settings_files import DEFAULT_SETTINGS

_LOOK_S = 0.2
_MEASURES = "calibration_check"
_FINDING = {"state", "topic", "what", "mend"}

Row = Mapping[str, Any]


def run(arguments: argparse.Namespace, out: Output) -> int:
    match arguments.action:
        case "restore":
            return _restore(arguments, out)
        case "run":
            return _run(arguments, out)
    with connect(arguments.run_dir) as client:
        maintenance = client.call("maintenance")
    if arguments.action == "list":
        return _list(maintenance, out)
    return _show(_known(maintenance, arguments.name), arguments.name, out)


def _list(maintenance: Row, out: Output) -> int:
    if out.json:
        out.data(dict(maintenance))
        return 0
    table = Table.grid(padding=(0, 2))
    for heading in ("task", "result", "last", "next"):
        table.add_column(heading, no_wrap=True)
    table.add_column("what it found, or does", overflow="fold")
    table.add_row(*(Text(str(column.header), style="dim") for column in table.columns))
    for name, task in maintenance["tasks"].items():
        result = Text(task["verdict"] or "-", VERDICT_STYLES.get(task["verdict"], "dim"))
        table.add_row(
            Text(clean(name), "bold"), result, local(task["ended_wall_ns"], "never"),
            local(task["due_wall_ns"], "by hand"), clean(task["summary"] or task["description"]),
        )  # fmt: skip
    out.show(table)
    for line in _now(maintenance):
        out.show(line)
    return 0


def _now(maintenance: Row) -> list[Text]:
    """What runs, what was ordered, and what is wrong."""
    lines = []
    if maintenance["running"]:
        lines.append(running_text(maintenance["running"]))
    if maintenance["ordered"]:
        lines.append(waiting_text(maintenance["ordered"], maintenance["tasks"]))
    if maintenance["problem"]:
        lines.append(Text(clean(maintenance["problem"]), "red"))
    return lines


def _show(task: Row, name: str, out: Output) -> int:
    if out.json:
        out.data({"name": name, **task})
    else:
        out.show(_task(name, task))
    return 1 if task["verdict"] == "failed" else 0


def _task(name: str, task: Row) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("task", Text(f"{clean(name)}: {clean(task['description'])}"))
    disarmed = ", only while the robot is disarmed" if task["only_disarmed"] else ""
    table.add_row("runs", f"{clean(task['schedule'])}, priority {clean(task['priority'])}{disarmed}")
    run = f"vladctl maintenance run {clean(name)}"
    table.add_row("next", local(task["due_wall_ns"], f"only by hand: {run}"))
    if task["verdict"]:
        table.add_row("last", f"{local(task['ended_wall_ns'])}, in {task['took_s']:.1f} s")
        table.add_row("result", _result(task))
    else:
        table.add_row("last", f"never; to have it run now: {run}")
    findings = [row for row in task["rows"] if row.keys() >= _FINDING]
    others = (_found(row) for row in task["rows"] if not row.keys() >= _FINDING)
    return Group(table, *others, findings_table(findings))


def _result(task: Row) -> Text:
    again = f" ({task['failures']} times in a row)" if task["failures"] > 1 else ""
    style = VERDICT_STYLES.get(task["verdict"], "")
    return Text(f"{task['verdict']}{again}: {clean(task['summary'])}", style)


def _found(row: Row) -> Text:
    return Text("  " + ", ".join(f"{clean(key)} {clean(value)}" for key, value in row.items() if value != ""))


# running a task ---------------------------------------------------------------------------------------


def _run(arguments: argparse.Namespace, out: Output) -> int:
    """Wait for its end; Ctrl-C leaves it running."""
    if arguments.reference and arguments.name != _MEASURES:
        raise ControlError("refused", f"{arguments.name} takes no --reference", f"only {_MEASURES} does")
    params = {"reference": True} if arguments.reference else {}
    with connect(arguments.run_dir) as client:
        before = _known(client.call("maintenance"), arguments.name)["ended_wall_ns"]
        answer = client.call("maintain", name=arguments.name, params=params)
        if not out.json and answer["waits"]:
            out.show(Text("it waits until the robot is disarmed; Ctrl-C leaves it waiting", "yellow"))
        task = _ended(client, arguments.name, before, out)
    return _show(task, arguments.name, out)


def _ended(client: Client, name: str, before: int | None, out: Output) -> Row:
    """The task as it is once it has ended."""
    said = ""
    while True:
        time.sleep(_LOOK_S)
        maintenance = client.call("status")["maintenance"]
        running = maintenance["running"]
        at_work = name in maintenance["ordered"] or (running is not None and running["name"] == name)
        if not at_work and maintenance["tasks"][name]["ended_wall_ns"] != before:
            return _known(client.call("maintenance"), name)
        if running and running["name"] == name and running["text"] not in ("", said) and not out.json:
            said = running["text"]
            out.line(Text(f"{running['progress']:4.0%} {clean(said)}", "dim"))


def _known(maintenance: Row, name: str) -> Row:
    if name not in maintenance["tasks"]:
        known = ", ".join(maintenance["tasks"])
        raise ControlError("refused", f"there is no task {name}", f"use one of {known}")
    task: Row = maintenance["tasks"][name]
    return task


# putting a backup back --------------------------------------------------------------------------------


def _restore(arguments: argparse.Namespace, out: Output) -> int:
    paths = _paths(arguments)
    try:
        done = restore(
            arguments.folder, arguments.state_dir or paths.state_dir, arguments.run_dir or paths.run_dir,
            settings=arguments.settings, dry_run=arguments.dry_run,
        )  # fmt: skip
    except BackupError as error:
        raise ControlError("refused", str(error), "") from None
    except OSError as error:
        hint = "run it as root, or as the daemon's user" if isinstance(error, PermissionError) else ""
        raise ControlError("refused", str(error), hint) from None
    if out.json:
        out.data({"ok": True, "dry_run": arguments.dry_run, **_plain(done)})
    else:
        out.show(_restored(done, arguments.dry_run))
    return 0


def _plain(done: Restored) -> dict[str, Any]:
    """With paths as text."""
    plain: dict[str, Any] = json.loads(to_json(asdict(done)))
    return plain


def _paths(arguments: argparse.Namespace) -> PathSettings:
    """Where the daemon keeps things; the usual where its settings cannot be read."""
    try:
        return load_settings(arguments.config or DEFAULT_SETTINGS)[0].paths
    except ConfigError:
        return PathSettings()


def _restored(done: Restored, dry_run: bool) -> RenderableType:
    made = f"the backup of {clean(done.robot)} from {local(done.wall_ns)}"
    lines = [Text(f"{made} would be put back:" if dry_run else f"{made} is put back:")]
    for path in done.files:
        known = " (replaces what is there)" if path in done.replaced else ""
        lines.append(Text(f"  {clean(path)}{known}"))
    if done.aside is not None:
        lines.append(Text(f"what was there {'would be' if dry_run else 'is'} kept in {clean(done.aside)}"))
    if done.missing_bundles:
        lines.append(
            Text(f"install these bundles again: {', '.join(map(clean, done.missing_bundles))}", "yellow")
        )
    return Group(*lines)
