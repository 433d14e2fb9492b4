"""The last seconds of everything, as chunks in memory: what the black box has when something happens."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable

from vlad.record.chunks import Chunk

_PICTURES_PART = 0.75
"""Of the memory; the rest is for everything else, so that no camera drives ticks and commands out."""


class Lane:
    """Chunks of one sort, the oldest first, in a part of the memory."""

    def __init__(self, most_bytes: int) -> None:
        self.chunks: deque[tuple[int, Chunk]] = deque()
        self.size = 0
        self._most_bytes = most_bytes

    def add(self, number: int, chunk: Chunk) -> None:
        self.chunks.append((number, chunk))
        self.size += chunk.size

    def drop(self, before_ns: int, kept_from: int) -> int:
        """Drop what is too old or too much; how many of those with a number from `kept_from` on are lost."""
        lost = 0
        while self.chunks:
            number, oldest = self.chunks[0]
            too_old = oldest.end_ns < before_ns and number < kept_from
            if not too_old and self.size <= self._most_bytes:
                break
            lost += number >= kept_from
            self.size -= oldest.size
            self.chunks.popleft()
        return lost


class Ring:
    """One thread adds, another reads. Times are log times; each chunk has a number, one higher each time.

    What the reader has not read yet is kept even when it is old, as long as there is room.
    """

    def __init__(self, span_ns: int, most_bytes: int) -> None:
        pictures = round(most_bytes * _PICTURES_PART)
        self.lost = 0
        """Chunks that had to go before they were in the file that wanted them."""
        self._span_ns = span_ns
        self._lanes = {True: Lane(pictures), False: Lane(most_bytes - pictures)}
        self._next = 0
        self._wanted: int | None = None
        self._lock = threading.Lock()

    @property
    def size(self) -> int:
        """Bytes in memory."""
        return sum(lane.size for lane in self._lanes.values())

    def held_s(self) -> float:
        """How far back it goes, but for pictures."""
        with self._lock:
            chunks = self._lanes[False].chunks
            return (chunks[-1][1].end_ns - chunks[0][1].start_ns) / 1e9 if chunks else 0.0

    def add(self, chunk: Chunk, *, pictures: bool) -> None:
        with self._lock:
            self._lanes[pictures].add(self._next, chunk)
            self._next += 1
            kept_from = self._next if self._wanted is None else self._wanted
            for lane in self._lanes.values():
                self.lost += lane.drop(chunk.end_ns - self._span_ns, kept_from)

    def begin(self, from_ns: int) -> None:
        """The reader wants all that goes on at this time or later, until it calls `end`."""
        with self._lock:
            first = (n for n, chunk in self._sorted() if chunk.end_ns >= from_ns)
            self._wanted = next(first, self._next)

    def read(self) -> list[Chunk]:
        """What the reader wants and has not got yet."""
        with self._lock:
            wanted = self._next if self._wanted is None else self._wanted
            found = [chunk for number, chunk in self._sorted() if number >= wanted]
            self._wanted = self._next
            return found

    def end(self) -> None:
        with self._lock:
            self._wanted = None

    def clear(self) -> None:
        with self._lock:
            for lane in self._lanes.values():
                lane.chunks.clear()
                lane.size = 0

    def _sorted(self) -> Iterable[tuple[int, Chunk]]:
        return sorted(
            (entry for lane in self._lanes.values() for entry in lane.chunks), key=lambda entry: entry[0]
        )
