"""An event log in the `path` of the test."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from vlad.clock import FakeClock
from vlad.record.events import EventLog


@pytest.fixture
def opened(path: Path) -> Iterator[Callable[[], EventLog]]:
    logs: list[EventLog] = []

    def make() -> EventLog:
        logs.append(EventLog(path, FakeClock()))
        return logs[-1]

    yield make
    for log in logs:
        log.close()
