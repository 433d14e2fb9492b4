"""`vlad-guard`: parse the arguments, read the settings, guard until a signal ends it."""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import gc
import logging
import os
import signal
import sys
import time
from pathlib import Path

import vlad
from vlad import realtime
from vlad.guard.judge import Judge
from vlad.guard.process import BindError, Guard
from vlad.guard.relay import Relay
from vlad.guard.settings import GuardConfig, SettingsError, load_guard_settings
from vlad.logs import start_logging
from vlad.notify import Notifier
from vlad.settings_files import DEFAULT_SETTINGS

log = logging.getLogger("vlad.guard")

EXIT_SETTINGS = 2
EXIT_ALREADY_RUNNING = 3
_HIGHEST_PRIORITY = 99


class _StartError(Exception):
    """The guard cannot start; the text says what, where and how to mend it."""

    def __init__(self, text: str, status: int = EXIT_SETTINGS) -> None:
        super().__init__(text)
        self.status = status


def make_parser() -> argparse.ArgumentParser:
    """What may stand on the command line."""
    parser = argparse.ArgumentParser(
        prog="vlad-guard",
        description="Say stop to the motors when vlad falls silent or contradicts itself.",
        epilog="exit status: 0 ended by a signal, 2 settings, relay or folder bad, 3 runs already",
    )
    parser.add_argument(
        "--config", type=Path, default=DEFAULT_SETTINGS, metavar="FILE", help="settings (%(default)s)"
    )
    parser.add_argument("--run-dir", type=Path, metavar="DIR", help="in place of paths.run_dir")
    parser.add_argument("--version", action="version", version=f"vlad-guard {vlad.__version__}")
    return parser


def _hold_run_folder(run_dir: Path) -> int:
    """One guard a run folder. The descriptor keeps the lock."""
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        lock = os.open(run_dir / "guard.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        hint = "make it writable, or name another with --run-dir"
        raise _StartError(f"{run_dir}: {error.strerror}; {hint}") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = os.read(lock, 20).decode(errors="replace").strip() or "unknown"
        os.close(lock)
        text = f"{run_dir}: another vlad-guard (pid {pid}) runs here; stop it, or name another with --run-dir"
        raise _StartError(text, EXIT_ALREADY_RUNNING) from None
    os.ftruncate(lock, 0)
    os.write(lock, f"{os.getpid()}\n".encode())
    return lock


def _open_relay(settings: GuardConfig) -> Relay | None:
    """Without a daemon the motors get no power: the line says stop from the start."""
    if settings.relay is None:
        return None
    try:
        relay = Relay(settings.relay, settings.relay_stop, settings.relay_run)
    except OSError as error:
        problem = f"{settings.relay}: {error.strerror}"
    else:
        relay.set(run=False)
        problem = relay.problem
    if problem:
        raise _StartError(f"{problem}; make guard.relay writable for this user, or name another line")
    return relay


def _ask_for_time(settings: GuardConfig) -> str:
    """Rank above the daemon, and never wait for a page; what became of it."""
    fifo = min(settings.fifo_priority + 1, _HIGHEST_PRIORITY) if settings.fifo_priority else 0
    memory = realtime.lock_memory() if settings.lock_memory else "off"
    gc.freeze()
    return f"SCHED_FIFO {realtime.fifo(fifo)}, memory locked {memory}"


def main(argv: list[str] | None = None) -> int:
    """Guard until SIGTERM or Ctrl-C; the exit status."""
    arguments = make_parser().parse_args(argv)
    try:
        settings = load_guard_settings(arguments.config, arguments.run_dir)
    except SettingsError as error:
        for problem in error.problems:
            sys.stderr.write(f"vlad-guard: {problem}\n")
        return EXIT_SETTINGS
    logs = start_logging("info")
    try:
        with contextlib.ExitStack() as closing:
            _run(settings, closing)
    except (_StartError, BindError) as error:
        sys.stderr.write(f"vlad-guard: {error}\n")
        return error.status if isinstance(error, _StartError) else EXIT_SETTINGS
    finally:
        logs.close()
    return 0


def _run(settings: GuardConfig, closing: contextlib.ExitStack) -> None:
    ending: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: ending.append(number))
    closing.callback(os.close, _hold_run_folder(settings.run_dir))
    relay = _open_relay(settings)
    if relay is not None:
        closing.callback(relay.close)
    notifier = Notifier()
    closing.callback(notifier.close)
    guard = Guard(settings.run_dir, Judge(settings.silence_ns), relay, notifier, time.monotonic_ns)
    closing.callback(guard.close)
    log.info("guards %s: %s", settings.run_dir, _ask_for_time(settings))
    notifier.ready(f"guards {settings.run_dir}")
    while not ending:
        guard.turn()
    notifier.stopping("falls silent; the daemon hears that, the relay stays as it is")


if __name__ == "__main__":
    sys.exit(main())
