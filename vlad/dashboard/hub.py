"""One subscription to the daemon, shared out to all browsers.

Every message is one line of JSON, {"stream", "data"}: "status" and "event" as the daemon sends them, "row"
and "history" (history.py), "events" (the newest at once), "link" (whether the daemon is heard) and "answer"
(to an act). A browser acknowledges each status, and gets the next once it did: what it shows is never older
than its network makes it, and one that stops reading costs nothing and is dropped.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from vlad.clock import NS_PER_S, Clock
from vlad.ctl.client import ControlError
from vlad.dashboard.history import NAMES, SECONDS, History
from vlad.dashboard.link import Line, Subscription
from vlad.jsontext import to_json

FASTEST_HZ, IDLE_HZ = 10.0, 1.0
_ROW_S = 0.95
_RETRY_S = 0.5
_EVENTS = 100
_UNACKNOWLEDGED = 2
_LONGEST_LAG_S = 10.0
_MOST_WAITING = 256
_STATUS = '{"stream":"status"'
_EVENT = '{"stream":"event"'


def message(stream: str, data: Any) -> str:
    return to_json({"stream": stream, "data": data})


class Browser:
    """What waits to be sent to one browser: the newest status, and a bounded number of other lines."""

    def __init__(self, clock: Clock) -> None:
        self.gone = asyncio.Event()
        """Set when it is to be dropped."""
        self._clock = clock
        self._status = ""
        self._lines: deque[str] = deque()
        self._unacknowledged: deque[int] = deque()
        self._something = asyncio.Event()

    def put(self, line: str) -> None:
        """Never waits."""
        if line.startswith(_STATUS):
            self._status = line
        elif len(self._lines) < _MOST_WAITING:
            self._lines.append(line)
        else:
            self.gone.set()
        self._something.set()

    def acknowledge(self) -> None:
        """It has shown a status."""
        if self._unacknowledged:
            self._unacknowledged.popleft()
        self._something.set()

    def check(self) -> None:
        """Drop it if it has not read for long."""
        if self._unacknowledged:
            lag_s = (self._clock.now_ns() - self._unacknowledged[0]) / NS_PER_S
            if lag_s > _LONGEST_LAG_S:
                self.gone.set()

    async def send(self, send_text: Callable[[str], Awaitable[None]]) -> None:
        """Send what there is, for ever."""
        while True:
            await self._something.wait()
            self._something.clear()
            while self._lines:
                await send_text(self._lines.popleft())
            if self._status and len(self._unacknowledged) < _UNACKNOWLEDGED:
                line, self._status = self._status, ""
                self._unacknowledged.append(self._clock.now_ns())
                await send_text(line)


class Hub:
    """Listens to the daemon, remembers the last ten minutes, and tells every browser."""

    def __init__(self, subscription: Subscription, line: Line, clock: Clock) -> None:
        """`line` is for questions that nobody waits for."""
        self.browsers: set[Browser] = set()
        self.cameras: tuple[str, ...] = ()
        """The topics that are pictures."""
        self.history = History()
        self._subscription = subscription
        self._line = line
        self._clock = clock
        self._status = ""
        self._events: deque[Any] = deque(maxlen=_EVENTS)
        self._link = message("link", {"up": False, "message": "connecting to the daemon", "hint": ""})
        self._row_ns = 0

    def join(self) -> Browser:
        """A browser that came: it gets all that is known, and then what is new."""
        browser = Browser(self._clock)
        browser.put(self._link)
        history = {"names": NAMES, "seconds": SECONDS, "rows": list(self.history.rows)}
        browser.put(message("history", history))
        browser.put(message("events", list(self._events)))
        if self._status:
            browser.put(self._status)
        self.browsers.add(browser)
        self._subscription.ask(FASTEST_HZ)
        return browser

    def leave(self, browser: Browser) -> None:
        self.browsers.discard(browser)
        if not self.browsers:
            self._subscription.ask(IDLE_HZ)

    async def run(self) -> None:
        """Listen, for ever; where the daemon is not heard, say so and try again."""
        while True:
            try:
                await self._listen()
            except ControlError as error:
                self._status = ""
                self._say_link({"up": False, "message": error.message, "hint": error.hint})
            await asyncio.sleep(_RETRY_S)

    async def _listen(self) -> None:
        events = await self._line.call("events", limit=_EVENTS)
        self._events.clear()
        self._events.extend(events)
        self._tell(message("events", list(self._events)))
        async for line in self._subscription.lines():
            self._take(line)

    def _take(self, line: str) -> None:
        if line.startswith(_STATUS):
            if not self._status:
                self._say_link({"up": True, "message": "", "hint": ""})
            self._status = line
            self._tell(line)
            self._keep(line)
        elif line.startswith(_EVENT):
            self._events.append(json.loads(line)["data"])
            self._tell(line)

    def _keep(self, line: str) -> None:
        """Once a second, take in the figures; and look after the browsers."""
        now_ns = self._clock.now_ns()
        if self.history.rows and now_ns - self._row_ns < _ROW_S * NS_PER_S:
            return
        self._row_ns = now_ns
        status = json.loads(line)["data"]
        signals = status.get("signals") or {}
        pictures = ("image", "compressed_image")
        self.cameras = tuple(topic for topic, signal in signals.items() if signal.get("type") in pictures)
        self._tell(message("row", self.history.add(now_ns / NS_PER_S, status)))
        for browser in self.browsers:
            browser.check()

    def _say_link(self, link: dict[str, Any]) -> None:
        said = message("link", link)
        if said != self._link:
            self._link = said
            self._tell(said)

    def _tell(self, line: str) -> None:
        for browser in self.browsers:
            browser.put(line)
