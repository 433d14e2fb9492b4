"""What goes wrong with one topic: PX4's eight FAILURE_TYPEs, frames in and frames out, without any I/O.

ok            passed on untouched
off           nothing comes
stuck         a signal: the content of the last good message, under the sequence, stamp and clock of each new
              one. vlad's own: the last good message to the byte, for nothing on the way can seal another
garbage       random bytes of the same size in place of the header or of the payload, as the dice fall
wrong         a signal: well formed but false, by the table of wrong.py. vlad's own: one bit turned over
slow          every fifth message
delayed       each message 0.5 s later, stamped as it was
intermittent  0.3 s of off and 0.3 s of ok, in turn

After a kind has ended the topic is ok again; what was still held back is dropped: it would come out of order.
https://mavlink.io/en/messages/common.html#FAILURE_TYPE
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

import msgpack
import numpy as np
import zmq

from tools.injection.wrong import falsify
from vlad.clock import NS_PER_S
from vlad.wire import COMMAND_TOPIC, HEARTBEAT_TOPIC, decode_sample, encode_sample
from vlad.wire.fields import BadMessage, Buffer

Part: TypeAlias = Buffer | zmq.Frame
Message: TypeAlias = Sequence[Part]
"""Topic, header and perhaps a payload. What is passed on untouched is never looked into or copied."""

COMMANDS = (COMMAND_TOPIC.decode(), HEARTBEAT_TOPIC.decode())
"""The topics that come from vlad; all others are signals."""
DELAY_NS = NS_PER_S // 2
TURN_NS = 3 * NS_PER_S // 10
ONE_IN = 5


def raw(part: Part) -> bytes:
    return part.bytes if isinstance(part, zmq.Frame) else bytes(part)


class Kind(StrEnum):
    """PX4's FAILURE_TYPE."""

    OK = "ok"
    OFF = "off"
    STUCK = "stuck"
    GARBAGE = "garbage"
    WRONG = "wrong"
    SLOW = "slow"
    DELAYED = "delayed"
    INTERMITTENT = "intermittent"


@dataclass(frozen=True, slots=True)
class Spell:
    """A kind for a while, CLOCK_MONOTONIC [ns]; `until_ns` None: until it is cleared."""

    kind: Kind
    from_ns: int
    until_ns: int | None = None

    def holds(self, now_ns: int) -> bool:
        return self.from_ns <= now_ns and (self.until_ns is None or now_ns < self.until_ns)


_OK = Spell(Kind.OK, 0)


class Line:
    """One topic on its way through. `take` each message that comes, and send what it and `due` return."""

    def __init__(self, topic: str) -> None:
        self.spells: tuple[Spell, ...] = ()
        self.came = 0
        self.sent = 0
        self._topic = topic
        self._signal = topic not in COMMANDS
        self._spell = _OK
        self._counted = 0
        self._good: Message | None = None
        self._held: deque[tuple[int, Message]] = deque()
        # The same bytes at every run, others on every topic.
        self._random = np.random.default_rng(zlib.crc32(topic.encode()))
        self._make: dict[Kind, Callable[[Message, int], Message | None]] = {
            Kind.OFF: lambda message, now_ns: None,
            Kind.STUCK: lambda message, now_ns: self._stuck(message),
            Kind.GARBAGE: lambda message, now_ns: self._garbage(message),
            Kind.WRONG: self._wrong,
            Kind.SLOW: lambda message, now_ns: None if self._counted % ONE_IN else message,
            Kind.DELAYED: self._delay,
            Kind.INTERMITTENT: self._flicker,
        }

    def take(self, message: Message, now_ns: int) -> Message | None:
        """What is sent in place of a message that came now; None: nothing, or not yet."""
        self.came += 1
        spell = self._spell
        if self.spells or spell is not _OK:
            spell = self.spell(now_ns)
        made: Message | None = message
        if spell.kind is Kind.OK:
            self._good = message
        else:
            self._counted += 1
            made = self._make[spell.kind](message, now_ns)
        self.sent += made is not None
        return made

    def due(self, now_ns: int) -> list[Message]:
        """The messages that were held back long enough."""
        self.spell(now_ns)
        due = []
        while self._held and self._held[0][0] <= now_ns:
            due.append(self._held.popleft()[1])
        self.sent += len(due)
        return due

    @property
    def due_ns(self) -> int | None:
        """When `due` has something next; None: it has nothing."""
        return self._held[0][0] if self._held else None

    def spell(self, now_ns: int) -> Spell:
        """The one that holds now: the last of them. A new one begins with nothing counted or held."""
        spell = next((spell for spell in reversed(self.spells) if spell.holds(now_ns)), _OK)
        if spell is not self._spell:
            self._spell, self._counted = spell, 0
            self._held.clear()
        return spell

    def _stuck(self, message: Message) -> Message | None:
        if self._good is None or not self._signal:
            return self._good
        try:
            fresh, header = (msgpack.unpackb(raw(frames[1])) for frames in (message, self._good))
            for key in ("seq", "stamp_ns", "clock"):
                header[key] = fresh[key]
        except (ValueError, msgpack.UnpackException, KeyError, TypeError):
            return message
        return [self._good[0], msgpack.packb(header), *self._good[2:]]

    def _garbage(self, message: Message) -> Message:
        spoiled = int(self._random.integers(1, len(message))) if len(message) > 1 else 0
        return [
            self._random.bytes(len(raw(part))) if number == spoiled else part
            for number, part in enumerate(message)
        ]

    def _wrong(self, message: Message, now_ns: int) -> Message:
        if not self._signal:
            return self._flipped(message)
        frames = [raw(part) for part in message]
        try:
            # The stamp counts as the time of receipt, whatever clock it was read from.
            stamp_ns = int(msgpack.unpackb(frames[1])["stamp_ns"])
            sample = decode_sample(frames, stamp_ns, stamp_ns)
            clock = msgpack.unpackb(frames[1])["clock"]
        except (BadMessage, ValueError, msgpack.UnpackException, KeyError, TypeError, IndexError):
            return message
        false = falsify(sample.data)
        return encode_sample(self._topic, sample.seq, stamp_ns, false, sample.frame_id, clock)

    def _flipped(self, message: Message) -> Message:
        """One bit of the last frame that is not empty is turned over."""
        frames = [raw(part) for part in message]
        number = max((number for number, frame in enumerate(frames) if frame), default=0)
        if frames[number]:
            at = int(self._random.integers(len(frames[number])))
            changed = bytearray(frames[number])
            changed[at] ^= 1 << int(self._random.integers(8))
            frames[number] = bytes(changed)
        return frames

    def _delay(self, message: Message, now_ns: int) -> None:
        self._held.append((now_ns + DELAY_NS, message))

    def _flicker(self, message: Message, now_ns: int) -> Message | None:
        return message if (now_ns - self._spell.from_ns) // TURN_NS % 2 else None
