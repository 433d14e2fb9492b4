"""As much of Protocol Buffers as a recording needs: encoding of fields, and descriptors from a table.

The library itself would be one more dependency of every robot for three dozen fields. The wire format is that
of protobuf.dev/programming-guides/encoding; the tests decode everything here with the real library.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from functools import lru_cache

Fields = Mapping[str, tuple[int, str]]
"""Name of a field -> its number and type: a scalar, a message or `enum NAME`, maybe after `repeated`."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_SCALARS = {
    "double": 1,
    "float": 2,
    "int64": 3,
    "uint64": 4,
    "int32": 5,
    "fixed32": 7,
    "string": 9,
    "bytes": 12,
}
_SHORT = tuple(bytes((value,)) for value in range(0x80))
_MESSAGE, _ENUM, _ONE, _REPEATED = 11, 14, 1, 3


def varint(value: int) -> bytes:
    """A natural number, seven bits a byte, the lowest first."""
    if value < 0x80:
        return _SHORT[value]
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def natural(number: int, value: int) -> bytes:
    """A field of type int32, int64, uint64 or enum; not negative."""
    return varint(number << 3 | _VARINT) + varint(value)


def double(number: int, value: float) -> bytes:
    return varint(number << 3 | _FIXED64) + struct.pack("<d", value)


def fixed32(number: int, value: int) -> bytes:
    return varint(number << 3 | _FIXED32) + struct.pack("<I", value)


def block(number: int, content: bytes | memoryview) -> bytes:
    """A field of type bytes or message, or repeated numbers, packed."""
    return b"".join((varint(number << 3 | _BYTES), varint(len(content)), content))


def text(number: int, value: str) -> bytes:
    return block(number, value.encode(errors="replace"))


@lru_cache(maxsize=256)
def texts(number: int, values: tuple[str, ...]) -> bytes:
    """A repeated string. Names of joints and axes hardly ever change: remembered."""
    return b"".join(text(number, value) for value in values)


def time(number: int, wall_ns: int) -> bytes:
    """A google.protobuf.Timestamp."""
    seconds, nanos = divmod(wall_ns, 1_000_000_000)
    return block(number, natural(1, seconds) + natural(2, nanos))


def descriptor_set(
    name: str, messages: Mapping[str, Fields], enums: Mapping[str, Sequence[str]] | None = None
) -> bytes:
    """The FileDescriptorSet of message `name` and all that it is made of, a file for each message.

    An enum `outer.Inner` is declared inside the message `outer`; its values count from 0.
    """
    return b"".join(block(1, _file(part, messages, enums or {})) for part in _needed(name, messages))


def _needed(name: str, messages: Mapping[str, Fields]) -> list[str]:
    """The messages that `name` is made of, each before those that need it."""
    order: list[str] = []
    for _, kind in messages[name].values():
        for part in _needed(kind.split()[-1], messages) if kind.split()[-1] in messages else ():
            if part not in order:
                order.append(part)
    return [*order, name]


def _file(name: str, messages: Mapping[str, Fields], enums: Mapping[str, Sequence[str]]) -> bytes:
    """A FileDescriptorProto."""
    package, _, short = name.rpartition(".")
    fields = messages[name]
    parts = dict.fromkeys(kind.split()[-1] for _, kind in fields.values() if kind.split()[-1] in messages)
    message = text(1, short) + b"".join(
        block(2, _field(key, number, kind)) for key, (number, kind) in fields.items()
    )
    for enum, values in enums.items():
        if enum.startswith(f"{name}."):
            listed = (block(2, text(1, value) + natural(2, k)) for k, value in enumerate(values))
            message += block(4, text(1, enum.rpartition(".")[2]) + b"".join(listed))
    return b"".join(
        (
            text(1, _path(name)),
            text(2, package),
            *(text(3, _path(part)) for part in parts),
            block(4, message),
            text(12, "proto3"),
        )
    )


def _field(name: str, number: int, kind: str) -> bytes:
    """A FieldDescriptorProto."""
    *words, base = kind.split()
    label = _REPEATED if "repeated" in words else _ONE
    described = text(1, name) + natural(3, number) + natural(4, label)
    if base in _SCALARS:
        return described + natural(5, _SCALARS[base])
    return described + natural(5, _ENUM if "enum" in words else _MESSAGE) + text(6, f".{base}")


def _path(name: str) -> str:
    if name == "google.protobuf.Timestamp":
        return "google/protobuf/timestamp.proto"
    return f"{name.replace('.', '/')}.proto"
