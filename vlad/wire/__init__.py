"""The wire, version 1: messages as ZeroMQ multipart frames and back. Design.md's tables, to the byte.

Sensors: `[topic, header, payload?]`. The header is a msgpack map with `v`, `type`, `seq`, `stamp_ns`, `clock`
("monotonic": CLOCK_MONOTONIC of this machine; "realtime": nanoseconds since 1970), `frame_id` and the keys of
its type (types.py). Numbers of a payload are little endian. Unknown keys are ignored.

Commands: `[b"command", header, values]`, header keys `v`, `seq`, `stamp_ns`, `ttl_ms`, `mode`, `kind`,
`names`, `source_stamp_ns` and, always last, `crc32`, always packed as a msgpack uint32 (0xce and four bytes,
big endian). The values are float32. The checksum is the CRC-32 of zlib and Ethernet over all bytes of the
header but its last four, followed by all bytes of the values. In C:

    uint32_t crc = crc32(crc32(0, header, header_size - 4), values, values_size);

and `crc` must equal the header's last four bytes read as a big-endian number.

Who subscribes to exactly `command` counts as a motor driver: without one no robot is armed.

Heartbeat: `[b"safety", header]`, header keys `v`, `seq`, `stamp_ns`, `mode`, `level` (0 to 4), `faults`
and `requests` (missing: none).

Whatever the bytes are, decoding gives a message or raises BadMessage, nothing else.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any, Literal

import msgpack
import numpy as np

from vlad.messages import (
    DATA_TYPES,
    MAX_TTL_MS,
    Command,
    CommandMode,
    Data,
    Heartbeat,
    Kind,
    Level,
    Mode,
    Request,
    Sample,
)
from vlad.wire.fields import BadMessage, Buffer, Reason, member_of, names_of, natural_of, texts_of
from vlad.wire.types import CODECS

VERSION = 1
COMMAND_TOPIC = b"command"
HEARTBEAT_TOPIC = b"safety"
MAX_HEADER_BYTES = 64 * 1024
MAX_TOPIC_BYTES = 128
MAX_FUTURE_NS = 50_000_000
"""A stamp may be this far ahead of us: real-time clocks of two machines agree no better."""
MAX_AGE_NS = 10_000_000_000
"""A sample older than this is of no use to anybody; its sender's clock is wrong."""

_TYPE_NAMES: dict[type[Data], str] = {type_: name for name, type_ in DATA_TYPES.items()}
_REQUESTS = frozenset(Request)
_PACKED_BYTES = 512
"""Room for most headers; without it msgpack asks for a quarter of a megabyte for each."""
_CRC_KEY = b"\xa5crc32\xce"


def encode_sample(
    topic: str,
    seq: int,
    stamp_ns: int,
    data: Data,
    frame_id: str = "",
    clock: Literal["monotonic", "realtime"] = "monotonic",
) -> list[bytes | memoryview]:
    """The frames of one sensor message. The payload is a view on the array of `data`, not a copy.

    ValueError where an array's shape does not fit its message.
    """
    name = _TYPE_NAMES[type(data)]
    keys, payload = CODECS[name].encode(data)
    header = {
        "v": VERSION,
        "type": name,
        "seq": seq,
        "stamp_ns": stamp_ns,
        "clock": clock,
        "frame_id": frame_id,
        **keys,
    }
    frames: list[bytes | memoryview] = [topic.encode(), _pack(header)]
    if payload is not None:
        frames.append(payload)
    return frames


def decode_sample(frames: Sequence[Buffer], now_ns: int, wall_ns: int, expected: str | None = None) -> Sample:
    """The sample in `frames`; its arrays are read-only views on the payload frame.

    `now_ns` (CLOCK_MONOTONIC) and `wall_ns` are the time of receipt, `expected` the type that the topic must
    have. BadMessage for anything that is not a good sample.
    """
    if not 2 <= len(frames) <= 3:
        raise BadMessage(Reason.MALFORMED, f"{len(frames)} frames instead of 2 or 3")
    topic = topic_of(frames[0])
    header = _unpack(frames[1])
    name = header.get("type")
    codec = CODECS.get(name) if type(name) is str else None
    if codec is None:
        raise BadMessage(Reason.UNKNOWN_TYPE, f"{name!r:.40}")
    if expected is not None and name != expected:
        raise BadMessage(Reason.WRONG_TYPE, f"{name} instead of {expected}")
    if codec.has_payload != (len(frames) == 3):
        raise BadMessage(Reason.MALFORMED, f"a message of type {name} with {len(frames)} frames")
    frame_id = header.get("frame_id")
    if type(frame_id) is not str:
        raise BadMessage(Reason.MALFORMED, "frame_id is not a text")
    seq = natural_of(header, "seq")
    stamp_ns = _stamp_here(header, now_ns, wall_ns)
    data = codec.decode(header, frames[2] if codec.has_payload else b"")
    return Sample(topic, seq, stamp_ns, now_ns, frame_id, data)


def encode_command(command: Command) -> list[bytes | memoryview]:
    """The frames of one command, with its checksum."""
    values = np.ascontiguousarray(command.values, np.float32).tobytes()
    head = _pack(
        {
            "v": VERSION,
            "seq": command.seq,
            "stamp_ns": command.stamp_ns,
            "ttl_ms": command.ttl_ms,
            "mode": command.mode,
            "kind": command.kind,
            "names": command.names,
            "source_stamp_ns": command.source_stamp_ns,
        }
    )
    # A map of 8 becomes a map of 9: the checksum's key is added by hand, to be last and of fixed size.
    head = b"\x89" + head[1:] + _CRC_KEY
    return [COMMAND_TOPIC, head + zlib.crc32(values, zlib.crc32(head)).to_bytes(4, "big"), values]


