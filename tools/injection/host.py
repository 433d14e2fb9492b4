"""The daemon in a process that obeys requests to misbehave: GIL held, loop stalled, wall clock that jumps.

`python -m tools.injection.host SOCKET -- VLAD ARGUMENTS` runs `vlad` with these arguments. A thread reads
datagrams from the Unix socket SOCKET, each one text:

    gil S      hold the interpreter lock for S seconds: no Python code of the process runs
    stall S    block the event loop for S seconds: other threads go on
    wall S     the wall clock as the daemon sees it jumps by S seconds, back where negative

`send` sends one. What cannot be read is said on stderr and otherwise ignored.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import uvloop

import vlad.__main__
from vlad.clock import NS_PER_S, SystemClock

MAX_S = 3600.0
_US_PER_S = 1_000_000
_LONGEST_TEXT = 64


def send(path: Path, request: str, seconds: float) -> None:
    """Ask the host that listens at `path`; OSError when none does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(f"{request} {seconds}".encode(), str(path))


def hold_gil(seconds: float) -> None:
    """One long C call that keeps the lock: PyDLL does not release it."""
    ctypes.PyDLL(None).usleep(ctypes.c_uint(round(seconds * _US_PER_S)))


class Host:
    """Carries out the requests that come in at `path`, in a thread of its own."""

    def __init__(self, path: Path) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wall_jump_ns = 0
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        path.unlink(missing_ok=True)
        self._socket.bind(str(path))
        self._requests: dict[str, Callable[[float], None]] = {
            "gil": hold_gil,
            "stall": self._stall,
            "wall": self._jump_wall,
        }

    def start(self) -> None:
        """Find the loop that `vlad` will make and its wall clock, and listen."""
        make_loop = uvloop.new_event_loop

        def make_and_keep() -> uvloop.Loop:
            self._loop = made = make_loop()
            return made

        uvloop.new_event_loop = make_and_keep
        host, wall_ns = self, SystemClock.wall_ns

        def jumped_wall_ns(self: SystemClock) -> int:
            return wall_ns(self) + host._wall_jump_ns

        SystemClock.wall_ns = jumped_wall_ns  # type: ignore[method-assign]
        threading.Thread(target=self._listen, name="injection", daemon=True).start()

    def _listen(self) -> None:
        while True:
            text = self._socket.recv(_LONGEST_TEXT).decode(errors="replace")
            name, _, number = text.partition(" ")
            try:
                seconds = float(number)
                request = self._requests[name]
            except (KeyError, ValueError):
                seconds = MAX_S + 1
            if not abs(seconds) <= MAX_S or (seconds < 0 and name != "wall"):
                wanted = f"send gil, stall or wall and seconds up to {MAX_S:g}"
                sys.stderr.write(f"injection host: {text!r} is no request; {wanted}\n")
                continue
            request(seconds)

    def _stall(self, seconds: float) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(time.sleep, seconds)

    def _jump_wall(self, seconds: float) -> None:
        self._wall_jump_ns += round(seconds * NS_PER_S)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tools.injection.host", description=(__doc__ or "").strip()
    )
    parser.add_argument("socket", type=Path, help="where requests come in")
    parser.add_argument("arguments", nargs="*", help="of vlad, after --")
    given = parser.parse_args(argv)
    Host(given.socket).start()
    return vlad.__main__.main(given.arguments)


if __name__ == "__main__":
    sys.exit(main())
