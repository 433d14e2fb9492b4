"""Alerts by a command: it is run once for each, with JSON on its standard input."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess

from vlad.health.outlets import DeliveryError


class Command:
    """A program and its arguments. It is not run twice for one message, and never by a shell."""

    def __init__(self, words: tuple[str, ...], timeout_s: float) -> None:
        self._words = words
        self._timeout_s = timeout_s
        self._running: subprocess.Popen[bytes] | None = None

    def deliver(self, message: str) -> None:
        """Run it until it ends, or is killed after the time-out. What it says on stderr is the daemon's."""
        name = self._words[0]
        try:
            process = subprocess.Popen(
                self._words, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True
            )
        except OSError as error:
            raise DeliveryError(f"{name}: {error.strerror}", again=False) from None
        self._running = process
        try:
            process.communicate(message.encode(), self._timeout_s)
        except subprocess.TimeoutExpired:
            self.cancel()
            process.wait()
            text = f"{name}: did not end within {self._timeout_s:g} s, and was killed"
            raise DeliveryError(text, again=False) from None
        if process.returncode:
            raise DeliveryError(f"{name}: ended with status {process.returncode}", again=False)

    def cancel(self) -> None:
        """Kill it, with all that it started. From any thread."""
        process = self._running
        if process is not None and process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
