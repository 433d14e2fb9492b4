"""vladctl health."""

from __future__ import annotations

import argparse

from vlad.ctl.client import connect
from vlad.ctl.health_view import health_view
from vlad.ctl.output import Output


def run(arguments: argparse.Namespace, out: Output) -> int:
    with connect(arguments.run_dir) as client:
        health = client.call("status").get("health") or {}
    if out.json:
        out.data({"health": health})
    else:
        out.show(health_view(health))
    return 0
