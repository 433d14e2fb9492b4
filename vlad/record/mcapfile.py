"""One MCAP file: begun, filled with chunks, made durable, finished with its index (mcap.dev/spec)."""

from __future__ import annotations

import os
import struct
import zlib
from dataclasses import dataclass, field
from typing import BinaryIO

from mcap.data_stream import RecordBuilder
from mcap.opcode import Opcode
from mcap.records import (
    Channel,
    ChunkIndex,
    DataEnd,
    Footer,
    Header,
    McapRecord,
    Metadata,
    MetadataIndex,
    Schema,
    Statistics,
    SummaryOffset,
)

from vlad.record import schemas
from vlad.record.chunks import Chunk

MAGIC = b"\x89MCAP0\r\n"
_LIBRARY = "vlad"
_FOOTER_BYTES = 20


@dataclass(frozen=True, slots=True)
class Topic:
    """What is recorded under one name. The channel's number is its place in the list, from 1."""

    name: str
    schema: str


@dataclass
class McapFile:
    """A file that is being written, without a buffer. Every method may raise OSError.

    `size` is how much of it is whole.
    """

    file: BinaryIO
    size: int = 0
    schemas: list[Schema] = field(default_factory=list)
    channels: list[Channel] = field(default_factory=list)
    chunks: list[ChunkIndex] = field(default_factory=list)
    metadata: list[MetadataIndex] = field(default_factory=list)
    counts: dict[int, int] = field(default_factory=dict)

    def begin(self, topics: list[Topic], about: dict[str, str]) -> None:
        """Header, schemas and channels, and a metadata record `vlad`."""
        numbers: dict[str, int] = {}
        for topic in topics:
            if topic.schema not in numbers:
                numbers[topic.schema] = len(numbers) + 1
                known = schemas.schema(topic.schema)
                self.schemas.append(
                    Schema(id=len(numbers), data=known.data, encoding=known.encoding, name=known.name)
                )
            encoding = schemas.schema(topic.schema).message_encoding
            self.channels.append(
                Channel(
                    id=len(self.channels) + 1,
                    topic=topic.name,
                    message_encoding=encoding,
                    metadata={},
                    schema_id=numbers[topic.schema],
                )
            )
        self._write(MAGIC + _packed(Header(profile="", library=_LIBRARY), *self.schemas, *self.channels))
        self.note("vlad", about)

    def add(self, chunk: Chunk) -> None:
        """Append a chunk and its indexes."""
        at = self.size
        self._write(*chunk.parts, chunk.indexes)
        self.know(chunk, at)

    def know(self, chunk: Chunk, at: int) -> None:
        """Take account of a chunk that stands at this offset, its indexes behind it."""
        indexes_at = at + chunk.length
        self.chunks.append(
            ChunkIndex(
                chunk_length=chunk.length,
                chunk_start_offset=at,
                compression=chunk.compression,
                compressed_size=chunk.stored_bytes,
                message_start_time=chunk.start_ns,
                message_end_time=chunk.end_ns,
                message_index_length=len(chunk.indexes),
                message_index_offsets={key: indexes_at + place for key, place in chunk.offsets.items()},
                uncompressed_size=chunk.message_bytes,
            )
        )
        for channel, count in chunk.counts.items():
            self.counts[channel] = self.counts.get(channel, 0) + count

    def note(self, name: str, values: dict[str, str]) -> None:
        """Append a metadata record."""
        record = _packed(Metadata(name=name, metadata=values))
        self.metadata.append(MetadataIndex(offset=self.size, length=len(record), name=name))
        self._write(record)

    def sync(self) -> None:
        """Let nothing of it be lost when the power goes."""
        os.fsync(self.file.fileno())

    def finish(self) -> None:
        """Append the summary, which readers find everything by, and make it durable."""
        self._write(_packed(DataEnd(data_section_crc=0)))
        groups = [(opcode, _packed(*records)) for opcode, records in self._summary()]
        start = place = self.size
        offsets = []
        for opcode, content in groups:
            offsets.append(SummaryOffset(group_opcode=opcode, group_start=place, group_length=len(content)))
            place += len(content)
        summary = b"".join(content for _, content in groups) + _packed(*offsets)
        head = struct.pack("<BQQQ", Opcode.FOOTER, _FOOTER_BYTES, start, place)
        crc = zlib.crc32(head, zlib.crc32(summary))
        footer = Footer(summary_start=start, summary_offset_start=place, summary_crc=crc)
        self._write(summary + _packed(footer) + MAGIC)
        self.sync()

    def cut(self) -> None:
        """Drop what a write that failed has left behind."""
        self.file.seek(self.size)
        self.file.truncate()

    def _summary(self) -> list[tuple[Opcode, list[McapRecord]]]:
        statistics = Statistics(
            attachment_count=0,
            channel_count=len(self.channels),
            channel_message_counts=self.counts,
            chunk_count=len(self.chunks),
            message_count=sum(self.counts.values()),
            message_start_time=min((chunk.message_start_time for chunk in self.chunks), default=0),
            message_end_time=max((chunk.message_end_time for chunk in self.chunks), default=0),
            metadata_count=len(self.metadata),
            schema_count=len(self.schemas),
        )
        groups: list[tuple[Opcode, list[McapRecord]]] = [
            (Opcode.SCHEMA, [*self.schemas]),
            (Opcode.CHANNEL, [*self.channels]),
            (Opcode.STATISTICS, [statistics]),
            (Opcode.CHUNK_INDEX, [*self.chunks]),
            (Opcode.METADATA_INDEX, [*self.metadata]),
        ]
        return [(opcode, records) for opcode, records in groups if records]

    def _write(self, *parts: bytes) -> None:
        """All of them, or none counts. A disk that is nearly full takes a part; the next write says why."""
        for part in parts:
            rest = memoryview(part)
            while rest:
                rest = rest[self.file.write(rest) :]
        self.size += sum(map(len, parts))


def _packed(*records: McapRecord) -> bytes:
    builder = RecordBuilder()
    for record in records:
        record.write(builder)
    packed: bytes = builder.end()  # type: ignore[no-untyped-call]
    return packed
