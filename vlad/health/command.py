"""Alerts by a command: it is run once for each, with JSON on its standard input."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess

from vlad.health.outlets import Deliver, DeliveryError


def command(words: tuple[str, ...], timeout_s: float) -> Deliver:
    """Run a program with the message on its standard input. It is not run twice for one message."""

    def deliver(message: str) -> None:
        try:
            process = subprocess.Popen(
                words, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True
            )
        except OSError as error:
            raise DeliveryError(f"{words[0]}: {error.strerror}", again=False) from None
        try:
            process.communicate(message.encode(), timeout_s)
        except subprocess.TimeoutExpired:
            _kill(process)
            text = f"{words[0]}: did not end within {timeout_s:g} s, and was killed"
            raise DeliveryError(text, again=False) from None
        if process.returncode:
            raise DeliveryError(f"{words[0]}: ended with status {process.returncode}", again=False)

    return deliver


def _kill(process: subprocess.Popen[bytes]) -> None:
    """With all that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
