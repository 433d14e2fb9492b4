"""vladctl report: what vlad.db remembers, as one HTML file; with the daemon running or not."""

from __future__ import annotations

import argparse
import sqlite3
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.text import Text

from vlad.config import PathSettings
from vlad.ctl.client import ControlError, connect
from vlad.ctl.output import Output, clean
from vlad.report.contents import Contents, read
from vlad.report.page import page


def run(arguments: argparse.Namespace, out: Output) -> int:
    if arguments.since >= arguments.until:
        raise ControlError("refused", "--since is not before --until", "for example --since 14d --until 7d")
    state_dir, running = _state_dir(arguments)
    contents = _read(state_dir / "vlad.db", arguments.since, arguments.until)
    if out.json:
        out.data(_document(contents, running))
        return 0
    target: Path = arguments.output or Path(f"vlad-report-{time.strftime('%Y-%m-%d')}.html")
    try:
        target.write_text(page(contents, running, time.time_ns()), encoding="utf-8")
    except OSError as error:
        hint = "name another file with --output"
        raise ControlError("failed", f"{target}: {error.strerror}", hint) from None
    out.line(Text(clean(f"{target}: {len(contents.minutes):,} minutes, {len(contents.events):,} events")))
    if not running:
        out.line(Text(f"vlad does not run; read from {clean(state_dir)}", style="dim"))
    return 0


def _state_dir(arguments: argparse.Namespace) -> tuple[Path, bool]:
    """Where the database lies, and whether the daemon that writes it runs."""
    try:
        with connect(arguments.run_dir) as client:
            told = Path(client.call("status").get("state_dir") or PathSettings().state_dir)
    except ControlError:
        return arguments.state_dir or PathSettings().state_dir, False
    return arguments.state_dir or told, arguments.state_dir in (None, told)


def _read(path: Path, since_ns: int, until_ns: int) -> Contents:
    try:
        if not path.exists():
            raise ControlError("refused", f"{path}: there is none", "name the state folder with --state-dir")
        return read(path, since_ns, until_ns)
    except PermissionError:
        hint = "sudo, or be in the group vlad: usermod -aG vlad NAME"
        raise ControlError("not_permitted", f"you may not read {path.parent}", hint) from None
    except sqlite3.Error as error:
        hint = "may you read it (sudo, or the group vlad)? vladctl doctor says whether it is sound"
        raise ControlError("failed", f"{path}: cannot be read ({error})", hint) from None


def _document(contents: Contents, running: bool) -> dict[str, Any]:
    return {
        "robot": contents.robot,
        "running": running,
        "since_ns": contents.since_ns,
        "until_ns": contents.until_ns,
        "sums": contents.sums,
        "totals": contents.totals,
        "faults": [asdict(row) for row in contents.faults()],
        "alerts": [asdict(row) for row in contents.alerts()],
        "events": contents.events,
        "minutes": [asdict(minute) for minute in contents.minutes],
    }
