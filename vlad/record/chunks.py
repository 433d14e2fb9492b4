"""Messages, gathered into MCAP chunks: what the ring holds, and what a file is made of.

A chunk is made once, compressed, and then only moved: keeping 30 s costs little memory, and a stop, when the
robot's computer has better things to do, costs no more than writing bytes that are there. (The format:
mcap.dev/spec, records Message, Chunk and Message Index.)
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import zstandard

_MESSAGE, _CHUNK, _MESSAGE_INDEX = 0x05, 0x06, 0x07
_RECORD = struct.Struct("<BQ")
_MESSAGE_HEAD = struct.Struct("<BQHIQQ")
_MESSAGE_BYTES = 22
"""Of a message's record beside its data."""
_CHUNK_HEAD = struct.Struct("<QQQII")
_MOST_BYTES = 256 * 1024 * 1024
"""No chunk of ours is larger: a larger size in a file is torn."""


class TornError(Exception):
    """What should be a chunk is not, or not all of it."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """`parts` are the chunk as it stands in a file, `indexes` its message indexes, which follow it there.

    Pictures are not joined: to copy a megabyte takes a millisecond, with Python's lock held.

    Both times are wall-clock log times; `offsets` has the place in `indexes` of each channel's, `counts` how
    many messages each channel has. `length` is that of `parts`, `stored_bytes` what of it is messages, and
    `message_bytes` what those were before compression.
    """

    start_ns: int
    end_ns: int
    parts: tuple[bytes, ...]
    length: int
    indexes: bytes
    offsets: dict[int, int]
    counts: dict[int, int]
    compression: str
    stored_bytes: int
    message_bytes: int

    @property
    def size(self) -> int:
        """What it takes of a file, and of memory."""
        return self.length + len(self.indexes)


class ChunkBuilder:
    """The chunk that is being filled; one of zstd's, or of what is compressed already, as it is."""

    def __init__(self, *, compress: bool) -> None:
        self._compressor = zstandard.ZstdCompressor(level=1) if compress else None
        self._clear()

    def _clear(self) -> None:
        self._parts: list[bytes] = []
        self.size = 0
        self.start_ns = self._end_ns = 0
        self._entries: dict[int, list[int]] = {}

    def add(self, channel: int, sequence: int, log_ns: int, stamp_ns: int, data: bytes) -> None:
        """One message, logged and stamped at these wall-clock times."""
        if not self._parts:
            self.start_ns = self._end_ns = log_ns
        self.start_ns, self._end_ns = min(self.start_ns, log_ns), max(self._end_ns, log_ns)
        self._entries.setdefault(channel, []).extend((log_ns, self.size))
        length = _MESSAGE_BYTES + len(data)
        head = _MESSAGE_HEAD.pack(_MESSAGE, length, channel, sequence & 0xFFFFFFFF, log_ns, stamp_ns)
        self._parts += (head, data)
        self.size += _RECORD.size + length

    def take(self) -> Chunk | None:
        """What was gathered, and begin anew; None: nothing was."""
        if not self._parts:
            return None
        crc = 0
        for part in self._parts:
            crc = zlib.crc32(part, crc)
        stored = [self._compressor.compress(b"".join(self._parts))] if self._compressor else self._parts
        compression = "zstd" if self._compressor else ""
        stored_bytes = sum(map(len, stored))
        head = _CHUNK_HEAD.pack(self.start_ns, self._end_ns, self.size, crc, len(compression))
        head += compression.encode() + struct.pack("<Q", stored_bytes)
        parts = (_RECORD.pack(_CHUNK, len(head) + stored_bytes) + head, *stored)
        made = _indexed(
            parts, self.start_ns, self._end_ns, self._entries, compression, stored_bytes, self.size
        )
        self._clear()
        return made


def read_chunk(body: bytes) -> Chunk:
    """The chunk whose record has this content, with its indexes made anew; TornError if it is not whole."""
    try:
        start_ns, end_ns, size, crc, named = _CHUNK_HEAD.unpack_from(body)
        compression = body[_CHUNK_HEAD.size : _CHUNK_HEAD.size + named].decode()
        (stored_bytes,) = struct.unpack_from("<Q", body, _CHUNK_HEAD.size + named)
        stored = body[_CHUNK_HEAD.size + named + 8 :]
        if len(stored) != stored_bytes or size > _MOST_BYTES or compression not in ("", "zstd"):
            raise TornError("a chunk is not as long as it says")
        content = zstandard.decompress(stored, max_output_size=size) if compression else stored
        if len(content) != size or zlib.crc32(content) != crc:
            raise TornError("the checksum of a chunk does not match")
        entries = _entries_of(content)
    except (struct.error, UnicodeDecodeError, zstandard.ZstdError) as error:
        raise TornError(str(error)) from None
    parts = (_RECORD.pack(_CHUNK, len(body)), body)
    return _indexed(parts, start_ns, end_ns, entries, compression, stored_bytes, size)


def _entries_of(content: bytes) -> dict[int, list[int]]:
    """Log time and offset of each message, one after the other, by channel."""
    entries: dict[int, list[int]] = {}
    for offset, channel, log_ns in _messages(content):
        entries.setdefault(channel, []).extend((log_ns, offset))
    return entries


def _messages(content: bytes) -> Iterator[tuple[int, int, int]]:
    offset = 0
    while offset < len(content):
        opcode, length, channel, _, log_ns, _ = _MESSAGE_HEAD.unpack_from(content, offset)
        if opcode == _MESSAGE:
            yield offset, channel, log_ns
        offset += _RECORD.size + length


def _indexed(
    parts: tuple[bytes, ...],
    start_ns: int,
    end_ns: int,
    entries: dict[int, list[int]],
    compression: str,
    stored_bytes: int,
    message_bytes: int,
) -> Chunk:
    indexes, offsets, place = [], {}, 0
    for channel, pairs in entries.items():
        index = struct.pack(
            f"<BQHI{len(pairs)}Q", _MESSAGE_INDEX, 6 + 8 * len(pairs), channel, 8 * len(pairs), *pairs
        )
        offsets[channel] = place
        place += len(index)
        indexes.append(index)
    counts = {channel: len(pairs) // 2 for channel, pairs in entries.items()}
    return Chunk(
        start_ns=start_ns,
        end_ns=end_ns,
        parts=parts,
        length=sum(map(len, parts)),
        indexes=b"".join(indexes),
        offsets=offsets,
        counts=counts,
        compression=compression,
        stored_bytes=stored_bytes,
        message_bytes=message_bytes,
    )
