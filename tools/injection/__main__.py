"""`tools/inject`: make things go wrong on purpose, on a robot that nobody has armed or that is simulated."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tools.injection import processes
from tools.injection.kinds import Kind
from tools.injection.proxy import Proxy
from tools.injection.remote import InjectionError, Injector, check_allowed
from vlad.clock import SystemClock
from vlad.folders import StartError

_SIGNALS = {"kill": signal.SIGKILL, "continue": signal.SIGCONT}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tools/inject", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    proxy = commands.add_parser("proxy", help="stand between a run folder and its drivers")
    proxy.add_argument("--run-dir", type=Path, required=True, help="run folder of vlad")
    for name, help_ in (
        ("set", "let a topic go wrong"),
        ("clear", "let everything go right again"),
        ("list", "say what goes wrong now"),
    ):
        command = commands.add_parser(name, help=help_)
        command.add_argument("--listen", type=Path, required=True, metavar="DIR", help="folder of the proxy")
    proxy.add_argument(
        "--listen", type=Path, required=True, metavar="DIR", help="folder that the drivers get as run folder"
    )
    setting = commands.choices["set"]
    setting.add_argument("topic", help="a signal, or `command` or `safety`")
    setting.add_argument("kind", type=Kind, choices=list(Kind), metavar="KIND", help=", ".join(Kind))
    setting.add_argument("--for", type=float, dest="for_s", metavar="S", help="seconds (default: for ever)")
    _add_process(commands)
    return parser


def _add_process(commands: Any) -> None:
    process = commands.add_parser("process", help="kill, freeze or starve a process")
    process.add_argument(
        "fault",
        choices=("kill", "stop", "continue", "stall", "gil", "wall", "disk", "memory"),
        help="see tools/injection/processes.py",
    )
    process.add_argument("--run-dir", type=Path, required=True, help="run folder of the vlad that is tested")
    process.add_argument("--pid", type=int, help="for kill, stop, continue")
    process.add_argument("--host", type=Path, metavar="SOCKET", help="for stall, gil, wall")
    process.add_argument("--folder", type=Path, help="for disk: a small tmpfs")
    process.add_argument("--megabytes", type=int, help="for memory")
    process.add_argument("--seconds", type=float, help="how long, or how far the clock jumps")


def _needed(arguments: argparse.Namespace, name: str) -> Any:
    value = getattr(arguments, name)
    if value is None:
        raise InjectionError(f"{arguments.fault} needs --{name}")
    return value


def _process(arguments: argparse.Namespace, going_on: Callable[[], bool]) -> None:
    fault, seconds = arguments.fault, arguments.seconds
    if fault != "continue":  # it ends a fault, and a daemon that is stopped cannot be asked
        check_allowed(arguments.run_dir)
    match fault:
        case "kill" | "continue":
            processes.send_signal(_needed(arguments, "pid"), _SIGNALS[fault])
        case "stop":
            processes.freeze(_needed(arguments, "pid"), seconds, going_on)
        case "disk":
            processes.fill_disk(_needed(arguments, "folder"), seconds, going_on)
        case "memory":
            taken = processes.take_memory(_needed(arguments, "megabytes"), seconds, going_on)
            print(f"held {taken} MiB")
        case _:
            processes.ask_host(_needed(arguments, "host"), fault, _needed(arguments, "seconds"))


def _run(arguments: argparse.Namespace, going_on: Callable[[], bool]) -> None:
    if arguments.command == "process":
        _process(arguments, going_on)
        return
    if arguments.command == "proxy":
        proxy = Proxy(arguments.run_dir.resolve(), arguments.listen.resolve(), SystemClock())
        try:
            proxy.run(going_on)
        finally:
            proxy.close()
        return
    with Injector(arguments.listen.resolve()) as injector:
        match arguments.command:
            case "set":
                state = injector.set(arguments.topic, arguments.kind, arguments.for_s)
            case "clear":
                state = injector.clear()
            case _:
                state = injector.list()
    for topic, row in sorted(state["topics"].items()):
        print(f"{topic:20} {row['kind']:12} {row['came']:>8} came {row['sent']:>8} sent")


def main() -> int:
    arguments = _parser().parse_args()
    ended: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: ended.append(number))
    try:
        _run(arguments, lambda: not ended)
    except (InjectionError, StartError, OSError) as error:
        print(f"tools/inject: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
