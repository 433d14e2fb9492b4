"""ZeroMQ to the newest sample of each signal. Bad input is counted and logged, and touches nothing else.

libzmq's file descriptor is edge-triggered: it fires once for whatever has come, so the socket is read until
it says that nothing is left, in portions, lest the loop be held up. While the robot is at rest nobody needs
a message sooner than the next tick: waking up for each one would take a quarter of what an idle daemon takes.
"""

from __future__ import annotations

import asyncio
import logging
from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Callable, Sequence

import zmq

from vlad.clock import NS_PER_S, Clock
from vlad.config import Settings
from vlad.curve import Gate, bind, bind_curve
from vlad.feed import Feed
from vlad.messages import Sample
from vlad.queues import Latest
from vlad.wire import decode_sample, encode_sample, topic_of
from vlad.wire.fields import BadMessage, Buffer, Reason

log = logging.getLogger(__name__)

_PORTION_NS = 100_000
_READABLE = int(zmq.POLLIN)
_RECEIVE_QUEUE = 16
"""Messages that libzmq keeps for each driver while the loop is busy; the rest waits in kernel and driver."""
_COPIED_BYTES = 4096
"""A smaller payload is copied: a view on it would keep libzmq's whole receive buffer alive."""
_RESTART_SEQ = 100
_RESTART_SILENCE_NS = NS_PER_S
_LOG_PERIOD_NS = NS_PER_S
_RATE_TIMES = 256
_OFF_CLOCK = (Reason.STAMP_FUTURE, Reason.STAMP_OLD)


class TopicCounters:
    """What came on one topic: good ones, bad ones by reason, numbers missing in the sequence.

    `refused` is the sum of `bad`; `off_clock` are those of them whose stamp cannot be.
    """

    __slots__ = ("_last", "_times_ns", "bad", "gaps", "off_clock", "received", "refused")

    def __init__(self) -> None:
        self.received = 0
        self.gaps = 0
        self.refused = 0
        self.off_clock = 0
        self.bad: Counter[str] = Counter()
        self._times_ns: deque[int] = deque(maxlen=_RATE_TIMES)
        self._last: Sample | None = None

    def rate_hz(self, now_ns: int) -> float:
        """Good samples a second over the last second; of a slow signal over its last three."""
        times_ns = self._times_ns
        recent = len(times_ns) - bisect_right(times_ns, now_ns - NS_PER_S)
        if recent > 2:
            return (recent - 1) * NS_PER_S / max(1, times_ns[-1] - times_ns[-recent])
        slow = min(len(times_ns), 3)
        if slow < 2:
            return 0.0
        measured_ns = times_ns[-1] - times_ns[-slow]
        at_least_ns = (now_ns - times_ns[-slow]) * (slow - 1) // slow
        return (slow - 1) * NS_PER_S / max(1, measured_ns, at_least_ns)

    def admit(self, sample: Sample) -> None:
        """Count a sample that follows the one before; BadMessage for one that does not.

        The stamp never goes back. The sequence only goes back when the driver was started anew: the stamp
        is newer, and the number is below 100 or nothing good has come for a second.
        """
        last = self._last
        if last is not None:
            self._follow(last, sample)
        self._last = sample
        self.received += 1
        self._times_ns.append(sample.received_ns)

    def refuse(self, reason: Reason) -> None:
        """Count a bad message."""
        self.bad[reason.value] += 1
        self.refused += 1
        self.off_clock += reason in _OFF_CLOCK

    def _follow(self, last: Sample, sample: Sample) -> None:
        if sample.stamp_ns < last.stamp_ns:
            raise BadMessage(Reason.STAMP_OLD, f"{(last.stamp_ns - sample.stamp_ns) / 1e9:.3f} s back")
        if sample.seq > last.seq:
            self.gaps += sample.seq - last.seq - 1
            return
        silent = sample.received_ns - last.received_ns > _RESTART_SILENCE_NS
        restarted = silent or (sample.seq < last.seq and sample.seq < _RESTART_SEQ)
        if not restarted or sample.stamp_ns == last.stamp_ns:
            raise BadMessage(Reason.SEQ, f"{sample.seq} after {last.seq}")


