"""The daemon's ear for the guard: its newest report, and a wake-up where it stops the robot."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgpack
import zmq

from vlad.clock import Clock
from vlad.curve import connect
from vlad.safety.view import GuardReport

_TOPIC = b"guard"
_VERSION = 1
_STATES: dict[object, Literal["watching", "stopping", "estop"]] = {
    "watching": "watching",
    "stopping": "stopping",
    "estop": "estop",
}
_QUEUE = 64
_MAX_MESSAGE_BYTES = 128 * 1024
_MOST_AT_ONCE = 64
_OVERDUE_NS = 30_000_000
"""The guard speaks every 20 ms."""
_READABLE = int(zmq.POLLIN)


class GuardLink:
    """Hears RUN/guard.sock. `on_stop` is called on the loop thread when the guard begins to stop the robot.

    What is no report is counted in `bad` and changes nothing: the guard that sends nothing else falls silent.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        run_dir: Path,
        clock: Clock,
        on_stop: Callable[[], None],
    ) -> None:
        self.bad = 0
        self._report: GuardReport | None = None
        self._clock = clock
        self._on_stop = on_stop
        self._loop: asyncio.AbstractEventLoop | None = None
        self._socket = context.socket(zmq.SUB)
        self._socket.rcvhwm = _QUEUE
        self._socket.maxmsgsize = _MAX_MESSAGE_BYTES
        self._socket.subscribe(_TOPIC)
        connect(self._socket, f"ipc://{run_dir}/guard.sock", None)

    def start(self) -> None:
        """Listen from now on, on the running loop."""
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket.fileno(), self._read)
        self._read()

    def close(self) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.remove_reader(self._socket.fileno())
        self._loop = None
        self._socket.close()

    def newest(self) -> GuardReport | None:
        """The newest report; None: there never was one.

        Where the next one is overdue it looks whether that has come: a stall of the loop must not look like
        a silent guard.
        """
        report = self._report
        if report is None or self._clock.now_ns() - report.stamp_ns > _OVERDUE_NS:
            self._read()
        return self._report

    def _read(self) -> None:
        """Take what has come, but not more than it can at once: who floods the socket holds nobody up."""
        for _ in range(_MOST_AT_ONCE):
            if not int(self._socket.getsockopt(zmq.EVENTS)) & _READABLE:
                break
            self._take(self._socket.recv_multipart(zmq.NOBLOCK))

    def _take(self, frames: list[bytes]) -> None:
        report = _report_in(frames, self._clock.now_ns())
        if report is None:
            self.bad += 1
            return
        begins = report.state != "watching" and (self._report is None or self._report.state != report.state)
        self._report = report
        if begins:
            self._on_stop()


def _report_in(frames: list[bytes], now_ns: int) -> GuardReport | None:
    """The report in `[b"guard", header]`, as of its stamp; None: it is none, or from the future."""
    if len(frames) != 2 or frames[0] != _TOPIC:
        return None
    try:
        header = msgpack.unpackb(frames[1])
    except (ValueError, msgpack.UnpackException):
        return None
    if type(header) is not dict or header.get("v") != _VERSION:
        return None
    stamp_ns, word, reason = header.get("stamp_ns"), header.get("state"), header.get("reason")
    if type(stamp_ns) is not int or not 0 <= stamp_ns <= now_ns or type(reason) is not str:
        return None
    state = _STATES.get(word) if type(word) is str else None
    return None if state is None else GuardReport(stamp_ns, state, reason)
