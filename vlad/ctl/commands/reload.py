"""vladctl reload: the settings, read again by the running daemon."""

from __future__ import annotations

import argparse

from rich.text import Text

from vlad.ctl.client import connect
from vlad.ctl.output import Output
from vlad.ctl.view import settings_view


def run(arguments: argparse.Namespace, out: Output) -> int:
    with connect(arguments.run_dir) as client:
        answer = client.call("reload")
    if out.json:
        out.data(answer)
    elif any(answer[key] for key in ("applied", "waiting", "restart", "problems")):
        out.show(settings_view(answer))
    else:
        out.show(Text("nothing changed"))
    return 0 if answer["ok"] else 1
