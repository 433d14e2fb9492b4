"""The ring: bounded in time and in memory, and nothing that a file wants is dropped while there is room."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vlad.record.chunks import Chunk, ChunkBuilder
from vlad.record.ring import Ring

S = 1_000_000_000


def chunk(at_s: float, size: int = 100) -> Chunk:
    builder = ChunkBuilder(compress=False)
    builder.add(1, 1, round(at_s * S), 0, bytes(size))
    made = builder.take()
    assert made is not None
    return made


def times_s(chunks: list[Chunk]) -> list[float]:
    return [made.start_ns / S for made in chunks]


def test_what_is_older_than_its_span_goes() -> None:
    ring = Ring(5 * S, 1_000_000)
    for k in range(20):
        ring.add(chunk(k), pictures=False)
    ring.begin(0)
    assert times_s(ring.read()) == [14, 15, 16, 17, 18, 19]
    assert ring.held_s() == 5
    assert ring.lost == 0


def test_a_file_gets_what_goes_on_at_its_time_or_later_each_once_and_in_order() -> None:
    ring = Ring(30 * S, 1_000_000)
    for k in range(10):
        ring.add(chunk(k), pictures=k % 3 == 0)
    ring.begin(6 * S)
    assert times_s(ring.read()) == [6, 7, 8, 9]
    ring.add(chunk(10), pictures=True)
    assert times_s(ring.read()) == [10]
    assert ring.read() == []


def test_what_is_wanted_stays_when_it_is_old_until_memory_is_used_up() -> None:
    ring = Ring(1 * S, 16_000)
    ring.begin(0)
    for k in range(10):
        ring.add(chunk(k), pictures=False)
    assert ring.lost == 0
    for k in range(10, 40):
        ring.add(chunk(k), pictures=False)
    read = times_s(ring.read())
    assert ring.lost + len(read) == 40
    assert read == [float(k) for k in range(ring.lost, 40)]


@given(sizes=st.lists(st.tuples(st.integers(1, 5_000), st.booleans()), max_size=60))
def test_memory_is_bounded_and_pictures_never_drive_out_the_rest(sizes: list[tuple[int, bool]]) -> None:
    ring = Ring(1_000 * S, 20_000)
    for k, (size, pictures) in enumerate(sizes):
        ring.add(chunk(k, size), pictures=pictures)
        assert ring.size <= 20_000
    alone = Ring(1_000 * S, 20_000)
    for k, (size, pictures) in enumerate(sizes):
        if not pictures:
            alone.add(chunk(k, size), pictures=False)
    ring.begin(0)
    alone.begin(0)
    others = [made for made in ring.read() if not sizes[round(made.start_ns / S)][1]]
    assert times_s(others) == times_s(alone.read())
