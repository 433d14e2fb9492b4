"""vladctl model."""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from vlad.ctl.client import Client, ControlError, connect
from vlad.ctl.output import Output, clean

_ACTIVATION_S = 120.0
"""A large model takes long to load, and is watched for some seconds."""
_LEAST_RUNS = 10


def run(arguments: argparse.Namespace, out: Output) -> int:
    match arguments.action:
        case "list":
            return _list(arguments, out)
        case "show":
            return _show(arguments, out)
        case "bench":
            return _bench(arguments, out)
    return _drive(arguments, out)


def _list(arguments: argparse.Namespace, out: Output) -> int:
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
    elif model.get("loaded"):
        state = Text(clean(model["loaded"]), style="cyan")
    else:
        state = Text("installed", style="dim")
    name = Text(f"{clean(model.get('name', '-'))} {clean(model.get('version', '-'))}", style="bold")
    return [name, state, Text(clean(model.get("backend") or "-")), about]


def _show(arguments: argparse.Namespace, out: Output) -> int:
    with connect(arguments.run_dir) as client:
        bundle = client.call("model", name=arguments.name, version=arguments.version)
    if out.json:
        out.data(bundle)
        return 0
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("folder", clean(bundle["folder"]))
    for key, text in _said(bundle["manifest"]):
        table.add_row(clean(key), clean(text))
    out.show(table)
    return 0


def _said(manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The manifest line by line, without hashes and normalisation."""
    lines = [
        (key, str(value))
        for key, value in manifest.items()
        if key not in ("files", "inputs", "output", "provenance")
    ]
    lines += [(f"input {item.get('name')}", _facts(item)) for item in manifest.get("inputs") or ()]
    lines.append(("output", _facts(manifest.get("output") or {})))
    return lines + [(f"from {key}", str(value)) for key, value in (manifest.get("provenance") or {}).items()]


def _facts(table: Mapping[str, Any]) -> str:
    shown = (item for item in table.items() if item[0] not in ("mean", "std", "q01", "q99"))
    return ", ".join(f"{key} {value}" for key, value in shown)


def _drive(arguments: argparse.Namespace, out: Output) -> int:
    """activate and rollback; 1 where the bundle is refused."""
    named = {} if arguments.action == "rollback" else {"name": arguments.name, "version": arguments.version}
    with connect(arguments.run_dir, _ACTIVATION_S) as client:
        answer = client.call(arguments.action, **named)
    if out.json:
        out.data(answer)
    elif answer["ok"]:
        text = Text(f"{clean(answer['bundle'])} drives", style="green")
        text.append(_tried(answer), style="not green")
        out.show(text)
    else:
        for reason in answer["reasons"]:
            out.show(Text(clean(reason), style="red"))
        out.show(Text("nothing was changed"))
    return 0 if answer["ok"] else 1


def _tried(answer: Mapping[str, Any]) -> str:
    if not answer["chunks"]:
        return "; nothing came in to try it on"
    return f"; tried on {answer['chunks']} frames, {answer['latency_p50_ms']:.1f} ms each"


def _bench(arguments: argparse.Namespace, out: Output) -> int:
    with connect(arguments.run_dir) as client:
        folder = Path(_found(client, arguments))
    times_ms = _times_ms(folder, max(_LEAST_RUNS, arguments.runs), arguments.threads)
    ordered = sorted(times_ms)
    result = {
        "folder": str(folder), "runs": len(ordered), "threads": arguments.threads,
        "p50_ms": round(statistics.median(ordered), 3),
        "p99_ms": round(ordered[round(0.99 * (len(ordered) - 1))], 3),
    }  # fmt: skip
    if out.json:
        out.data(result)
    else:
        out.show(Text(f"p50 {result['p50_ms']} ms, p99 {result['p99_ms']} ms of {len(ordered)} runs with "
                      f"{arguments.threads} threads"))  # fmt: skip
    return 0


def _found(client: Client, arguments: argparse.Namespace) -> str:
    return str(client.call("model", name=arguments.name, version=arguments.version)["folder"])


def _times_ms(folder: Path, runs: int, threads: int) -> list[float]:
    # Only bench needs what runs a model; it takes a moment to import.
    from vlad.clock import SystemClock
    from vlad.policy.backends import REMOTE
    from vlad.policy.bundle import BundleRefused, load_bundle
    from vlad.policy.policy import Policy
    from vlad.policy_settings import PolicySettings

    try:
        bundle = load_bundle(folder)
        if bundle.manifest.backend in REMOTE:
            raise ControlError("refused", f"{bundle} runs on a server", "vladctl status has its latency")
        policy = Policy(bundle, SystemClock(), PolicySettings(threads=threads))
        try:
            policy.warm_up()
            return [1e3 * time_s for time_s in policy.time_runs(runs)]
        finally:
            policy.close()
    except BundleRefused as refused:
        raise ControlError("refused", "; ".join(refused.reasons), "see vladctl model list") from None
