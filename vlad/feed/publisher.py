"""The daemon's side of the feed: it notes what there is to send, and sends it when a tick's command is out.

What nobody subscribes to is not even noted. To wake libzmq's thread, and the other process, costs more than
all the rest: but for pictures that is done 20 times a second.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import msgpack
import zmq

from vlad.clock import NS_PER_S, Clock, Tick
from vlad.curve import bind
from vlad.feed.items import (
    CHUNK,
    EVENT,
    FEED,
    FEED_QUEUE,
    FEED_SOCKET,
    PICTURE,
    PICTURE_QUEUE,
    PICTURES,
    PICTURES_SOCKET,
    SENSOR,
    TICK,
    Event,
    chunk_row,
    turn_row,
)
from vlad.jsontext import to_json
from vlad.messages import Chunk, Command, Sample
from vlad.wire.fields import Buffer

if TYPE_CHECKING:
    from vlad.safety.kernel import Verdict

_MOST_WAITING, _MOST_AT_ONCE, _MOST_PICTURES = 4_096, 256, 16
_PERIOD_NS = NS_PER_S // 20
_LOOK_EVERY = 10
_MOST_NEWS, _NEWS_BYTES = 64, 4_096
_READABLE = int(zmq.POLLIN)
_NOW, _MORE = int(zmq.NOBLOCK), int(zmq.NOBLOCK | zmq.SNDMORE)

Socket: TypeAlias = "zmq.Socket[bytes]"
Frame: TypeAlias = "bytes | zmq.Frame"
Row: TypeAlias = tuple[Any, ...]


class _Outlet:
    """One of the two sockets, and what of it is subscribed to."""

    def __init__(self, context: zmq.Context[Socket], path: Path, most: int) -> None:
        """`most` messages wait for a process that is slow. OSError where the socket cannot be made."""
        self._prefixes: set[bytes] = set()
        self.socket = context.socket(zmq.XPUB)
        self.socket.linger = 0
        self.socket.sndhwm = most
        self.socket.maxmsgsize = _NEWS_BYTES
        bind(self.socket, f"ipc://{path}")

    def look(self) -> None:
        """Take note of who has come or gone. A process that ends takes its subscriptions with it."""
        for _ in range(_MOST_NEWS):
            # Reading EVENTS makes libzmq take note of new subscribers now; a mere recv may overlook them.
            if not int(self.socket.getsockopt(zmq.EVENTS)) & _READABLE:
                return
            news = self.socket.recv_multipart(zmq.NOBLOCK)
            if len(news) == 1 and news[0][:1] == b"\x01":
                self._prefixes.add(news[0][1:])
            elif len(news) == 1:
                self._prefixes.discard(news[0][1:])

    def is_wanted(self, name: bytes) -> bool:
        """Whether somebody subscribes to messages that begin with this."""
        return name.startswith(tuple(self._prefixes))


class Feed:
    """The daemon's side; all of it belongs to the loop's thread.

    `wanted`: somebody listens to feed.sock. `shown` has the topics of the pictures that somebody looks at.
    `dropped` counts what never got to a socket, because too much waited for the next turn.
    """

    def __init__(self, run_dir: Path, signals: Mapping[str, str], picture_hz: float, clock: Clock) -> None:
        """`signals`: topic and type. OSError where a socket cannot be made."""
        self.dropped = 0
        self.wanted = False
        self.shown: frozenset[str] = frozenset()
        self._clock = clock
        self._period_ns = round(NS_PER_S / picture_hz)
        self._due_ns = {topic: 0 for topic, kind in signals.items() if kind in PICTURES}
        self._rows: list[Row] = []
        self._pictures: list[tuple[Frame, ...]] = []
        self._fed = self._pictured = self._turns = self._sent_ns = 0
        self._pack = msgpack.Packer(unicode_errors="replace").pack
        # A context, and so a thread, of its own: no megabyte of a picture is written before a command.
        self._context: zmq.Context[Socket] = zmq.Context()
        try:
            self._feed = _Outlet(self._context, run_dir / FEED_SOCKET, FEED_QUEUE)
            most = 2 * len(self._due_ns) + PICTURE_QUEUE
            self._show = _Outlet(self._context, run_dir / PICTURES_SOCKET, most)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._context.destroy(linger=0)

    def sensor(self, sample: Sample, frames: Sequence[Buffer]) -> None:
        """A good sample, with the frames that it was in."""
        if sample.topic in self._due_ns:
            if sample.topic in self.shown and not self._is_too_soon(sample):
                self._picture(sample, frames)
        elif self.wanted:
            self._put((SENSOR, frames[0], sample.received_ns, *frames[1:]))

    def chunk(self, made: Chunk) -> None:
        """An action chunk that the policy made."""
        if self.wanted:
            self._put((CHUNK, *chunk_row(made)))

    def event(self, event: Event) -> None:
        """An event, as the event log tells it to its subscribers."""
        if self.wanted:
            self._put((EVENT, to_json(event)))

    def turn(self, tick: Tick, verdict: Verdict, command: Command | None, task: str) -> None:
        """One turn of the safety tick, whose command is out: the time to send what waits."""
        self._turns += 1
        if self._turns % _LOOK_EVERY == 0:
            self._look()
        if self.wanted:
            now_ns = self._clock.now_ns()
            row = turn_row(now_ns, tick, verdict, command, task)
            self._put((TICK, *row, self._fed, self._pictured))
            if now_ns - self._sent_ns >= _PERIOD_NS or len(self._rows) >= _MOST_AT_ONCE:
                self._sent_ns = now_ns
                self._send_rows()
        if self._pictures:
            self._send_pictures()

    def _look(self) -> None:
        """Who listens now."""
        self._feed.look()
        self._show.look()
        self.wanted = self._feed.is_wanted(FEED)
        if not self.wanted:
            self._rows.clear()
        looked_at = (topic for topic in self._due_ns if self._show.is_wanted(PICTURE + topic.encode()))
        self.shown = frozenset(looked_at)

    def _put(self, row: Row) -> None:
        self._fed += 1
        if len(self._rows) < _MOST_WAITING:
            self._rows.append(row)
        else:
            self.dropped += 1

    def _send_rows(self) -> None:
        """All that waits, in one message; after a flood the first part of it."""
        self._feed.socket.send(FEED, _MORE)
        self._feed.socket.send(self._pack(self._rows[:_MOST_AT_ONCE]), _NOW)
        del self._rows[:_MOST_AT_ONCE]

    def _is_too_soon(self, sample: Sample) -> bool:
        """Half a period of slack, made up for later: a jittering camera at the limit loses no frame."""
        due_ns = self._due_ns[sample.topic]
        if sample.received_ns < due_ns - self._period_ns // 2:
            return True
        self._due_ns[sample.topic] = max(due_ns, sample.received_ns) + self._period_ns
        return False

    def _picture(self, sample: Sample, frames: Sequence[Buffer]) -> None:
        self._pictured += 1
        if len(self._pictures) < _MOST_PICTURES:
            received = sample.received_ns.to_bytes(8, "little")
            self._pictures.append((PICTURE + frames[0], received, *map(_frame_of, frames[1:])))
        else:
            self.dropped += 1

    def _send_pictures(self) -> None:
        for *heads, payload in self._pictures:
            for head in heads:
                self._show.socket.send(head, _MORE)
            self._show.socket.send(payload, _NOW, copy=type(payload) is bytes)
        self._pictures.clear()


def _frame_of(part: Buffer) -> Frame:
    """What was received without a copy is sent without one: libzmq counts who has it."""
    if type(part) is bytes:
        return part
    owner = part.obj if isinstance(part, memoryview) else None
    return owner if isinstance(owner, zmq.Frame) else bytes(part)
