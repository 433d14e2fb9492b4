"""Telling systemd how the daemon is: READY, STATUS, WATCHDOG, RELOADING, STOPPING (sd_notify(3))."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

_NS_PER_US = 1_000
_US_PER_S = 1_000_000


class Notifier:
    """Sends datagrams to the socket that systemd names in the environment; without one it does nothing.

    A send never blocks: a full socket loses a message, which systemd survives, and the loop is not held.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        self._socket: socket.socket | None = None
        if address:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            self._address = "\0" + address[1:] if address.startswith("@") else address
        watched = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        timeout_us = int(environment.get("WATCHDOG_USEC", "0") or 0) if watched else 0
        self._period_ns = timeout_us * _NS_PER_US // 2
        self._fed_ns = 0

    def ready(self, status: str) -> None:
        """It has started, or has read its settings again."""
        self._send(f"READY=1\nSTATUS={status}")

    def starting(self, status: str, takes_s: float) -> None:
        """It is not ready yet, and lives: systemd waits for so long from now on at least."""
        self._send(f"EXTEND_TIMEOUT_USEC={round(takes_s * _US_PER_S)}\nSTATUS={status}")

    def reloading(self, now_ns: int) -> None:
        """It reads its settings again; `ready` ends that. `now_ns` is of CLOCK_MONOTONIC."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={now_ns // _NS_PER_US}")

    def status(self, text: str) -> None:
        self._send(f"STATUS={text}")

    def stopping(self, status: str) -> None:
        self._send(f"STOPPING=1\nSTATUS={status}")

    def feed_watchdog(self, now_ns: int) -> None:
        """Called by every safety tick; sends at half of the timeout, as sd_watchdog_enabled(3) advises."""
        if self._period_ns and now_ns - self._fed_ns >= self._period_ns:
            self._fed_ns = now_ns
            self._send("WATCHDOG=1")

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, message: str) -> None:
        if self._socket is None:
            return
        try:
            self._socket.sendto(message.encode(), self._address)
        except OSError:
            # systemd is restarting or its queue is full; the next message will get through.
            return
