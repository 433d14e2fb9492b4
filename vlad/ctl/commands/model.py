"""vladctl model."""

from __future__ import annotations

import argparse

from rich.table import Table
from rich.text import Text

from vlad.ctl.client import connect
from vlad.ctl.output import Output, clean


def run(arguments: argparse.Namespace, out: Output) -> int:
    with connect(arguments.run_dir) as client:
        models = client.call("models")
    if out.json:
        out.data({"models": models})
        return 0
    if not models:
        out.show(
            Text(
                "no models are installed; put a bundle's folder into models/NAME/VERSION of the state folder"
            )
        )
        return 0
    table = Table.grid(padding=(0, 2))
    for model in models:
        state = Text("running", style="green") if model.get("active") else Text("installed", style="dim")
        problems = model.get("problems") or ()
        about = Text(clean(model.get("folder") or ""), style="dim", overflow="fold")
        for problem in problems:
            about.append(f"\n{clean(problem)}", style="red")
        table.add_row(
            Text(f"{clean(model.get('name', '-'))} {clean(model.get('version', '-'))}", style="bold"),
            Text("refused", style="red") if problems else state,
            clean(model.get("robot_type") or "-"),
            clean(" ".join(filter(None, (model.get("backend"), model.get("precision"))))),
            about,
        )
    out.show(table)
    return 0
