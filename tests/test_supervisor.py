"""A part that dies is run again with growing pauses, or, if it is critical, stops the robot."""

import asyncio

import pytest

from vlad.clock import FakeClock
from vlad.supervisor import Part, supervise


class Events:
    def __init__(self):
        self.texts = []

    def put(self, kind, level, text, **data):
        self.texts.append(text)


async def breaks():
    raise OSError("the socket is gone")


async def ends():
    return


async def test_a_critical_part_is_not_run_again_and_is_reported():
    events, failed = Events(), []
    part = Part("watchdog", breaks, critical=True)
    await supervise(part, FakeClock(), events, failed.append)
    assert failed == ["watchdog"]
    assert part.state == "failed"
    assert part.error == "OSError: the socket is gone"
    assert events.texts == ["watchdog: OSError: the socket is gone"]


async def test_a_part_that_ends_without_an_error_counts_as_dead_too():
    failed = []
    await supervise(Part("watchdog", ends, critical=True), FakeClock(), Events(), failed.append)
    assert failed == ["watchdog"]


async def restarted(monkeypatch, part, clock, times, events=None):
    """Supervise until `times` restarts; the pauses that were made."""
    pauses = []

    async def pause(seconds):
        pauses.append(seconds)
        if len(pauses) == times:
            raise asyncio.CancelledError

    monkeypatch.setattr("vlad.supervisor.asyncio.sleep", pause)
    task = asyncio.create_task(supervise(part, clock, events or Events(), lambda name: None))
    await asyncio.gather(task, return_exceptions=True)
    return pauses


async def test_the_pauses_grow_up_to_five_seconds(monkeypatch):
    part = Part("control", breaks, critical=False)
    pauses = await restarted(monkeypatch, part, FakeClock(), 8)
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    assert part.state == "restarting"
    assert part.restarts == 7


async def test_the_longest_pause_is_the_part_s_own(monkeypatch):
    part = Part("inference", breaks, critical=False, longest_backoff_s=0.5)
    assert await restarted(monkeypatch, part, FakeClock(), 5) == [0.1, 0.2, 0.4, 0.5, 0.5]


async def test_a_part_that_fails_again_and_again_for_one_reason_is_told_of_once(monkeypatch):
    clock, events = FakeClock(), Events()
    reasons = iter(["gone", "gone", "gone", "another", "another", "long after: another", "another"])

    async def fails():
        reason = next(reasons)
        if reason.startswith("long after"):
            clock.advance(1)
            reason = "another"
        raise OSError(reason)

    part = Part("inference", fails, critical=False, longest_backoff_s=0.5)
    await restarted(monkeypatch, part, clock, 7, events)
    assert events.texts == [f"inference: OSError: {reason}" for reason in ("gone", "another", "another")]


@pytest.mark.parametrize(("told", "traced"), [((OSError,), False), ((ValueError,), True), ((), True)])
async def test_only_what_says_by_itself_what_is_wrong_is_logged_without_a_traceback(caplog, told, traced):
    await supervise(Part("watchdog", breaks, critical=True, told=told), FakeClock(), Events(), [].append)
    (record,) = caplog.records
    assert record.getMessage() == "watchdog failed: OSError: the socket is gone"
    assert bool(record.exc_info) == traced


async def test_a_part_that_ran_long_enough_is_run_again_after_a_short_pause(monkeypatch):
    clock = FakeClock()

    async def runs_a_minute():
        clock.advance(60)
        raise OSError("late")

    part = Part("control", runs_a_minute, critical=False)
    assert await restarted(monkeypatch, part, clock, 3) == [0.1, 0.1, 0.1]
