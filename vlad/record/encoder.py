"""The recorder's first half: encodes what the daemon feeds, fills the ring, and sees what triggers."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from vlad.clock import NS_PER_S, Clock
from vlad.feed import Event, Item, Turn
from vlad.messages import Chunk, CompressedImage, Image, PointCloud, Sample
from vlad.record import encode
from vlad.record.chunks import ChunkBuilder
from vlad.record.encode import SampleEncoder
from vlad.record.ring import Ring
from vlad.record.schemas import CHUNK_TOPIC, COMMAND_TOPIC, EVENT_TOPIC, TICK_TOPIC
from vlad.record.trigger import FOREVER_NS, Trigger

log = logging.getLogger(__name__)

_CHUNK_NS = NS_PER_S // 4
_CHUNK_BYTES = 1024 * 1024
_JUMP_NS = NS_PER_S
_WRITTEN_NS = NS_PER_S
"""So long after its end a recording is surely finished."""
_PICTURES = (Image, CompressedImage, PointCloud)


class Encoder:
    """`take` each item, and call `turn` every few dozen milliseconds; at the end `close`."""

    def __init__(
        self, ring: Ring, trigger: Trigger, channels: Mapping[str, int], jpeg_quality: int, clock: Clock
    ) -> None:
        self.messages = 0
        self.failed = 0
        """Pictures that could not be encoded."""
        self.error = ""
        self.offset_ns = clock.wall_ns() - clock.now_ns()
        """From CLOCK_MONOTONIC to the wall clock, as it was when the ring began."""
        self._ring = ring
        self._trigger = trigger
        self._channels = channels
        self._clock = clock
        self._samples = SampleEncoder(jpeg_quality)
        self._builders = {False: ChunkBuilder(compress=True), True: ChunkBuilder(compress=False)}
        self._opened_ns = {False: 0, True: 0}
        self._sequence = 0

    def take(self, item: Item) -> None:
        """One thing that the daemon fed."""
        match item:
            case Sample():
                self._sample(item)
            case Turn():
                self._turn(item)
            case Chunk():
                data = encode.chunk(item, self.offset_ns)
                self._add(CHUNK_TOPIC, item.seq, item.ready_ns, item.stamp_ns, data)
            case _:
                self._event(item)

    def turn(self) -> None:
        """Hand over chunks that are old enough, and follow the wall clock."""
        now_ns = self._clock.now_ns()
        for pictures, opened_ns in self._opened_ns.items():
            if now_ns - opened_ns >= _CHUNK_NS:
                self._hand_over(pictures=pictures)
        self._follow_clock()

    def close(self) -> None:
        """Hand over all that is left."""
        for pictures in self._builders:
            self._hand_over(pictures=pictures)

    def _turn(self, turn: Turn) -> None:
        self._trigger.turn(turn)
        self._sequence += 1
        data = encode.tick(turn, turn.now_ns + self.offset_ns)
        self._add(TICK_TOPIC, self._sequence, turn.now_ns, turn.now_ns, data)
        if (sent := turn.command) is not None:
            data = encode.command(sent, self.offset_ns)
            self._add(COMMAND_TOPIC, sent.seq, sent.stamp_ns, sent.stamp_ns, data)

    def _event(self, event: Event) -> None:
        at_ns = event["monotonic_ns"]
        self._add(EVENT_TOPIC, event["id"], at_ns, at_ns, encode.event(event, at_ns + self.offset_ns))

    def _sample(self, sample: Sample) -> None:
        try:
            data = self._samples.encode(sample, self.offset_ns)
        except ValueError as error:
            self.failed += 1
            if str(error) != self.error:
                self.error = str(error)
                log.warning("the recorder leaves out pictures of %s: %s", sample.topic, error)
            return
        pictures = isinstance(sample.data, _PICTURES)
        self._add(sample.topic, sample.seq, sample.received_ns, sample.stamp_ns, data, pictures=pictures)

    def _add(
        self, topic: str, sequence: int, log_ns: int, stamp_ns: int, data: bytes, *, pictures: bool = False
    ) -> None:
        builder = self._builders[pictures]
        if not builder.size:
            self._opened_ns[pictures] = self._clock.now_ns()
        offset_ns = self.offset_ns
        builder.add(self._channels[topic], sequence, log_ns + offset_ns, stamp_ns + offset_ns, data)
        self.messages += 1
        if builder.size > _CHUNK_BYTES:
            self._hand_over(pictures=pictures)

    def _hand_over(self, *, pictures: bool) -> None:
        if (chunk := self._builders[pictures].take()) is not None:
            self._ring.add(chunk, pictures=pictures)

    def _follow_clock(self) -> None:
        """A wall clock that was set must not tear a recording apart.

        What is held from before is dropped. A recording that has an end keeps its time until then; one that
        has none goes on in a new file.
        """
        now_ns, wanted = self._clock.now_ns(), self._trigger.wanted
        offset_ns = self._clock.wall_ns() - now_ns
        if abs(offset_ns - self.offset_ns) <= _JUMP_NS:
            return
        endless = wanted is not None and wanted.until_ns == FOREVER_NS
        if endless or wanted is None or now_ns > wanted.until_ns + _WRITTEN_NS:
            self.close()
            if not endless:
                self._ring.clear()
            self.offset_ns = offset_ns
