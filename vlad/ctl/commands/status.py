"""vladctl status."""

from __future__ import annotations

import argparse

from vlad.ctl.client import connect
from vlad.ctl.output import Output
from vlad.ctl.view import status_view


def run(arguments: argparse.Namespace, out: Output) -> int:
    with connect(arguments.run_dir) as client:
        status = client.call("status")
    if out.json:
        out.data(status)
    else:
        out.show(status_view(status))
    return 0
