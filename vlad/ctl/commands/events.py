"""vladctl events."""

from __future__ import annotations

import argparse
from datetime import datetime
from typing import Any

from rich.text import Text

from vlad.ctl.client import Client, connect
from vlad.ctl.output import Output, clean
from vlad.ctl.view import level_style


def run(arguments: argparse.Namespace, out: Output) -> int:
    with connect(arguments.run_dir) as client:
        if arguments.follow:
            _follow(client, arguments, out)
        events = client.call("events", limit=arguments.n, kinds=arguments.kind)
    if out.json:
        out.data({"events": events})
    else:
        for event in events:
            out.line(event_line(event))
    return 0


def _follow(client: Client, arguments: argparse.Namespace, out: Output) -> None:
    """Subscribe first, so that nothing falls between what was and what comes. Ends with Ctrl-C."""
    stream = client.stream(events=True)
    with connect(arguments.run_dir) as second:
        before = second.call("events", limit=arguments.n, kinds=arguments.kind)
    newest = -1
    for event in before:
        newest = max(newest, event["id"])
        _tell(event, out)
    for _, event in stream:
        if event["id"] > newest and (not arguments.kind or event["kind"] in arguments.kind):
            _tell(event, out)


def _tell(event: dict[str, Any], out: Output) -> None:
    if out.json:
        out.record(event)
    else:
        out.line(event_line(event))


def event_line(event: dict[str, Any]) -> Text:
    """When, how bad, what kind, what."""
    when = datetime.fromtimestamp(event["wall_ns"] / 1e9).astimezone()
    text = Text(f"{when:%Y-%m-%d %H:%M:%S}.{when.microsecond // 1000:03d} ", style="dim")
    text.append(f"{clean(event['level']):9} ", style=level_style(event["level"]))
    text.append(f"{clean(event['kind'])}: ", style="bold")
    return text.append(clean(event["text"]), style="default")
