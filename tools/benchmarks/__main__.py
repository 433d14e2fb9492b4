"""`tools/bench NAME [--json]`: run one benchmark and print its report."""

from __future__ import annotations

import argparse
import importlib
import pkgutil

import tools.benchmarks

_NOT_BENCHMARKS = {
    "__main__",
    "backends",
    "report",
    "rig",
    "feed",
    "host",
    "script",
    "questions",
    "bare",
    "browser",
    "stalls",
    "torch_policy",
    "whole",
}


def names() -> list[str]:
    found = (module.name for module in pkgutil.iter_modules(tools.benchmarks.__path__))
    return sorted(name for name in found if name not in _NOT_BENCHMARKS)


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/bench", description="Measure vlad on this machine.")
    commands = parser.add_subparsers(dest="name", required=True, metavar="NAME")
    for name in names():
        module = importlib.import_module(f"tools.benchmarks.{name}")
        command = commands.add_parser(
            name.replace("_", "-"), help=(module.__doc__ or "").strip().splitlines()[0]
        )
        command.add_argument("--json", action="store_true", help="print one JSON object")
        command.set_defaults(run=module.run)
        if hasattr(module, "add_arguments"):
            module.add_arguments(command)
    arguments = parser.parse_args()
    arguments.run(arguments).print(arguments.json)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
