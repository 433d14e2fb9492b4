"""/metrics: however many scrape how often, the daemon is asked five times a second at most."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from vlad.clock import FakeClock
from vlad.ctl.client import ControlError
from vlad.dashboard import scrape
from vlad.dashboard.link import Line
from vlad.dashboard.scrape import Scrape


class Asked:
    """A daemon that counts how often it is asked, and answers with that."""

    def __init__(self) -> None:
        self.times = 0
        self.is_gone = False

    async def call(self, method: str) -> dict[str, Any]:
        await asyncio.sleep(0)
        self.times += 1
        if self.is_gone:
            raise ControlError("not_running", "no daemon listens", "start it")
        return {method: self.times}


@pytest.fixture
def daemon(monkeypatch: pytest.MonkeyPatch) -> Asked:
    monkeypatch.setattr(scrape, "_renderer", lambda: lambda answer: str(answer).encode())
    return Asked()


def scraped(daemon: Asked, clock: FakeClock) -> Scrape:
    return Scrape(cast(Line, daemon), clock)


async def test_a_hundred_scrapes_at_once_are_one_question(daemon: Asked) -> None:
    page = scraped(daemon, FakeClock())
    texts = await asyncio.gather(*(page.text() for _ in range(100)))
    assert set(texts) == {b"{'metrics': 1}"}
    assert daemon.times == 1


async def test_a_scrape_every_ten_milliseconds_asks_five_times_a_second(daemon: Asked) -> None:
    clock = FakeClock()
    page = scraped(daemon, clock)
    for _ in range(500):
        await page.text()
        clock.advance(0.01)
    assert 20 <= daemon.times <= 25


async def test_a_daemon_that_is_gone_is_told_and_asked_again(daemon: Asked) -> None:
    clock = FakeClock()
    page = scraped(daemon, clock)
    await page.text()
    daemon.is_gone = True
    clock.advance(0.21)
    with pytest.raises(ControlError, match="no daemon listens"):
        await page.text()
    daemon.is_gone = False
    assert await page.text() == b"{'metrics': 3}"


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scrape, "find_spec", lambda name: None)
    with pytest.raises(ControlError, match="prometheus_client is not installed") as refused:
        scrape._renderer()
    assert refused.value.hint == "pip install 'vlad[page]'"
