"""The few messages that the guard reads and writes, with a msgpack of its own.

It knows what a heartbeat and an e-stop message are made of (maps, texts, lists of texts, whole numbers from 0
up, true, false) and nothing else; whatever else comes is bad. docs: https://github.com/msgpack/msgpack
The layouts are those of vlad/wire.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

VERSION = 1
HEARTBEAT_TOPIC = b"safety"
COMMAND_TOPIC = b"command"
REPORT_TOPIC = b"guard"
TTL_MS = 100
_MAX_BYTES = 64 * 1024
_MAX_TOPIC_BYTES = 128
_MAX_INT = 2**63
_CRC_KEY = b"\xa5crc32\xce"
_SIZED = {0xD9: 1, 0xDA: 2, 0xDC: 2, 0xDE: 2, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8}
"""Type byte -> bytes of the length or number that follows: str 8, str 16, array 16, map 16, uint 8 to 64."""

Value: TypeAlias = "int | str | bool | list[Value] | dict[str, Value]"


class BadFrame(Exception):  # noqa: N818 - a frame is bad, the guard is not in error
    """Bytes that are no message the guard knows; the text says what is wrong."""


class Heartbeat(NamedTuple):
    """One turn of the daemon's safety tick. `mode` and `level` as they came: the judge looks at them."""

    seq: int
    stamp_ns: int
    mode: str
    level: int
    faults: tuple[str, ...]


class Button(NamedTuple):
    """An e-stop message: which button, and whether it is pressed."""

    topic: str
    stamp_ns: int
    pressed: bool


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def whole(self) -> Value:
        value = self._value(3)
        if self._at != len(self._data):
            raise BadFrame("bytes after its end")
        return value

    def _take(self, size: int) -> bytes:
        taken = self._data[self._at : self._at + size]
        if len(taken) < size:
            raise BadFrame("it is cut off")
        self._at += size
        return taken

    def _value(self, depth: int) -> Value:
        first = self._take(1)[0]
        if first < 0x80:
            return first
        if first in (0xC2, 0xC3):
            return first == 0xC3
        size = int.from_bytes(self._take(_SIZED.get(first, 0)), "big")
        if 0xCC <= first <= 0xCF:
            return size
        if first in (0xD9, 0xDA) or 0xA0 <= first < 0xC0:
            return self._text(size if first >= 0xC0 else first & 0x1F)
        if not depth:
            raise BadFrame("it is nested too deep")
        if first == 0xDC or 0x90 <= first < 0xA0:
            return [self._value(depth - 1) for _ in range(size if first == 0xDC else first & 0x0F)]
        if first == 0xDE or first < 0x90:
            return self._map(size if first == 0xDE else first & 0x0F, depth - 1)
        raise BadFrame(f"type byte {first:#04x} has no place in it")

    def _map(self, size: int, depth: int) -> dict[str, Value]:
        found: dict[str, Value] = {}
        for _ in range(size):
            key = self._value(0)
            if type(key) is not str or key in found:
                raise BadFrame(f"the key {key!r:.40} is no text, or there twice")
            found[key] = self._value(depth)
        return found

    def _text(self, size: int) -> str:
        try:
            return self._take(size).decode()
        except UnicodeDecodeError:
            raise BadFrame("a text is not UTF-8") from None


def _header(frames: Sequence[bytes]) -> dict[str, Value]:
    if len(frames) != 2:
        raise BadFrame(f"{len(frames)} frames instead of 2")
    if len(frames[1]) > _MAX_BYTES:
        raise BadFrame(f"{len(frames[1])} bytes are too many")
    header = _Reader(frames[1]).whole()
    if type(header) is not dict:
        raise BadFrame("it is no map")
    if _natural(header, "v") != VERSION:
        raise BadFrame(f"version {header['v']}; the guard knows version {VERSION}")
    return header


def _natural(header: dict[str, Value], key: str) -> int:
    value = header.get(key)
    if type(value) is not int or value >= _MAX_INT:
        raise BadFrame(f"{key} is not a whole number from 0 up")
    return value


def read_heartbeat(frames: Sequence[bytes]) -> Heartbeat:
    """`[b"safety", header]`; BadFrame where it is anything else."""
    if frames[0] != HEARTBEAT_TOPIC:
        raise BadFrame(f"the topic is {frames[0]!r:.40}")
    header = _header(frames)
    mode, faults = header.get("mode"), header.get("faults")
    if type(mode) is not str:
        raise BadFrame("mode is not a text")
    if type(faults) is not list:
        raise BadFrame("faults is not a list of texts")
    named = tuple(fault for fault in faults if type(fault) is str)
    if len(named) != len(faults):
        raise BadFrame("faults is not a list of texts")
    return Heartbeat(
        _natural(header, "seq"), _natural(header, "stamp_ns"), mode, _natural(header, "level"), named
    )


def read_button(frames: Sequence[bytes]) -> Button:
    """`[topic, header]` of the type `estop`; BadFrame where it is anything else."""
    header = _header(frames)
    if header.get("type") != "estop" or header.get("clock") != "monotonic":
        raise BadFrame("no message of the type estop from this machine")
    pressed = header.get("pressed")
    if type(pressed) is not bool:
        raise BadFrame("pressed is not true or false")
    if not 1 <= len(frames[0]) <= _MAX_TOPIC_BYTES:
        raise BadFrame(f"a topic has 1 to {_MAX_TOPIC_BYTES} bytes")
    return Button(frames[0].decode(errors="replace"), _natural(header, "stamp_ns"), pressed)


def _text(text: str) -> bytes:
    data = text.encode()[:0xFFFF]
    return (b"\xda" + len(data).to_bytes(2, "big") if len(data) > 31 else bytes([0xA0 + len(data)])) + data


def _number(value: int) -> bytes:
    return b"\xcf" + value.to_bytes(8, "big")


def report(seq: int, stamp_ns: int, state: str, reason: str) -> list[bytes]:
    """What the guard says of itself: `[b"guard", header]` with v, seq, stamp_ns, state and reason."""
    header = (
        b"\x85" + _text("v") + bytes([VERSION]) + _text("seq") + _number(seq) + _text("stamp_ns")
        + _number(stamp_ns) + _text("state") + _text(state) + _text("reason") + _text(reason)
    )  # fmt: skip
    return [REPORT_TOPIC, header]


def stop_command(seq: int, stamp_ns: int, mode: str) -> list[bytes]:
    """A stop without values and names, which fits any robot, sealed as vlad/wire says."""
    head = (
        b"\x89" + _text("v") + bytes([VERSION]) + _text("seq") + _number(seq) + _text("stamp_ns")
        + _number(stamp_ns) + _text("ttl_ms") + bytes([TTL_MS]) + _text("mode") + _text(mode)
        + _text("kind") + _text("twist") + _text("names") + b"\x90"
        + _text("source_stamp_ns") + b"\x00" + _CRC_KEY
    )  # fmt: skip
    return [COMMAND_TOPIC, head + zlib.crc32(head).to_bytes(4, "big"), b""]
