"""The e-stop latch on disk: a robot that was stopped by the e-stop stays so through a restart or power cut.

Unknown is unsafe: a file that cannot be read or understood counts as latched. No file: never pressed.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from pathlib import Path
from typing import Any

from vlad.clock import Clock
from vlad.files import write_durably
from vlad.jsontext import to_json
from vlad.queues import Latest

log = logging.getLogger(__name__)

_SCHEMA = 1
_RETRY_S = 0.5


def read_latch(path: Path) -> str | None:
    """What the file says: the reason of the latched e-stop, None where there is none."""
    try:
        state = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        return _unknown(path, str(error))
    match state:
        case {"schema": 1, "latched": False}:
            return None
        case {"schema": 1, "latched": True, "reason": str(reason)}:
            return reason
    return _unknown(path, "not a state that this version knows")


def _unknown(path: Path, why: str) -> str:
    return f"{path} cannot be read ({why}), so the e-stop counts as pressed; look after the robot, then reset"


class EStopLatch:
    """Mirrors the kernel's latch into `path`. `keep` belongs to the loop's thread and never blocks it.

    A thread of its own writes: a temporary file, fsync, rename, fsync of the folder. A failing disk is
    logged and tried again until it works.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self.problem = ""
        """Why the state is not on the disk just now; empty: it is."""
        self._path = path
        self._clock = clock
        self._kept = self.load()
        self._states: Latest[dict[str, Any]] = Latest()
        self._wakeup = os.eventfd(0, os.EFD_CLOEXEC)
        self._closing = threading.Event()
        self._writer = threading.Thread(target=self._run, name="latch", daemon=True)
        self._writer.start()

    def load(self) -> str | None:
        """What the file says: the reason of the latched e-stop, None where there is none."""
        return read_latch(self._path)

    def keep(self, reason: str | None) -> None:
        """Have the latch stored: latched for `reason`, or released. Free of cost while nothing changes."""
        if reason == self._kept or self._closing.is_set():
            return
        self._kept = reason
        state = {"schema": _SCHEMA, "latched": reason is not None, "reason": reason or ""}
        self._states.put({**state, "wall_ns": self._clock.wall_ns()})
        os.eventfd_write(self._wakeup, 1)

    def close(self, timeout_s: float = 2.0) -> None:
        """Store what is waiting, and end the thread; a disk that hangs is left after `timeout_s`."""
        if self._closing.is_set():
            return
        self._closing.set()
        os.eventfd_write(self._wakeup, 1)
        self._writer.join(timeout_s)
        if self._writer.is_alive():
            log.error("%s: the disk does not answer; the e-stop latch may not be stored", self._path)
        else:
            os.close(self._wakeup)

    def _run(self) -> None:
        waiting: dict[str, Any] | None = None
        while True:
            closing = self._closing.is_set()
            waiting = self._states.take() or waiting
            if waiting is not None and self._stored(waiting):
                waiting = None
            if closing:
                return
            if waiting is not None:
                self._closing.wait(_RETRY_S)
            else:
                os.eventfd_read(self._wakeup)

    def _stored(self, state: dict[str, Any]) -> bool:
        try:
            write_durably(self._path, to_json(state) + "\n")
        except OSError as error:
            problem = f"{self._path}: the e-stop latch cannot be stored ({error.strerror})"
            if problem != self.problem:
                log.error("%s; it would not survive a restart. Free space, or make it writable", problem)
                self.problem = problem
            return False
        self.problem = ""
        return True
