"""Logging that never holds up who logs: a bounded queue, and a thread that writes.

Under systemd a message goes to its journal with fields that `journalctl` can be asked for; elsewhere it is a
line on stderr.
"""

from __future__ import annotations

import copy
import logging
import os
import sys
import threading
import uuid
from collections.abc import Mapping
from typing import Any

from vlad.journald import JournalHandler, stderr_is_journal
from vlad.queues import DropOldest

_WAITING = 10_000
_CLOSE_S = 2.0
_PRIORITIES = {
    "SAFE": logging.INFO,
    "CAUTION": logging.INFO,
    "WARNING": logging.WARNING,
    "DANGER": logging.ERROR,
    "EMERGENCY": logging.CRITICAL,
}
_EVENTS = uuid.UUID("4c1f6c52-8d0b-4d8e-9a55-7f5a5d7b9e10")
_LOGGED_ALREADY = ("part_failed",)

log = logging.getLogger("vlad.events")


class Logging(logging.Handler):
    """Puts each record into the queue; a thread formats and writes it. When it is full the oldest is lost.

    Nothing here waits: the queue needs no lock, and a message is put together by the thread.
    """

    def __init__(self, target: logging.Handler) -> None:
        super().__init__()
        self._target = target
        self._waiting: DropOldest[logging.LogRecord] = DropOldest(_WAITING)
        self._wakeup = os.eventfd(0, os.EFD_CLOEXEC)
        self._closing = threading.Event()
        self._writer = threading.Thread(target=self._run, name="log", daemon=True)
        self._writer.start()

    def createLock(self) -> None:  # noqa: N802  # logging's own name
        """No lock: the loop must never wait for a thread that ranks below it."""
        self.lock = None

    @property
    def dropped(self) -> int:
        """Messages that were lost because too many were waiting."""
        return self._waiting.dropped

    def handle(self, record: logging.LogRecord) -> bool:
        """As the base class does it, without the lock."""
        self.emit(record)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        self._waiting.put(copy.copy(record))
        os.eventfd_write(self._wakeup, 1)

    def close(self) -> None:
        """Write what is waiting; a terminal that hangs is left after two seconds."""
        if not self._closing.is_set():
            logging.getLogger().removeHandler(self)
            self._closing.set()
            os.eventfd_write(self._wakeup, 1)
            self._writer.join(_CLOSE_S)
        super().close()

    def _run(self) -> None:
        told = 0
        while True:
            closing = self._closing.is_set()
            while (record := self._waiting.take()) is not None:
                self._target.handle(record)
            if (lost := self.dropped) > told:
                text = f"{lost - told} log messages were lost: they came faster than they could be written"
                self._target.handle(log.makeRecord(log.name, logging.WARNING, "", 0, text, (), None))
                told = lost
            if closing:
                return
            os.eventfd_read(self._wakeup)


def start_logging(level: str) -> Logging:
    """Log what is of `level` (debug, info, warning, error) or above, until the result is closed."""
    target: logging.Handler
    if stderr_is_journal():
        target = JournalHandler()
    else:
        target = logging.StreamHandler(sys.stderr)
        target.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    handler = Logging(target)
    logging.basicConfig(handlers=[handler])
    set_level(level)
    return handler


def set_level(level: str) -> None:
    """From now on."""
    logging.getLogger().setLevel(level.upper())


def message_id(kind: str) -> str:
    """Of every event of this kind, at any time and on any robot: for `journalctl MESSAGE_ID=`."""
    return uuid.uuid5(_EVENTS, kind).hex


def log_event(event: Mapping[str, Any]) -> None:
    """Have an event of the event log (vlad.record.events) in the log too, with fields to search for.

    It costs 0.1 ms: call it in a thread.
    """
    kind, data = event["kind"], event["data"]
    if kind in _LOGGED_ALREADY:
        return
    fields = {"MESSAGE_ID": message_id(kind), "EVENT": kind, "SEQ": str(event["id"]), "LEVEL": event["level"]}
    named = {"FAULT": data.get("fault"), "SIGNAL": data.get("subject"), "WHO": data.get("who")}
    fields |= {name: value for name, value in named.items() if isinstance(value, str)}
    log.log(_PRIORITIES[event["level"]], "%s: %s", kind, event["text"], extra={"fields": fields})
