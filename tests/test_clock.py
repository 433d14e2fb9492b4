"""The clocks, and the ticker on a real timerfd: it does not drift, and misses nothing without saying so."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from itertools import pairwise

import pytest
import uvloop

from vlad.clock import NS_PER_S, FakeClock, SystemClock, Tick, Ticker

PERIOD_NS = 5_000_000


@pytest.fixture(params=["asyncio", "uvloop"])
def runner(request: pytest.FixtureRequest) -> Iterator[asyncio.Runner]:
    factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop
    with asyncio.Runner(loop_factory=factory) as made:
        yield made


async def ticks(count: int, hold_s: float = 0, wake: bool = False) -> list[Tick]:
    """So many turns of a real ticker; before the second the loop is held, after each a turn is asked for."""
    ticker = Ticker(PERIOD_NS, SystemClock())
    ticker.start()
    turns = []
    try:
        for number in range(count):
            if number == 1 and hold_s:
                time.sleep(hold_s)
            turns.append(await asyncio.wait_for(ticker.wait(), 5))
            if wake and not turns[-1].early:
                ticker.wake()
    finally:
        ticker.close()
    return turns


def test_the_system_clock_is_the_machines() -> None:
    clock = SystemClock()
    before = time.monotonic_ns()
    assert before <= clock.now_ns() <= time.monotonic_ns()
    assert abs(clock.wall_ns() - time.time_ns()) < 10 * NS_PER_S


def test_the_fake_clock_moves_only_when_told() -> None:
    clock = FakeClock(now_ns=5, wall_ns=7)
    assert (clock.now_ns(), clock.wall_ns()) == (5, 7)
    clock.advance(1.5)
    assert (clock.now_ns(), clock.wall_ns()) == (1_500_000_005, 1_500_000_007)
    clock.jump_wall(-365 * 24 * 3_600)
    assert clock.now_ns() == 1_500_000_005
    assert clock.wall_ns() < 0
    with pytest.raises(ValueError, match="does not go back"):
        clock.advance(-0.1)


def test_turns_are_due_at_whole_periods_and_never_early(runner: asyncio.Runner) -> None:
    turns = runner.run(ticks(40))
    assert all(not turn.early and turn.late_ns >= 0 for turn in turns)
    for before, after in pairwise(turns):
        assert after.due_ns - before.due_ns == PERIOD_NS * (1 + after.missed)


def test_lateness_does_not_add_up(runner: asyncio.Runner) -> None:
    turns = runner.run(ticks(40))
    periods = len(turns) - 1 + sum(turn.missed for turn in turns[1:])
    assert turns[-1].due_ns - turns[0].due_ns == PERIOD_NS * periods


def test_a_held_loop_is_told_how_many_periods_it_missed(runner: asyncio.Runner) -> None:
    turns = runner.run(ticks(2, hold_s=0.1))
    assert turns[1].missed >= 15
    assert turns[1].late_ns >= turns[1].missed * PERIOD_NS, "as late as the first period that it missed"


def test_a_turn_in_between_comes_at_once_and_leaves_the_schedule_alone(runner: asyncio.Runner) -> None:
    turns = runner.run(ticks(40, wake=True))
    early = [turn for turn in turns if turn.early]
    assert len(early) >= 15
    assert all(turn.late_ns == turn.missed == 0 for turn in early)
    on_time = [turn for turn in turns if not turn.early]
    for before, after in pairwise(on_time):
        assert after.due_ns - before.due_ns == PERIOD_NS * (1 + after.missed)


async def test_many_wishes_make_one_turn() -> None:
    ticker = Ticker(10 * NS_PER_S, SystemClock())
    ticker.start()
    waiting = asyncio.create_task(ticker.wait())
    await asyncio.sleep(0)
    for _ in range(3):
        ticker.wake()
    assert (await asyncio.wait_for(waiting, 5)).early
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(ticker.wait(), 0.05)
    ticker.close()


async def test_a_wish_before_the_wait_is_not_lost() -> None:
    ticker = Ticker(10 * NS_PER_S, SystemClock())
    ticker.start()
    ticker.wake()
    assert (await asyncio.wait_for(ticker.wait(), 5)).early
    ticker.close()


async def test_a_period_that_is_due_any_moment_is_the_turn_that_was_asked_for() -> None:
    ticker = Ticker(200_000, SystemClock())
    ticker.start()
    for _ in range(20):
        ticker.wake()
        assert not (await asyncio.wait_for(ticker.wait(), 5)).early
    ticker.close()


@pytest.mark.parametrize(
    ("since_due_ms", "wait_ms"), [(0, 0), (7.9, 0), (8, 3), (9.5, 1.5), (10, 1), (10.5, 1), (60_000, 1)]
)
def test_what_takes_long_waits_where_it_would_make_a_turn_late(since_due_ms: float, wait_ms: float) -> None:
    clock = FakeClock(now_ns=round(since_due_ms * 1e6))
    assert Ticker(10_000_000, clock).room_in_s() == pytest.approx(wait_ms / 1e3)


def test_between_two_turns_there_is_room_at_any_rate() -> None:
    assert Ticker(NS_PER_S // 1_000, FakeClock(now_ns=400_000)).room_in_s() == 0
    assert Ticker(NS_PER_S // 1_000, FakeClock(now_ns=600_000)).room_in_s() > 0


async def test_turns_that_ask_for_turns_leave_the_loop_to_others() -> None:
    ticker = Ticker(PERIOD_NS, SystemClock())
    ticker.start()
    periodic = 0

    async def greedy() -> None:
        nonlocal periodic
        while True:
            ticker.wake()
            periodic += not (await ticker.wait()).early

    task = asyncio.create_task(greedy())
    await asyncio.wait_for(asyncio.sleep(0.1), 5)
    assert periodic >= 3, "the periods go on as well"
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    ticker.close()


async def test_close_ends_who_waits_and_gives_the_descriptor_back() -> None:
    before = len(os.listdir("/proc/self/fd"))
    ticker = Ticker(10 * NS_PER_S, SystemClock())
    ticker.start()
    waiting = asyncio.create_task(ticker.wait())
    await asyncio.sleep(0)
    ticker.close()
    ticker.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert len(os.listdir("/proc/self/fd")) == before


async def test_a_cancelled_wait_can_be_followed_by_another() -> None:
    ticker = Ticker(PERIOD_NS, SystemClock())
    ticker.start()
    waiting = asyncio.create_task(ticker.wait())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert not (await asyncio.wait_for(ticker.wait(), 5)).early
    ticker.close()


def test_a_period_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="must be positive"):
        Ticker(0, FakeClock())


async def test_who_waits_is_cancelled_by_the_end_even_where_it_comes_with_a_turn() -> None:
    ticker = Ticker(10 * NS_PER_S, SystemClock())
    ticker.start()

    async def turns() -> None:
        while True:
            await ticker.wait()

    waiting = asyncio.create_task(turns())
    await asyncio.sleep(0)
    ticker.wake()
    ticker.close()
    async with asyncio.timeout(5):
        await asyncio.wait([waiting])
    assert waiting.cancelled()
