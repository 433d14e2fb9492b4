"""The folders that a daemon needs: may it write there, and is it alone there?"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from vlad.config import PathSettings


class StartError(Exception):
    """The daemon cannot start; the message says what, where and how to mend it."""


class AlreadyRunningError(StartError):
    """Another daemon holds the run folder."""


def make_folders(paths: PathSettings) -> None:
    """Make the run and state folders; StartError where this user may not write there."""
    for option, folder in (("--run-dir", paths.run_dir), ("--state-dir", paths.state_dir)):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            reason = error.strerror
        else:
            reason = "" if os.access(folder, os.W_OK | os.X_OK) else "this user may not write there"
        if reason:
            raise StartError(f"{folder}: {reason}; make it writable, or name another with {option}")


def hold_run_folder(run_dir: Path) -> int:
    """Lock the run folder: one daemon a folder. The descriptor keeps the lock."""
    lock = os.open(run_dir / "vlad.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = os.read(lock, 20).decode(errors="replace").strip() or "unknown"
        os.close(lock)
        raise AlreadyRunningError(
            f"{run_dir}: another vlad (pid {pid}) runs here; stop it, or set paths.run_dir to another folder"
        ) from None
    os.ftruncate(lock, 0)
    os.write(lock, f"{os.getpid()}\n".encode())
    return lock
