"""vladctl arm, disarm, reset, task."""

from __future__ import annotations

import argparse
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from vlad.ctl.client import connect
from vlad.ctl.output import Output, clean
from vlad.ctl.view import fault_view

_DONE = {
    "arm": "armed: the robot may move now",
    "disarm": "disarmed: the robot is brought to rest",
    "reset": "reset: disarmed, nothing moves until vladctl arm",
}
_REFUSED = {"arm": "not armed, because", "reset": "not reset, because"}


def run(arguments: argparse.Namespace, out: Output) -> int:
    command: str = arguments.command
    with connect(arguments.run_dir) as client:
        answer = client.call(command, **_params(arguments))
    if out.json:
        out.data(answer)
    else:
        out.show(_told(command, answer))
    return 0 if answer["ok"] else 1


def _params(arguments: argparse.Namespace) -> dict[str, Any]:
    return {"text": " ".join(arguments.text)} if arguments.command == "task" else {}


def _told(command: str, answer: dict[str, Any]) -> RenderableType:
    if not answer["ok"]:
        return Group(Text(_REFUSED[command], style="bold red"), fault_view(answer["refusals"]))
    if command == "task":
        return Text(f"task: {clean(answer['task'])}" if answer["task"] else "no task")
    return Text(_DONE[command])
