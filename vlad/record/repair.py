"""A recording that ended in the middle, by a crash or a power cut, made whole again where it lies.

What follows the last whole chunk is cut off, and the summary is written anew. Nothing is copied, so that a
full disk does not matter, and a power cut during the repair only leaves it to be done again.
"""

from __future__ import annotations

import struct
from io import BytesIO
from pathlib import Path

from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.records import Channel, Metadata, MetadataIndex, Schema

from vlad.record.chunks import TornError, read_chunk
from vlad.record.mcapfile import MAGIC, McapFile

_RECORD = struct.Struct("<BQ")


def repair(path: Path) -> int:
    """Make the file whole; how many messages it has. 0: nothing of use. OSError as files give it."""
    with path.open("r+b", buffering=0) as file:
        found = McapFile(file)
        _scan(found, path.stat().st_size)
        if not found.counts:
            return 0
        found.cut()
        found.note("repaired", {"by": "vlad"})
        found.finish()
        return sum(found.counts.values())


def _scan(found: McapFile, end: int) -> None:
    """Take account of all that is whole, up to the tear or to the end of the data."""
    file = found.file
    if file.read(len(MAGIC)) != MAGIC:
        return
    found.size = len(MAGIC)
    while True:
        head = file.read(_RECORD.size)
        if len(head) < _RECORD.size:
            return
        opcode, length = _RECORD.unpack(head)
        if length > end - file.tell():
            return
        try:
            if not _take(found, opcode, file.read(length)):
                return
        except (TornError, McapError, struct.error, UnicodeDecodeError):
            return


def _take(found: McapFile, opcode: int, body: bytes) -> bool:
    """One whole record; False: what comes from here on is to be written anew."""
    length = _RECORD.size + len(body)
    match opcode:
        case Opcode.SCHEMA:
            found.schemas.append(Schema.read(_stream(body)))
        case Opcode.CHANNEL:
            found.channels.append(Channel.read(_stream(body)))
        case Opcode.METADATA:
            name = Metadata.read(_stream(body)).name
            found.metadata.append(MetadataIndex(offset=found.size, length=length, name=name))
        case Opcode.CHUNK:
            return _take_chunk(found, body)
        case Opcode.HEADER:
            pass
        case _:
            return False
    found.size += length
    return True


def _take_chunk(found: McapFile, body: bytes) -> bool:
    """A chunk with its indexes; where those are torn they are written anew, and nothing follows them."""
    chunk = read_chunk(body)
    at, found.size = found.size, found.size + _RECORD.size + len(body)
    whole = found.file.read(len(chunk.indexes)) == chunk.indexes
    if not whole:
        found.cut()
        found.file.write(chunk.indexes)
    found.size += len(chunk.indexes)
    found.know(chunk, at)
    return whole


def _stream(body: bytes) -> ReadDataStream:
    return ReadDataStream(BytesIO(body))
