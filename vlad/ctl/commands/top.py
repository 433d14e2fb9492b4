"""vladctl top: the status, how the robot moves and what happens, drawn over again four times a second."""

from __future__ import annotations

import argparse
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.live import Live
from rich.text import Text

from vlad.ctl.client import ControlError, connect
from vlad.ctl.event_view import events_view
from vlad.ctl.motion_view import motion_view
from vlad.ctl.output import Output
from vlad.ctl.view import status_view, summary_line

_RATE_HZ = 4
_LOG_RATE_HZ = 1
_RETRY_S = 1.0
_EVENTS = 6


def run(arguments: argparse.Namespace, out: Output) -> int:
    """Until Ctrl-C. Without a terminal a line a second, with --json a report four times a second."""
    if out.json or not out.live:
        with connect(arguments.run_dir) as client:
            for _, status in client.stream(status_hz=_RATE_HZ if out.json else _LOG_RATE_HZ):
                out.record(status) if out.json else out.line(Text(summary_line(status)))
    else:
        _draw(arguments.run_dir, out)
    return 0


def _draw(run_dir: Path | None, out: Output) -> None:
    with Live(console=out.console, screen=True, auto_refresh=False) as picture:
        events: deque[dict[str, Any]] = deque(maxlen=_EVENTS)
        for status, problem in _reports(run_dir, events):
            live = (motion_view(status.get("motion") or {}), events_view(events)) if status else ()
            parts = [status_view(status, live)] if status else []
            if problem is not None:
                parts.append(Text(f"\n{problem.message}; trying again", style="bold red"))
            picture.update(Group(*parts), refresh=True)


def _reports(
    run_dir: Path | None, events: deque[dict[str, Any]]
) -> Iterator[tuple[dict[str, Any] | None, ControlError | None]]:
    """The newest status, and what is wrong with the connection; it outlives a restart of the daemon.

    `events` always has the newest.
    """
    status = None
    while True:
        try:
            with connect(run_dir) as client:
                events.extend(client.call("events", limit=_EVENTS))
                for kind, data in client.stream(status_hz=_RATE_HZ, events=True):
                    if kind == "event":
                        events.append(data)
                    else:
                        status = data
                        yield status, None
        except ControlError as error:
            if status is None:
                raise
            yield status, error
        time.sleep(_RETRY_S)
