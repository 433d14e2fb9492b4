"""The demo's view of vlad: its status and events as they come, and the acts of an operator."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from pathlib import Path
from typing import Any

from vlad.ctl.client import Client, ControlError

_STATUS_HZ = 4.0


class Daemon:
    """A connected vlad. Acts may raise ControlError; `status` and `take_events` never wait."""

    def __init__(self, run_dir: Path) -> None:
        """ControlError (not_running) as long as the daemon does not serve its control socket."""
        self._acting = Client(run_dir)
        self._watching = Client(run_dir)
        self._events: deque[dict[str, Any]] = deque(self._acting.call("events", limit=50))
        self._came = threading.Condition()
        self._newest = max((int(event["id"]) for event in self._events), default=0)
        self.status: dict[str, Any] = self._acting.call("status")
        threading.Thread(target=self._watch, name="watch vlad", daemon=True).start()

    def refresh(self) -> dict[str, Any]:
        """The status as of now."""
        self.status = self._acting.call("status")
        return self.status

    def catch_up(self, timeout_s: float = 1.0) -> None:
        """Wait until all events until now have come in: they have a connection of their own."""
        newest = max((event["id"] for event in self._acting.call("events", limit=1)), default=0)
        with self._came:
            self._came.wait_for(lambda: self._newest >= newest, timeout_s)

    def take_events(self) -> list[dict[str, Any]]:
        """The events since the last call, oldest first."""
        return [self._events.popleft() for _ in range(len(self._events))]

    def arm(self) -> list[dict[str, Any]]:
        """Empty: armed. Else the refusals."""
        return list(self._acting.call("arm")["refusals"])

    def reset(self) -> list[dict[str, Any]]:
        """Empty: disarmed. Else the faults that persist."""
        return list(self._acting.call("reset")["refusals"])

    def disarm(self) -> None:
        self._acting.call("disarm")

    def tell(self, text: str) -> None:
        """Give an instruction; empty: none."""
        self._acting.call("task", text=text)

    def _watch(self) -> None:
        """In a thread of its own: a stream ends only with its daemon."""
        with contextlib.suppress(ControlError), self._watching as client:
            for stream, data in client.stream(status_hz=_STATUS_HZ, events=True):
                if stream == "status":
                    self.status = data
                else:
                    with self._came:
                        self._events.append(data)
                        self._newest = int(data["id"])
                        self._came.notify_all()
