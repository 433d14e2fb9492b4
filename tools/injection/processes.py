"""What can go wrong with a process or with the computer under it.

| fault | what happens |
|---|---|
| kill, stop, continue | SIGKILL, SIGSTOP (for so long, or until continued), SIGCONT to a process |
| stall, gil, wall | asked of a daemon that runs in `tools.injection.host` |
| disk | a file fills a small tmpfs to the last byte, and goes again |
| memory | a child takes memory, never the machine's last 2 GiB, and gives it back |
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from tools.injection import host
from tools.injection.remote import InjectionError

MIB = 1024 * 1024
LARGEST_DISK_BYTES = 64 * MIB
LEAST_FREE_BYTES = 2048 * MIB
_FILL_NAME = "inject.fill"
_PIECE_BYTES = MIB
_STEP_S = 0.02
_FOREVER_S = 24 * 3600.0
_HOLD = """
import sys, time
open("/proc/self/oom_score_adj", "w").write("1000")
taken = []
print("ready", flush=True)
for line in sys.stdin:
    taken.append(bytearray(b"x") * int(line))
    print("taken", flush=True)
"""


def send_signal(pid: int, number: signal.Signals) -> None:
    """InjectionError where there is no such process, or it is not this user's."""
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError) as error:
        raise InjectionError(f"process {pid}: {error.strerror}; nothing was sent") from None


def freeze(pid: int, seconds: float | None, going_on: Callable[[], bool]) -> None:
    """SIGSTOP; SIGCONT after `seconds`, also where this is ended sooner. None: stopped until continued."""
    send_signal(pid, signal.SIGSTOP)
    if seconds is None:
        return
    try:
        wait(seconds, going_on)
    finally:
        send_signal(pid, signal.SIGCONT)


def ask_host(path: Path, request: str, seconds: float) -> None:
    """stall, gil or wall of the daemon that runs in the host at `path`."""
    try:
        host.send(path, request, seconds)
    except OSError as error:
        raise InjectionError(
            f"{path}: {error.strerror}; start the daemon as `python -m tools.injection.host SOCKET -- ...`"
        ) from None


def check_small_tmpfs(folder: Path) -> None:
    """InjectionError unless `folder` is a small tmpfs of its own, so that nobody else's disk is filled."""
    fits = f"mount one there: mount -t tmpfs -o size=16m tmpfs {folder}"
    if not folder.is_mount():
        raise InjectionError(f"refused: {folder} is no file system of its own; {fits}")
    path = str(folder.resolve())
    kinds = [part.fstype for part in psutil.disk_partitions(all=True) if part.mountpoint == path]
    if kinds[-1:] != ["tmpfs"]:
        raise InjectionError(f"refused: {folder} is {' '.join(kinds[-1:]) or 'unknown'}, no tmpfs; {fits}")
    size = psutil.disk_usage(path).total
    if size > LARGEST_DISK_BYTES:
        raise InjectionError(f"refused: {folder} has {size // MIB} MiB, at most {LARGEST_DISK_BYTES // MIB}")


def fill_disk(folder: Path, seconds: float | None, going_on: Callable[[], bool]) -> None:
    """Fill the tmpfs at `folder` to the last byte for so long, or until `going_on` says no."""
    check_small_tmpfs(folder)
    path = folder / _FILL_NAME
    try:
        write_until_full(path)
        wait(seconds, going_on)
    finally:
        path.unlink(missing_ok=True)


def write_until_full(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        size = _PIECE_BYTES
        while size:
            try:
                if file.write(bytes(size)) < size:
                    size //= 2
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                size //= 2


def take_memory(megabytes: int, seconds: float | None, going_on: Callable[[], bool]) -> int:
    """Let a child take so many MiB for so long, and give them back. The MiB that it got.

    It ends where the machine would be left with less than 2 GiB; the kernel would kill the child first.
    """
    child = subprocess.Popen(
        [sys.executable, "-c", _HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        child.stdout.readline()
        taken = 0
        while taken < megabytes and psutil.virtual_memory().available > LEAST_FREE_BYTES + MIB and going_on():
            child.stdin.write(f"{MIB}\n")
            child.stdout.readline()
            taken += 1
        wait(seconds, going_on)
        return taken
    finally:
        child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout):
            with contextlib.suppress(BrokenPipeError):
                pipe.close()


def wait(seconds: float | None, going_on: Callable[[], bool]) -> None:
    """For so long (None: for ever), or until `going_on` says no."""
    end_s = time.monotonic() + (_FOREVER_S if seconds is None else seconds)
    while going_on() and (left_s := end_s - time.monotonic()) > 0:
        time.sleep(min(_STEP_S, left_s))
