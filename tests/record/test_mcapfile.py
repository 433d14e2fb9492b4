"""Recordings open in other people's readers, also those that were torn at any byte."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcap.reader import make_reader

from vlad.record.chunks import Chunk, ChunkBuilder, TornError, read_chunk
from vlad.record.mcapfile import McapFile, Topic
from vlad.record.repair import repair

TOPICS = [Topic("imu", "vlad.Imu"), Topic("laser", "foxglove.LaserScan"), Topic("imu2", "vlad.Imu")]
Message = tuple[int, int, bytes]
MESSAGES = st.lists(st.tuples(st.integers(1, 3), st.integers(0, 2**62), st.binary(max_size=200)), max_size=30)


def chunk(messages: list[Message], *, compress: bool = True) -> Chunk:
    builder = ChunkBuilder(compress=compress)
    for number, (channel, log_ns, data) in enumerate(messages):
        builder.add(channel, number, log_ns, log_ns + 1, data)
    made = builder.take()
    assert made is not None
    return made


def write(path: Path, chunks: list[Chunk], *, finish: bool = True) -> list[int]:
    """The file; the offset at which each chunk and its indexes end."""
    with path.open("xb", buffering=0) as raw:
        file, ends = McapFile(raw), []
        file.begin(TOPICS, {"robot": "test"})
        for made in chunks:
            file.add(made)
            ends.append(file.size)
        if finish:
            file.finish()
    return ends


def found(content: bytes) -> list[Message]:
    reader = make_reader(io.BytesIO(content), validate_crcs=True)
    return [(m.channel_id, m.log_time, m.data) for _, _, m in reader.iter_messages()]


def by_time(messages: list[Message]) -> list[Message]:
    return sorted(messages)


@given(chunks=st.lists(MESSAGES.filter(bool), min_size=1, max_size=4), compress=st.booleans())
def test_what_was_written_is_read_by_the_mcap_library(
    tmp_path_factory: pytest.TempPathFactory, chunks: list[list[Message]], compress: bool
) -> None:
    path = tmp_path_factory.mktemp("mcap") / "a.mcap"
    write(path, [chunk(messages, compress=compress) for messages in chunks])
    assert by_time(found(path.read_bytes())) == by_time([m for messages in chunks for m in messages])
    reader = make_reader(path.open("rb"))
    summary = reader.get_summary()
    assert summary is not None
    assert {channel.topic for channel in summary.channels.values()} == {"imu", "laser", "imu2"}
    assert {schema.name for schema in summary.schemas.values()} == {"vlad.Imu", "foxglove.LaserScan"}


@given(data=st.data())
def test_a_file_that_was_torn_anywhere_is_whole_up_to_the_tear(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("torn") / "a.mcap.part"
    contents = [[(1 + k % 3, 10 * k + j, bytes([k, j]) * 20) for j in range(5)] for k in range(4)]
    ends = write(path, [chunk(messages) for messages in contents], finish=data.draw(st.booleans()))
    cut = data.draw(st.integers(0, path.stat().st_size))
    tail = data.draw(st.sampled_from([b"", b"\0" * 1000, b"\x06" + b"\xff" * 100]))
    path.write_bytes(path.read_bytes()[:cut] + tail)
    kept = repair(path)
    least = [m for messages, end in zip(contents, ends, strict=True) if end <= cut for m in messages]
    if kept:
        read = found(path.read_bytes())
        assert len(read) == kept
        assert read[: len(least)] == least, "everything before the tear is there, in order"
    else:
        assert not least
    again = path.read_bytes()
    assert repair(path) == kept
    assert not kept or found(path.read_bytes()) == found(again), "a second repair changes nothing"


def test_a_flipped_bit_ends_a_repaired_file_before_its_chunk(tmp_path: Path) -> None:
    path = tmp_path / "a.mcap.part"
    contents = [[(1, k, b"x" * 50)] for k in range(3)]
    ends = write(path, [chunk(messages) for messages in contents])
    spoilt = bytearray(path.read_bytes())
    spoilt[ends[0] + 60] ^= 0x10
    path.write_bytes(spoilt)
    assert repair(path) == 1
    assert found(path.read_bytes()) == contents[0]


@given(body=st.binary(max_size=200))
def test_bytes_that_are_no_chunk_are_torn_and_nothing_else(body: bytes) -> None:
    with pytest.raises(TornError):
        read_chunk(body)


def test_a_full_disk_leaves_what_was_there_before(tmp_path: Path) -> None:
    """A write that failed half way is cut off, and the file can be finished."""
    path = tmp_path / "a.mcap"
    with path.open("xb", buffering=0) as raw:
        file = McapFile(raw)
        file.begin(TOPICS, {})
        file.add(chunk([(1, 1, b"whole")]))
        raw.write(b"half of a chunk")
        file.cut()
        file.finish()
    assert found(path.read_bytes()) == [(1, 1, b"whole")]
    shutil.rmtree(tmp_path)
