"""/metrics: the daemon's figures for Prometheus."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from vlad.clock import NS_PER_S, Clock
from vlad.ctl.client import ControlError
from vlad.dashboard.link import Line

KEPT_S = 0.2
MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Scrape:
    """The daemon is asked at most five times a second, however many scrape how often."""

    def __init__(self, line: Line, clock: Clock) -> None:
        self._line = line
        self._clock = clock
        self._turn = asyncio.Lock()
        self._text = b""
        self._asked_ns: int | None = None

    async def text(self) -> bytes:
        """ControlError where the daemon does not answer."""
        async with self._turn:
            now_ns = self._clock.now_ns()
            if self._asked_ns is None or now_ns - self._asked_ns > KEPT_S * NS_PER_S:
                self._text = _renderer()(await self._line.call("metrics"))
                self._asked_ns = now_ns
            return self._text


def _renderer() -> Callable[[dict[str, Any]], bytes]:
    """Not imported before somebody scrapes."""
    if find_spec("prometheus_client") is None:
        raise ControlError("unavailable", "prometheus_client is not installed", "pip install 'vlad[page]'")
    render: Callable[[dict[str, Any]], bytes] = import_module("vlad.dashboard.metrics").render
    return render
