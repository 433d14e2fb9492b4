"""vladctl record."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from vlad.ctl.client import connect
from vlad.ctl.output import Output, clean

_STYLES = {"recording": "bold red", "failed": "bold red", "off": "dim"}
_TOLD = {
    "mark": "marked: what was around this moment is being recorded",
    "start": "recording, until vladctl record stop",
    "stop": "what was recorded until now is on the disk in a moment",
}


def run(arguments: argparse.Namespace, out: Output) -> int:
    match arguments.action:
        case "status":
            return _status(arguments, out)
        case "list":
            return _list(arguments, out)
    note = " ".join(getattr(arguments, "note", ()))
    with connect(arguments.run_dir) as client:
        answer = client.call("record", what=arguments.action, note=note)
    if out.json:
        out.data(answer)
    else:
        out.show(Text(_TOLD[arguments.action]))
    return 0


def _status(arguments: argparse.Namespace, out: Output) -> int:
    with connect(arguments.run_dir) as client:
        record = client.call("status")["record"]
    if out.json:
        out.data(record)
    else:
        out.show(_table(record))
    return 0 if record["state"] != "failed" else 1


def _table(record: Mapping[str, Any]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("state", Text(clean(record["state"]), _STYLES.get(record["state"], "green")))
    table.add_row("mode", clean(record["mode"]))
    if record["problem"]:
        table.add_row("problem", Text(clean(record["problem"]), style="red"))
    if record["file"]:
        ends_in_s = record["ends_in_s"]
        ends = "until record stop" if ends_in_s is None else f"{max(0.0, ends_in_s):.0f} s more"
        table.add_row("file", Text(f"{clean(record['file'])}, {ends}"))
        table.add_row("because", Text(clean("; ".join(record["causes"]))))
    table.add_row("held", f"the last {record['held_s']:.0f} s, {record['held_mb']:.0f} MB in memory")
    table.add_row(
        "finished", f"{record['finished']} recordings since the start, in {clean(record['folder'])}"
    )
    dropped = {"messages": "dropped", "pictures": "pictures_dropped", "chunks": "chunks_lost"}
    lost = [f"{record[key]:,} {name}" for name, key in dropped.items() if record[key]]
    if lost:
        table.add_row("left out", Text(", ".join(lost), style="yellow"))
    return table


def _list(arguments: argparse.Namespace, out: Output) -> int:
    with connect(arguments.run_dir) as client:
        recordings = client.call("recordings")
    if out.json:
        out.data({"recordings": recordings})
    elif recordings:
        for recording in recordings:
            out.line(_line(recording))
    else:
        out.show(Text("nothing was recorded yet"))
    return 0


def _line(recording: Mapping[str, Any]) -> Text:
    """When it ended, how large it is, where."""
    ended = datetime.fromtimestamp(recording["ended_ns"] / 1e9).astimezone()
    text = Text(f"{ended:%Y-%m-%d %H:%M:%S}  ", style="dim")
    text.append(f"{recording['size_mb']:8.1f} MB  ", style="default")
    text.append(clean(str(Path(recording["file"]))), style="default")
    return text if recording["whole"] else text.append("  (not finished)", style="yellow")
