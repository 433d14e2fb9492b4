"""The journal of systemd: a message with fields, through systemd-python or its own datagram protocol.

Protocol: systemd.io/JOURNAL_NATIVE_PROTOCOL. A field is `NAME=value` and a newline; where the value has
newlines of its own: `NAME`, a newline, the length as 64 bits (little-endian), the value, a newline.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import socket
import struct
import sys
from collections.abc import Callable, Mapping

_ADDRESS = "/run/systemd/journal/socket"
_LONGEST_VALUE = 32 * 1024
_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))

Send = Callable[[Mapping[str, str]], None]


def stderr_is_journal() -> bool:
    """Whether what this process writes to stderr ends in the journal (systemd.exec(5), JOURNAL_STREAM)."""
    told = os.environ.get("JOURNAL_STREAM", "")
    with contextlib.suppress(OSError, ValueError):
        status = os.fstat(sys.stderr.fileno())
        return told == f"{status.st_dev}:{status.st_ino}"
    return False


def encode(fields: Mapping[str, str]) -> bytes:
    """One message as the journal reads it; a value is cut where a datagram could not hold it."""
    parts = []
    for name, value in fields.items():
        data = value.encode(errors="replace")[:_LONGEST_VALUE]
        if b"\n" in data:
            parts.append(name.encode() + b"\n" + struct.pack("<Q", len(data)) + data + b"\n")
        else:
            parts.append(name.encode() + b"=" + data + b"\n")
    return b"".join(parts)


def sender(address: str = _ADDRESS) -> Send:
    """systemd-python's where it is installed, else our own. OSError where the journal takes nothing."""
    try:
        journal = importlib.import_module("systemd.journal")
    except ImportError:
        speaker = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)

        def send(fields: Mapping[str, str]) -> None:
            speaker.sendto(encode(fields), address)

        return send
    return lambda fields: journal.sendv(*(f"{name}={value}" for name, value in fields.items()))


class JournalHandler(logging.Handler):
    """`extra={"fields": {...}}` of a log call becomes fields of the message. Blocks: call it in a thread."""

    def __init__(self, send: Send | None = None) -> None:
        super().__init__()
        self._send = send or sender()

    def emit(self, record: logging.LogRecord) -> None:
        """Write it to the journal; as a line to stderr where that fails."""
        fields = {
            "MESSAGE": self.format(record),
            "PRIORITY": str(next((number for least, number in _PRIORITIES if record.levelno >= least), 7)),
            "SYSLOG_IDENTIFIER": os.path.basename(sys.argv[0]),
            "LOGGER": record.name,
            "THREAD_NAME": record.threadName or "",
            "CODE_FILE": record.pathname,
            "CODE_LINE": str(record.lineno),
            "CODE_FUNC": record.funcName or "",
            **getattr(record, "fields", {}),
        }
        try:
            self._send(fields)
        except OSError as error:
            sys.stderr.write(f"{fields['MESSAGE']} (not in the journal: {error})\n")
