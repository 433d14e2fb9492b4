"""vladctl model."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from vlad.ctl.client import connect
from vlad.ctl.output import Output, clean


def run(arguments: argparse.Namespace, out: Output) -> int:
    with connect(arguments.run_dir) as client:
        models = client.call("models")
    if out.json:
        out.data({"models": models})
    elif models:
        table = Table.grid(padding=(0, 2))
        for model in models:
            table.add_row(*_row(model))
        out.show(table)
    else:
        out.show(Text("no models are installed; put a bundle into models/NAME/VERSION of the state folder"))
    return 0


def _row(model: Mapping[str, Any]) -> list[Text]:
    """Name, state, backend, folder; why it is refused below the folder."""
    about = Text(clean(model.get("folder") or ""), style="dim", overflow="fold")
    for reason in model.get("refused") or ():
        about.append(f"\n{clean(reason)}", style="not dim red")
    if model.get("running"):
        state = Text("running", style="green")
    elif model.get("refused"):
        state = Text("refused", style="red")
    else:
        state = Text("installed", style="dim")
    name = Text(f"{clean(model.get('name', '-'))} {clean(model.get('version', '-'))}", style="bold")
    return [name, state, Text(clean(model.get("backend") or "-")), about]
