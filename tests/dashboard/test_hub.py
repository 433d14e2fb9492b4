"""What is told to which browser, and which one is dropped."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator

from vlad.clock import FakeClock
from vlad.dashboard.hub import Browser, message


@contextlib.asynccontextmanager
async def reading(browser: Browser, got: list[str]) -> AsyncIterator[None]:
    async def take(line: str) -> None:
        got.append(line)

    task = asyncio.create_task(browser.send(take))
    yield
    task.cancel()


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def status(number: int) -> str:
    return message("status", {"number": number})


async def test_a_browser_gets_the_newest_status_once_it_has_shown_the_one_before() -> None:
    browser, got = Browser(FakeClock()), list[str]()
    async with reading(browser, got):
        for number in range(10):
            browser.put(status(number))
            await settle()
        assert got == [status(0), status(1)]
        browser.acknowledge()
        await settle()
        assert got[2:] == [status(9)]


async def test_what_is_no_status_does_not_wait_for_an_acknowledgement() -> None:
    browser, got = Browser(FakeClock()), list[str]()
    async with reading(browser, got):
        for number in range(5):
            browser.put(status(number))
            browser.put(message("event", {"id": number}))
            await settle()
    assert [json.loads(line)["data"]["id"] for line in got if '"event"' in line] == [0, 1, 2, 3, 4]


async def test_a_browser_that_acknowledges_nothing_for_ten_seconds_is_dropped() -> None:
    clock = FakeClock()
    browser, got = Browser(clock), list[str]()
    async with reading(browser, got):
        browser.put(status(1))
        await settle()
        clock.advance(9)
        browser.check()
        assert not browser.gone.is_set()
        clock.advance(2)
        browser.check()
        assert browser.gone.is_set()


async def test_a_browser_that_reads_is_never_dropped() -> None:
    clock = FakeClock()
    browser, got = Browser(clock), list[str]()
    async with reading(browser, got):
        for number in range(100):
            browser.put(status(number))
            await settle()
            browser.acknowledge()
            clock.advance(1)
            browser.check()
    assert not browser.gone.is_set()
    assert got == [status(number) for number in range(100)]


async def test_what_waits_for_a_browser_is_bounded() -> None:
    browser = Browser(FakeClock())
    for number in range(1_000):
        browser.put(status(number))
    assert not browser.gone.is_set()
    for number in range(257):
        browser.put(message("event", {"id": number}))
    assert browser.gone.is_set()
