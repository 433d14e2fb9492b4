"""The bounded queues through which the parts share state. None of them ever blocks who puts."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Latest(Generic[T]):
    """One slot that holds the newest value: for sensor samples and action chunks.

    `peek` reads without taking; `take` gives each value once. A value that was replaced before anybody took
    it counts as dropped. One thread puts and one, perhaps another, takes: every step is one reference.
    """

    __slots__ = ("_slot", "_taken", "dropped", "puts")

    def __init__(self) -> None:
        self._slot: tuple[T] | None = None
        self._taken: tuple[T] | None = None
        self.puts = 0
        self.dropped = 0

    def put(self, value: T) -> None:
        if self._slot is not self._taken:
            self.dropped += 1
        self._slot = (value,)
        self.puts += 1

    def peek(self) -> T | None:
        """The newest value, whether or not it was taken before; None before the first put."""
        slot = self._slot
        return None if slot is None else slot[0]

    def take(self) -> T | None:
        """The newest value if it was not taken yet, else None. It stays visible to `peek`."""
        slot = self._slot
        if slot is None or slot is self._taken:
            return None
        self._taken = slot
        return slot[0]

    def clear(self) -> None:
        self._slot = self._taken = None


class DropOldest(Generic[T]):
    """A first-in first-out queue of at most `capacity` values: for events and recording.

    When it is full the oldest value makes room and counts as dropped. Safe between one putting and one
    taking thread (deque operations are atomic).
    """

    __slots__ = ("_values", "capacity", "dropped", "puts")

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise ValueError(f"a queue needs room for at least one value, got {capacity}")
        self._values: deque[T] = deque(maxlen=capacity)
        self.capacity = capacity
        self.puts = 0
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._values)

    def put(self, value: T) -> None:
        if len(self._values) == self.capacity:
            self.dropped += 1
        self._values.append(value)
        self.puts += 1

    def take(self) -> T | None:
        """The oldest value, or None when there is none."""
        try:
            return self._values.popleft()
        except IndexError:
            return None

    def take_all(self) -> list[T]:
        """Everything that is there, oldest first; not what another thread puts meanwhile."""
        return [self._values.popleft() for _ in range(len(self._values))]
