"""Out of the process: each alert is posted to a webhook, and a command is run for it.

Each outlet has a thread and a bounded queue of its own, so that one which hangs delays nothing, and loses the
oldest message when it hangs for long. Whoever gets the messages may see one twice: an answer can get lost.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeAlias

from vlad.health.settings import HealthSettings
from vlad.queues import DropOldest

_WAITING = 64
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 60.0
_CLOSE_TIMEOUT_S = 0.5

Deliver: TypeAlias = Callable[[str], None]


class DeliveryError(Exception):
    """A message did not get through; the text says why. `again`: it may if it is tried once more."""

    def __init__(self, why: str, *, again: bool) -> None:
        super().__init__(why)
        self.again = again


class Outlet:
    """Delivers messages one after the other. `put` belongs to one thread and never waits."""

    def __init__(
        self,
        name: str,
        deliver: Deliver,
        cancel: Callable[[], None] = lambda: None,
        first_pause_s: float = _FIRST_PAUSE_S,
    ) -> None:
        """`deliver` raises DeliveryError where it cannot; `cancel` ends it early, as far as it can be."""
        self.name = name
        self.problem = ""
        """Why the newest try failed; empty: it did not."""
        self.delivered = 0
        self._lost = 0
        self._deliver = deliver
        self._cancel = cancel
        self._first_pause_s = first_pause_s
        self._waiting: DropOldest[str] = DropOldest(_WAITING)
        self._wakeup = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"alert {name}", daemon=True)
        self._thread.start()

    @property
    def lost(self) -> int:
        """Messages that were refused for good, or had to make room for newer ones."""
        return self._lost + self._waiting.dropped

    def put(self, message: str) -> None:
        """JSON, one message."""
        self._waiting.put(message)
        self._wakeup.set()

    def close(self) -> None:
        """End the thread; one that a webhook holds up is left behind."""
        self._closing.set()
        self._wakeup.set()
        self._cancel()
        self._thread.join(_CLOSE_TIMEOUT_S)

    def _run(self) -> None:
        while not self._closing.is_set():
            self._wakeup.wait()
            self._wakeup.clear()
            while not self._closing.is_set() and (message := self._waiting.take()) is not None:
                self._insist(message)

    def _insist(self, message: str) -> None:
        """Until it is delivered, refused for good, or newer ones have filled the queue."""
        pause_s, dropped = self._first_pause_s, self._waiting.dropped
        while not self._closing.is_set():
            try:
                self._deliver(message)
            except DeliveryError as error:
                self.problem = str(error)
                if not error.again or self._waiting.dropped > dropped:
                    self._lost += 1
                    return
            else:
                self.problem = ""
                self.delivered += 1
                return
            self._closing.wait(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


def open_outlets(settings: HealthSettings) -> tuple[Outlet, ...]:
    """Those that the settings name. What speaks HTTP is imported only where it does."""
    outlets = []
    if settings.webhook:
        from vlad.health.webhook import webhook

        outlets.append(Outlet("webhook", webhook(settings.webhook, settings.timeout_s)))
    if settings.command:
        from vlad.health.command import Command

        program = Command(settings.command, settings.timeout_s)
        outlets.append(Outlet("command", program.deliver, program.cancel))
    return tuple(outlets)
