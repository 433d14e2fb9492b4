"""vladctl events."""

from __future__ import annotations

import argparse
from typing import Any

from vlad.ctl.client import Client, connect
from vlad.ctl.event_view import event_line
from vlad.ctl.output import Output


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
