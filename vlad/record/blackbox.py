"""The daemon's side of the black box: it runs the recorder, hands on orders, and knows how it is.

The recorder is a process of its own, for encoding beside the loop would make the safety tick late. What it
records it takes from the daemon's feed.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import Any

from vlad.beside import Process
from vlad.clock import Clock
from vlad.config import Settings
from vlad.messages import Level
from vlad.record.events import EventLog
from vlad.record.orders import Order, RecordError, Setup, said
from vlad.record.shelf import Shelf

FOLDER = "recordings"
_WORDS = (sys.executable, "-m", "vlad.record")
_MB = 1_000_000
_END_S = 3.0
_QUIET: dict[str, Any] = {
    "state": "starting",
    "file": None,
    "causes": [],
    "ends_in_s": None,
    "finished": 0,
    "held_s": 0.0,
    "held_mb": 0.0,
    "messages": 0,
    "dropped": 0,
    "pictures_dropped": 0,
    "chunks_lost": 0,
    "problem": "",
}


class RecorderError(Exception):
    """The recorder has ended, though nobody asked it to."""


class BlackBox:
    """A part of the daemon that is not critical; all of it is on the loop's thread."""

    def __init__(self, settings: Settings, robot_name: str, clock: Clock, events: EventLog) -> None:
        known = settings.record
        self.folder = settings.paths.state_dir / FOLDER
        self.on = known.mode != "off"
        """Whether anything is ever recorded."""
        self._mode = known.mode
        self._clock = clock
        self._events = events
        self._setup = Setup(
            run_dir=str(settings.paths.run_dir.absolute()),
            folder=str(self.folder.absolute()),
            robot=robot_name,
            signals={topic: signal.type for topic, signal in settings.signals.items()},
            **known.model_dump(exclude={"picture_hz"}),
        )
        self._process = Process(_WORDS)
        self._standing: Order | None = None
        self._report = _QUIET

    @property
    def pid(self) -> int | None:
        """Of the recorder; None: it does not run."""
        return self._process.pid

    def order(self, what: str, text: str) -> None:
        """mark, start or stop; RecordError where nothing can be recorded just now."""
        if not self.on:
            raise RecordError('record.mode is "off"; set it to "triggered" or "continuous"')
        if self._process.pid is None:
            raise RecordError("the recorder is being started; try again, or see the parts in vladctl status")
        order = Order(what, text, self._clock.now_ns())
        if what != "mark":
            self._standing = order
        self._process.send(order.line())

    async def run(self) -> None:
        """Record until it is cancelled; RecorderError where the recorder ends by itself."""
        first = self._setup.line() + (self._standing.line() if self._standing else b"")
        recorder = asyncio.create_task(self._process.run(self._heard, first), name="recorder")
        try:
            status = await asyncio.shield(recorder)
        except asyncio.CancelledError:
            await self._end(recorder)
            raise
        what = f"the recorder ended with status {status}; it is started again, and mends what it was writing"
        self._report = {**_QUIET, "finished": self._report["finished"], "state": "failed", "problem": what}
        raise RecorderError(what)

    async def _end(self, recorder: asyncio.Task[int]) -> None:
        """Have it finish its file, and hear what it says about that."""
        if self._process.pid is not None:
            self._process.send(Order("end", "", self._clock.now_ns()).line())
            await asyncio.wait([recorder], timeout=_END_S)
        recorder.cancel()
        await asyncio.gather(recorder, return_exceptions=True)

    def _heard(self, line: bytes) -> None:
        match said(line):
            case {"report": dict(report)}:
                self._report = {**_QUIET, **report}
            case {"level": str(level), "text": str(text), "path": str(path)}:
                self._events.put("record", Level[level], text, path=path)

    @property
    def problem(self) -> str:
        """Why nothing reaches the disk; empty: all is well."""
        problem: str = self._report["problem"]
        return problem

    def recordings(self) -> list[dict[str, Any]]:
        """What is in the folder, the oldest first; reads the disk, so not on the loop."""
        shelf = Shelf(self.folder, 0, 0, 0)
        with contextlib.suppress(OSError):
            return [
                {
                    "file": str(known.path),
                    "size_mb": round(known.size / _MB, 3),
                    "ended_ns": known.ended_ns,
                    "whole": known.whole,
                }
                for known in shelf.recordings()
            ]
        return []

    def report(self) -> dict[str, Any]:
        """The `record` part of the status."""
        state = {"state": "off"} if not self.on else {}
        return {"mode": self._mode, **self._report, **state, "folder": str(self.folder)}
