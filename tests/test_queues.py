"""The bounded queues: nothing blocks, nothing grows, every loss is counted."""

from __future__ import annotations

import threading
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlad.queues import DropOldest, Latest

moves = st.lists(st.just("take") | st.just("clear") | st.integers())


@given(moves)
def test_latest_gives_the_newest_value_once_and_counts_the_replaced(script: list[str | int]) -> None:
    slot: Latest[int] = Latest()
    newest, fresh, dropped, puts = None, False, 0, 0
    for move in script:
        if move == "take":
            assert slot.take() == (newest if fresh else None)
            fresh = False
        elif move == "clear":
            slot.clear()
            newest, fresh = None, False
        else:
            slot.put(int(move))
            dropped += fresh
            newest, fresh, puts = int(move), True, puts + 1
        assert slot.peek() == newest
    assert (slot.dropped, slot.puts) == (dropped, puts)


def test_latest_sees_the_same_object_put_again_as_a_new_value() -> None:
    slot: Latest[str] = Latest()
    for _ in range(2):
        slot.put("same")
        assert slot.take() == "same"
        assert slot.take() is None


def test_latest_between_threads_gives_no_value_twice_and_ends_with_the_last() -> None:
    slot: Latest[int] = Latest()
    taken: list[int] = []
    done = threading.Event()

    def take() -> None:
        while not done.is_set():
            if (value := slot.take()) is not None:
                taken.append(value)

    taker = threading.Thread(target=take)
    taker.start()
    for number in range(1, 20_001):
        slot.put(number)
    done.set()
    taker.join()
    if (value := slot.take()) is not None:
        taken.append(value)
    assert taken[-1] == 20_000
    assert all(before < after for before, after in pairwise(taken))


@given(st.integers(1, 8), st.lists(st.just("take") | st.just("all") | st.integers()))
def test_drop_oldest_keeps_the_newest_in_order_and_counts_the_rest(
    capacity: int, script: list[str | int]
) -> None:
    queue: DropOldest[int] = DropOldest(capacity)
    model: list[int] = []
    dropped = puts = 0
    for move in script:
        if move == "take":
            assert queue.take() == (model.pop(0) if model else None)
        elif move == "all":
            assert queue.take_all() == model
            model = []
        else:
            queue.put(int(move))
            model.append(int(move))
            puts += 1
            dropped += len(model) > capacity
            model = model[-capacity:]
        assert len(queue) == len(model) <= capacity
    assert (queue.dropped, queue.puts) == (dropped, puts)


def test_drop_oldest_between_threads_keeps_order() -> None:
    queue: DropOldest[int] = DropOldest(16)
    taken: list[int] = []
    done = threading.Event()

    def take() -> None:
        while not done.is_set() or len(queue):
            taken.extend(queue.take_all())

    taker = threading.Thread(target=take)
    taker.start()
    for number in range(20_000):
        queue.put(number)
    done.set()
    taker.join()
    assert taken == sorted(set(taken))
    assert taken[-1] == 19_999


def test_a_queue_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one value, got 0"):
        DropOldest(0)
