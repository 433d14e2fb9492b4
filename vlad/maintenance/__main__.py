"""`python -m vlad.maintenance NAME`: run one task, as a process of its own beside the daemon.

Its stdin has one line of JSON: settings, robot, config, params, status and wall_ns. It ends when the daemon
does, and this process with it. Its stdout has lines of JSON: {"progress", "text"}, and at last the result.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any, BinaryIO

import psutil

from vlad.config import Settings
from vlad.jsontext import to_json
from vlad.maintenance.job import Job, Result
from vlad.maintenance.tasks import find
from vlad.robot import Robot

_MOST_ROWS = 200
_LONGEST_TEXT = 1_000
_PROGRESS_S = 0.2
_USAGE = "vlad runs this by itself, a process for each task; to run one now: vladctl maintenance run TASK"


def main(argv: list[str] | None = None) -> int:
    """0, with a result on stdout; an error that the task did not expect ends it with a traceback.

    2: it was not vlad that started it.
    """
    names = sys.argv[1:] if argv is None else argv
    if len(names) != 1 or names[0] not in find() or sys.stdin.isatty():
        sys.stderr.write(f"vlad.maintenance: {_USAGE}, one of {', '.join(find())}\n")
        return 2
    (name,) = names
    # What a library prints must not come between the lines.
    lines = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    signal.signal(signal.SIGTERM, _leave)
    _be_modest()
    told = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_the_daemon, daemon=True).start()
    try:
        result = importlib.import_module(f"vlad.maintenance.tasks.{name}").run(_job(told, lines))
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it ends by itself, and the daemon is about to hang up
    lines.write(f"{to_json(_bounded(result))}\n".encode())
    return 0


def _job(told: dict[str, Any], lines: BinaryIO) -> Job:
    """The settings are those that the daemon goes by, whatever their files say by now."""
    return Job(
        settings=Settings.model_validate_json(told["settings"]),
        robot=Robot.model_validate_json(told["robot"]),
        config=Path(told["config"]),
        params=told["params"],
        status=told["status"],
        wall_ns=told["wall_ns"],
        progress=_teller(lines),
    )


def _teller(lines: BinaryIO) -> Callable[[float, str], None]:
    """Tells how far it is a few times a second, however often it is called."""
    last_s = 0.0

    def tell(part: float, text: str) -> None:
        nonlocal last_s
        now_s = time.monotonic()
        if now_s - last_s >= _PROGRESS_S:
            last_s = now_s
            lines.write(f"{to_json({'progress': round(part, 3), 'text': text[:_LONGEST_TEXT]})}\n".encode())

    return tell


def _bounded(result: Result) -> dict[str, Any]:
    """What the daemon can keep; the verdict is first, by which it knows the result."""
    rows = [
        {key: value[:_LONGEST_TEXT] if isinstance(value, str) else value for key, value in row.items()}
        for row in result.rows[:_MOST_ROWS]
    ]
    return {**asdict(result), "summary": result.summary[:_LONGEST_TEXT], "rows": rows}


def _be_modest() -> None:
    """The disk only when nobody else wants it."""
    with contextlib.suppress(psutil.Error, OSError):
        psutil.Process().ionice(psutil.IOPRIO_CLASS_IDLE)


def _leave(number: int, frame: FrameType | None) -> None:
    """By an exception, so that what was begun is put away; being told twice does not interrupt that."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(128 + number)


def _end_with_the_daemon() -> None:
    """Without the lock of sys.stdin, which Python wants to have when it ends."""
    while os.read(sys.stdin.fileno(), 4096):
        continue
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
