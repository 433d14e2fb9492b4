"""`tools/demo`: parse the arguments, run the demo, print its summary."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from rich.console import Console

from tools.demonstration.output import Lines, Output, Screen
from tools.demonstration.referee import Referee
from tools.demonstration.session import SETTINGS, DemoError, Session
from tools.demonstration.summary import in_words, summarize
from tools.demonstration.view import View
from vlad.clock import NS_PER_S, SystemClock
from vlad.config import ConfigError, load_settings

_SECONDS_WITHOUT_TERMINAL = 60.0


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="tools/demo",
        description="A simulated robot that vlad drives by what its camera sees and what it is told.",
        epilog="exit status: 0 it ran, 1 something failed",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="other worlds and other tasks")
    parser.add_argument(
        "--seconds", type=float, metavar="N",
        help="end after this time (default: Ctrl-C in a terminal, 60 s without one)",
    )  # fmt: skip
    parser.add_argument("--headless", action="store_true", help="plain lines in place of the live display")
    parser.add_argument("--json", action="store_true", help="print the summary as one JSON object")
    parser.add_argument("--keep", action="store_true", help="keep the run folder, with logs and event log")
    parser.add_argument("--task", metavar="TEXT", help='the same instruction always, e.g. "find a blue cube"')
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Run the demo; the exit status."""
    arguments = _parse(argv)
    try:
        _, robot = load_settings(SETTINGS)
    except ConfigError as error:
        sys.stderr.write("".join(f"demo: {problem}\n" for problem in error.problems))
        return 1
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stopping.set())
    clock, view = SystemClock(), View(Referee(arguments.seed, task=arguments.task))
    # With --json standard output is for the object alone; the display goes to the other one.
    console = Console(stderr=arguments.json)
    capable = console.is_terminal and not console.is_dumb_terminal and console.encoding.startswith("utf")
    live = capable and not arguments.headless
    output: Output
    if live:
        full_speed = robot.axes["linear_x"].velocity, robot.axes["angular_z"].velocity
        output = Screen(view, full_speed, console)
    else:
        output = Lines(view, console.file, lambda: clock.now_ns() / NS_PER_S)
    seconds = arguments.seconds
    if seconds is None and not live:
        seconds = _SECONDS_WITHOUT_TERMINAL
    folder = Path(tempfile.mkdtemp(prefix="vlad-demo-"))
    session = Session(folder, view, output, clock, stopping)
    try:
        trouble = _run(session, output, seconds)
    except BrokenPipeError:
        shutil.rmtree(folder)
        raise
    _report(summarize(arguments.seed, view.referee.score, session.measured, trouble), arguments.json)
    if arguments.keep or trouble:
        sys.stderr.write(f"demo: logs and event log are in {folder}\n")
    else:
        shutil.rmtree(folder)
    return 1 if trouble else 0


def _run(session: Session, output: Output, seconds: float | None) -> str:
    """What went wrong; empty: nothing."""
    try:
        with output:
            session.run(seconds)
    except DemoError as error:
        return "\n".join([str(error), *session.measured.trouble])
    return "\n".join(session.measured.trouble)


def _report(summary: dict[str, Any], as_json: bool) -> None:
    if summary["error"]:
        sys.stderr.write(f"demo: {summary['error']}\n")
    text = json.dumps(summary) if as_json else "\n".join(in_words(summary))
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BrokenPipeError:  # the reader of our lines is gone; everything has been ended in order
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
