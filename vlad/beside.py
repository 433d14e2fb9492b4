"""Processes of the daemon's own beside it, for work that would hold Python's lock and make the tick late."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import select
import signal
import subprocess
from collections.abc import Callable, Sequence
from typing import IO

_LONGEST_LINE = 1024 * 1024
_HEAP = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "65536"}
"""One heap for all threads, nothing large in it: what is freed is used again, or given back, mallopt(3)."""


class Process:
    """One process, which tells by lines on its stdout, and is told by lines on its stdin.

    Its stdin ends when the daemon does, however that came about: it is to end then by itself. What it writes
    to stderr goes where the daemon's goes.
    """

    def __init__(self, words: Sequence[str], nice: int = 10, stop_s: float = 3.0) -> None:
        """`words`: the program and its arguments. It has `stop_s` to end before it is killed."""
        self._words = tuple(words)
        self._nice = nice
        self._stop_s = stop_s
        self._running: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """None: it does not run."""
        return self._running.pid if self._running else None

    async def run(self, on_line: Callable[[bytes], None], first: bytes = b"") -> int:
        """Start it, say `first`, at most a megabyte, and hand over its lines until it ends; its exit status.

        Cancelled, it is asked to end by SIGTERM, and with it all that it started. OSError where it cannot be
        started; ValueError where it says a line of more than a megabyte.
        """
        # In a thread: the fork stays off the loop, and what is started there has the ordinary scheduler.
        starting = asyncio.ensure_future(asyncio.to_thread(self._start, first))
        try:
            process = await asyncio.shield(starting)
        except asyncio.CancelledError:
            await asyncio.to_thread(self._end, await starting, ask=True)
            raise
        ask = True
        try:
            await self._listen(process, on_line)
            ask = False
        finally:
            self._running = None
            status = await asyncio.shield(asyncio.to_thread(self._end, process, ask=ask))
        return status

    def send(self, line: bytes) -> None:
        """Say a line of up to select.PIPE_BUF bytes to it.

        Lost where the process does not run or does not listen: it never waits.
        """
        if len(line) > select.PIPE_BUF:
            raise ValueError(f"{len(line)} bytes are too long a line; at most {select.PIPE_BUF}")
        if self._running is not None:
            with contextlib.suppress(BlockingIOError, BrokenPipeError):
                os.write(_pipe(self._running.stdin).fileno(), line)

    async def _listen(self, process: subprocess.Popen[bytes], on_line: Callable[[bytes], None]) -> None:
        reader = asyncio.StreamReader(_LONGEST_LINE)
        said, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), _pipe(process.stdout)
        )
        with contextlib.closing(said):
            self._running = process
            while line := await reader.readline():
                on_line(line)

    def _start(self, first: bytes) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            self._words,
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=_HEAP | os.environ,
            start_new_session=True,
        )
        with contextlib.suppress(ProcessLookupError):
            os.setpriority(os.PRIO_PROCESS, process.pid, self._nice)
        pipe = _pipe(process.stdin).fileno()
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _LONGEST_LINE)
        os.set_blocking(pipe, False)
        with contextlib.suppress(BrokenPipeError):
            os.write(pipe, first)
        return process

    def _end(self, process: subprocess.Popen[bytes], *, ask: bool) -> int:
        """Wait until it has ended, with all that it started."""
        _pipe(process.stdin).close()
        if ask:
            _signal(process, signal.SIGTERM)
        ended = os.pidfd_open(process.pid)
        try:
            waiting = select.poll()
            waiting.register(ended, select.POLLIN)
            waiting.poll(self._stop_s * 1_000)
        finally:
            os.close(ended)
        _signal(process, signal.SIGKILL)
        return process.wait()


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """To all of its session. Its number is nobody else's as long as it is not waited for."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None  # both are asked for in _start
    return pipe
