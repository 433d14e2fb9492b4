"""The other processes' side of the feed."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import msgpack
import zmq

from vlad.curve import connect
from vlad.feed.items import (
    CHUNK,
    EVENT,
    FEED_QUEUE,
    FEED_SOCKET,
    PICTURE,
    PICTURE_QUEUE,
    PICTURES_SOCKET,
    SENSOR,
    TICK,
    Event,
    Item,
    Turn,
    chunk_of,
    turn_of,
)
from vlad.wire import decode_sample
from vlad.wire.fields import BadMessage, Buffer

_COPIED_BYTES = 4_096
_AT_ONCE = 100
_READABLE = int(zmq.POLLIN)
_NONSENSE = (BadMessage, ValueError, TypeError, LookupError, msgpack.UnpackException)

Socket: TypeAlias = "zmq.Socket[bytes]"


class FeedReader:
    """What the daemon feeds, decoded. It finds a daemon that is started later, too.

    `rows` and `pictures` count what came of each sort, `bad` what of it makes no sense, as that of a daemon
    of another version. `lost` are rows that were sent and never came, for a reader of all rows; `behind` is
    how many pictures more were sent than came, in the eyes of a reader of all pictures: those under way too.
    """

    def __init__(self, run_dir: Path, topics: Sequence[str] = ("",)) -> None:
        """`topics`: "feed" is all but pictures, "sensor/camera" the pictures of `camera`, "" everything."""
        self.rows = self.pictures = self.bad = self.lost = self.behind = 0
        self._missing: int | None = None
        self._shown = 0
        self._context: zmq.Context[Socket] = zmq.Context()
        self._feed = self._subscribed(run_dir / FEED_SOCKET, topics, FEED_QUEUE)
        self._show = self._subscribed(run_dir / PICTURES_SOCKET, topics, PICTURE_QUEUE)
        self._poller = zmq.Poller()
        for socket in (self._feed, self._show):
            self._poller.register(socket, zmq.POLLIN)

    def close(self) -> None:
        self._context.destroy(linger=0)

    def wait(self, timeout_s: float) -> bool:
        """Until something is there; False: nothing came within this time."""
        return bool(self._poller.poll(round(timeout_s * 1_000)))

    def read(self) -> list[Item]:
        """Some of what is there, pictures last; nothing where nothing is left. It does not wait."""
        return list(self.items())

    def items(self) -> Iterator[Item]:
        """What `read` gives, one after the other: all that waits after a jam would be much memory at once."""
        offset_ns = time.time_ns() - time.monotonic_ns()
        for _ in range(_AT_ONCE):
            if (frames := _received(self._feed)) is None:
                break
            for row in self._unpacked(frames):
                yield from self._understood(row, offset_ns)
                self.rows += 1
        for _ in range(_AT_ONCE):
            if (frames := _received(self._show)) is None:
                break
            self.pictures += 1
            received_ns = int.from_bytes(b"".join(frames[1:2]), "little")
            row = [SENSOR, frames[0][len(PICTURE) :], received_ns, *frames[2:]]
            yield from self._understood(row, offset_ns)
        self.behind = self._shown - self.pictures

    def _unpacked(self, frames: list[Buffer]) -> list[Any]:
        try:
            rows = msgpack.unpackb(frames[1])
            return rows if isinstance(rows, list) else [rows]
        except _NONSENSE:
            self.bad += 1
            return []

    def _understood(self, row: Any, offset_ns: int) -> tuple[Item, ...]:
        """One, or none where it makes no sense."""
        try:
            item = _item(row, offset_ns)
        except _NONSENSE:
            self.bad += 1
            return ()
        if isinstance(item, Turn):
            self._compare(item)
        return (item,)

    def _compare(self, turn: Turn) -> None:
        """With what the daemon has sent until then; what it had sent before the first of them is no loss."""
        missing = turn.fed - self.rows
        if self._missing is None or missing < self._missing:
            self._missing = missing
        self.lost = missing - self._missing
        self._shown = turn.shown

    def _subscribed(self, path: Path, topics: Sequence[str], most: int) -> Socket:
        socket = self._context.socket(zmq.SUB)
        socket.rcvhwm = most
        for topic in topics:
            socket.subscribe(topic)
        connect(socket, f"ipc://{path}", None)
        return socket


def _received(socket: Socket) -> list[Buffer] | None:
    """One message, not copied where it is large; None: nothing is there."""
    if not int(socket.getsockopt(zmq.EVENTS)) & _READABLE:
        return None
    frames = socket.recv_multipart(zmq.NOBLOCK, copy=False)
    return [frame.bytes if len(frame) < _COPIED_BYTES else frame.buffer.toreadonly() for frame in frames]


def _item(row: Any, offset_ns: int) -> Item:
    """What a row says; `offset_ns` leads from CLOCK_MONOTONIC to the wall clock."""
    kind, *values = row
    if kind == SENSOR:
        topic, received_ns, *frames = values
        return decode_sample([topic, *frames], received_ns, received_ns + offset_ns)
    if kind == TICK:
        return turn_of(values)
    if kind == CHUNK:
        return chunk_of(values)
    if kind == EVENT:
        event: Event = json.loads(values[0])
        return event
    raise ValueError(f"a row of the kind {kind!r:.40}")