class Ingest:
    """Owns the sensors' socket. `latest` has a slot for each signal of the settings, `counters` its counts.

    `unknown` counts, by reason, what came on no known topic. `feed` is given each good message as it came;
    `on_sample` is called for each good sample after it is in its slot; it is on the loop thread and must be
    quick.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        settings: Settings,
        clock: Clock,
        on_sample: Callable[[Sample], None],
        feed: Feed | None = None,
    ) -> None:
        self.latest: dict[str, Latest[Sample]] = {topic: Latest() for topic in settings.signals}
        self.counters = {topic: TopicCounters() for topic in settings.signals}
        self.unknown: Counter[str] = Counter()
        self._types = {topic.encode(): (topic, signal.type) for topic, signal in settings.signals.items()}
        self._max_bytes = settings.wire.max_message_bytes
        self._clock = clock
        self._on_sample = on_sample
        self._feed = feed
        self._logged_ns: dict[tuple[str, Reason], int] = {}
        self._gate: Gate | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._more_to_read = False
        self._at_once = True
        self._socket = context.socket(zmq.SUB)
        try:
            self._bind(context, settings)
        except BaseException:
            self.close()
            raise

    def _bind(self, context: zmq.Context[zmq.Socket[bytes]], settings: Settings) -> None:
        socket, wire = self._socket, settings.wire
        socket.linger = 0
        socket.rcvhwm = _RECEIVE_QUEUE
        # libzmq hangs up on a sender beyond this, uncounted; up to it, a message too large is counted below.
        socket.maxmsgsize = 2 * wire.max_message_bytes
        socket.subscribe(b"")
        bind(socket, f"ipc://{settings.paths.run_dir}/sensors.sock")
        if wire.curve_clients is not None and (wire.sensors_tcp or wire.commands_tcp):
            self._gate = Gate(context, wire.curve_clients)
        if wire.sensors_tcp and wire.curve_server_secret is not None:
            bind_curve(socket, wire.sensors_tcp, wire.curve_server_secret)

    def start(self) -> None:
        """Read from now on, on the running loop."""
        self._loop = asyncio.get_running_loop()
        if self._gate is not None:
            self._gate.start()
        self._loop.add_reader(self._socket.fileno(), self._on_readable)
        self._on_readable()

    def listen(self, *, at_once: bool) -> None:
        """Read each message as it comes, or only when `catch_up` is called."""
        if at_once is self._at_once or self._loop is None:
            return
        self._at_once = at_once
        if at_once:
            self._loop.add_reader(self._socket.fileno(), self._on_readable)
            self._on_readable()
        else:
            self._loop.remove_reader(self._socket.fileno())

    def catch_up(self) -> None:
        """Read what has come, unless each message is read as it comes."""
        if not self._at_once:
            self._on_readable()

    def close(self) -> None:
        """Stop reading; the newest samples stay in their slots."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.remove_reader(self._socket.fileno())
        self._loop = None
        if self._gate is not None:
            self._gate.close()
        self._socket.close()

    def put(self, sample: Sample) -> None:
        """Take a sample that was made inside the daemon, such as the operator's instruction."""
        counters = self.counters[sample.topic]
        counters.received += 1
        frames = encode_sample(sample.topic, sample.seq, sample.stamp_ns, sample.data, sample.frame_id)
        self._deliver(sample, frames)

    def _deliver(self, sample: Sample, frames: Sequence[Buffer]) -> None:
        self.latest[sample.topic].put(sample)
        self._on_sample(sample)
        if self._feed is not None:
            self._feed.sensor(sample, frames)

    def _on_readable(self) -> None:
        if not self._more_to_read:
            self._read()

    def _read(self) -> None:
        """Read a portion; if more is left, come again after the loop has served the others."""
        self._more_to_read = False
        if self._loop is None:
            return
        until_ns = self._clock.now_ns() + _PORTION_NS
        while int(self._socket.getsockopt(zmq.EVENTS)) & _READABLE:
            now_ns = self._clock.now_ns()
            frames, size = self._receive()
            self._take(frames, size, now_ns)
            if now_ns > until_ns:
                self._more_to_read = True
                self._loop.call_soon(self._read)
                return

    def _receive(self) -> tuple[list[Buffer], int]:
        """One message and its size [bytes]; of more than three frames the first four, no more are needed."""
        socket = self._socket
        frames: list[Buffer] = [socket.recv(zmq.NOBLOCK)]
        size = len(frames[0])
        more = socket.getsockopt(zmq.RCVMORE)
        while more:
            frame = socket.recv(zmq.NOBLOCK, copy=False)
            length = len(frame)
            size += length
            if len(frames) < 4:
                frames.append(frame.bytes if length < _COPIED_BYTES else frame.buffer.toreadonly())
            more = frame.more
        return frames, size

    def _take(self, frames: list[Buffer], size: int, now_ns: int) -> None:
        known = self._types.get(bytes(frames[0]))
        try:
            if known is None:
                raise BadMessage(Reason.UNKNOWN_TOPIC, f"{topic_of(frames[0])!r} is not in the settings")
            if size > self._max_bytes:
                raise BadMessage(Reason.TOO_LARGE, f"{size} bytes; wire.max_message_bytes allows less")
            sample = decode_sample(frames, now_ns, self._clock.wall_ns(), known[1])
            self.counters[known[0]].admit(sample)
        except BadMessage as bad:
            self._refuse(known[0] if known else None, bad, now_ns)
            return
        self._deliver(sample, frames)

    def _refuse(self, topic: str | None, bad: BadMessage, now_ns: int) -> None:
        """Count a bad message, and log the first of its topic and reason in every second."""
        if topic is None:
            counts = self.unknown
            counts[bad.reason.value] += 1
        else:
            counts = self.counters[topic].bad
            self.counters[topic].refuse(bad.reason)
        key = (topic or "", bad.reason)
        if now_ns - self._logged_ns.get(key, -_LOG_PERIOD_NS) >= _LOG_PERIOD_NS:
            self._logged_ns[key] = now_ns
            where = f"signal {topic}" if topic else "no signal"
            log.warning("%s: refused a message: %s (%d so far)", where, bad, counts[bad.reason.value])