def decode_command(frames: Sequence[Buffer]) -> Command:
    """The command in `frames`, or BadMessage. Whether it is still valid is for the receiver to say."""
    if len(frames) != 3 or bytes(frames[0]) != COMMAND_TOPIC:
        raise BadMessage(Reason.MALFORMED, "not a command")
    head, payload = bytes(frames[1]), bytes(frames[2])
    crc = zlib.crc32(payload, zlib.crc32(head[:-4]))
    if not head[:-4].endswith(_CRC_KEY) or int.from_bytes(head[-4:], "big") != crc:
        raise BadMessage(Reason.CRC, "the checksum does not match")
    header = _unpack(head)
    names = names_of(header, "names", least=0)
    if len(payload) % 4 or len(payload) // 4 not in (0, len(names)):
        raise BadMessage(Reason.SIZE, f"{len(payload)} bytes of values for {len(names)} names")
    values = np.frombuffer(payload, np.float32)
    if not np.isfinite(values).all():
        raise BadMessage(Reason.NON_FINITE, "values")
    ttl_ms = natural_of(header, "ttl_ms")
    if not 1 <= ttl_ms <= MAX_TTL_MS:
        raise BadMessage(Reason.RANGE, f"ttl_ms {ttl_ms} is not in 1 to {MAX_TTL_MS}")
    mode = member_of(CommandMode, header, "mode")
    if mode is CommandMode.RUN and not len(values):
        raise BadMessage(Reason.SIZE, "run without values")
    return Command(
        seq=natural_of(header, "seq"),
        stamp_ns=natural_of(header, "stamp_ns"),
        ttl_ms=ttl_ms,
        mode=mode,
        kind=member_of(Kind, header, "kind"),
        names=names,
        values=values,
        source_stamp_ns=natural_of(header, "source_stamp_ns"),
    )


def encode_heartbeat(heartbeat: Heartbeat) -> list[bytes | memoryview]:
    header = {
        "v": VERSION,
        "seq": heartbeat.seq,
        "stamp_ns": heartbeat.stamp_ns,
        "mode": heartbeat.mode,
        "level": int(heartbeat.level),
        "faults": heartbeat.faults,
        "requests": heartbeat.requests,
    }
    return [HEARTBEAT_TOPIC, _pack(header)]


def decode_heartbeat(frames: Sequence[Buffer]) -> Heartbeat:
    """The heartbeat in `frames`, or BadMessage."""
    if len(frames) != 2 or bytes(frames[0]) != HEARTBEAT_TOPIC:
        raise BadMessage(Reason.MALFORMED, "not a heartbeat")
    header = _unpack(frames[1])
    return Heartbeat(
        seq=natural_of(header, "seq"),
        stamp_ns=natural_of(header, "stamp_ns"),
        mode=member_of(Mode, header, "mode"),
        level=member_of(Level, header, "level"),
        faults=texts_of(header, "faults"),
        requests=tuple(
            Request(text) for text in texts_of(header, "requests", missing=()) if text in _REQUESTS
        ),
    )


def topic_of(frame: Buffer) -> str:
    """The topic as text; BadMessage if it is empty, too long or not UTF-8."""
    raw = bytes(frame[: MAX_TOPIC_BYTES + 1])
    try:
        topic = raw.decode()
    except UnicodeDecodeError:
        raise BadMessage(Reason.MALFORMED, "the topic is not UTF-8") from None
    if not 1 <= len(raw) <= MAX_TOPIC_BYTES:
        raise BadMessage(Reason.MALFORMED, f"a topic has 1 to {MAX_TOPIC_BYTES} bytes")
    return topic


def _pack(header: dict[str, Any]) -> bytes:
    packed: bytes = msgpack.packb(header, default=_plain, unicode_errors="replace", buf_size=_PACKED_BYTES)
    return packed


def _plain(value: object) -> Any:
    """NumPy numbers and vectors as Python's, since drivers have them at hand."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"a header cannot hold a {type(value).__name__}")


def _unpack(frame: Buffer) -> dict[str, Any]:
    """The header's map, with its version checked."""
    if len(frame) > MAX_HEADER_BYTES:
        raise BadMessage(Reason.TOO_LARGE, f"a header of {len(frame)} bytes")
    try:
        header = msgpack.unpackb(
            frame,
            raw=False,
            max_map_len=256,
            max_array_len=1024,
            max_str_len=4096,
            max_bin_len=0,
            max_ext_len=0,
        )
    except (ValueError, msgpack.UnpackException):
        raise BadMessage(Reason.MALFORMED, "the header is not msgpack within its limits") from None
    if type(header) is not dict:
        raise BadMessage(Reason.MALFORMED, "the header is not a map")
    version = header.get("v")
    if type(version) is not int or version != VERSION:
        raise BadMessage(Reason.VERSION, f"version {version!r:.40}; this is version {VERSION}")
    return header


def _stamp_here(header: dict[str, Any], now_ns: int, wall_ns: int) -> int:
    """The stamp on our CLOCK_MONOTONIC, not far from now."""
    stamp_ns = natural_of(header, "stamp_ns")
    clock = header.get("clock")
    if clock == "realtime":
        stamp_ns += now_ns - wall_ns
    elif clock != "monotonic":
        raise BadMessage(Reason.MALFORMED, f"clock is {clock!r:.40}")
    if stamp_ns > now_ns + MAX_FUTURE_NS:
        raise BadMessage(Reason.STAMP_FUTURE, f"{(stamp_ns - now_ns) / 1e9:.3f} s ahead")
    if stamp_ns < now_ns - MAX_AGE_NS:
        raise BadMessage(Reason.STAMP_OLD, f"{(now_ns - stamp_ns) / 1e9:.3f} s old")
    return stamp_ns
