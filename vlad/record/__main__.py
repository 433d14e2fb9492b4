"""`python -m vlad.record`: the recorder, which the daemon starts beside it.

Its first line on stdin says what to do, later ones are an operator's orders; on stdout it says once a second
how it is. When its stdin ends without the order to end, the daemon is gone: what led to that is kept, too.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import cv2

from vlad.clock import SystemClock
from vlad.jsontext import to_json
from vlad.record.orders import Order, Setup
from vlad.record.recorder import Recorder

_STDIN, _STDOUT = 0, 1
_PERIOD_MS = 50
_READ_BYTES = 65_536
_LONGEST_END_S = 2.0
"""A disk that does not answer holds up nobody: what is on its way to it is mended at the next start."""
_OOM_SCORE = "500"
"""Where memory runs out, the kernel ends this process before the daemon."""


class Lines:
    """What comes on stdin, line by line. `ended`: nothing will come any more."""

    def __init__(self) -> None:
        self.ended = False
        self._rest = b""
        self._poll = select.poll()
        self._poll.register(_STDIN, select.POLLIN)

    def wait(self, timeout_ms: int | None) -> list[bytes]:
        """Whole lines that are there, or come within this time; None: however long it takes."""
        if self._poll.poll(timeout_ms):
            read = os.read(_STDIN, _READ_BYTES)
            self.ended = not read
            *lines, self._rest = (self._rest + read).split(b"\n")
            return lines
        return []


def main() -> int:
    """Until stdin ends; the exit status."""
    _settle()
    lines, waiting = Lines(), list[bytes]()
    while not waiting:
        waiting = lines.wait(None)
        if lines.ended:
            return 0
    recorder = Recorder(Setup.read(waiting.pop(0)), SystemClock(), _say)
    ending = False
    while not (ending or lines.ended):
        for order in map(Order.read, waiting):
            if order.what == "end":
                ending = True
            else:
                recorder.obey(order)
        recorder.turn()
        if not recorder.healthy:
            return 1
        waiting = lines.wait(_PERIOD_MS)
    overdue = threading.Timer(_LONGEST_END_S, os._exit, (1,))
    overdue.daemon = True
    overdue.start()
    recorder.close(crashed=not ending)
    return 0


def _settle() -> None:
    """systemd tells all processes of a service to end at once; the daemon's last second is wanted, too."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGABRT):
        signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE)
    logging.basicConfig(format="%(message)s")
    cv2.setNumThreads(1)
    os.set_blocking(_STDOUT, False)


def _say(row: dict[str, Any]) -> None:
    """A line to the daemon, which never waits: a daemon that hangs hears the next ones."""
    with contextlib.suppress(BlockingIOError, BrokenPipeError):
        os.write(_STDOUT, to_json(row).encode() + b"\n")


if __name__ == "__main__":
    sys.exit(main())
