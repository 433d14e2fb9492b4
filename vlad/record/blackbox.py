"""The black box: the last seconds of everything in memory, and on disk what was worth keeping.

The loop leaves references with `taps`, which costs it about a microsecond each. Two threads do the rest: one
encodes and fills the ring, the other writes files. Neither has a low priority: a thread that is pushed aside
while it holds Python's lock holds up the loop (see `realtime.errand`).
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Any

import vlad
from vlad import realtime
from vlad.clock import Clock, Tick
from vlad.config import Settings
from vlad.messages import Chunk, Command, Level, Sample
from vlad.record.encoder import Encoder
from vlad.record.events import EventLog
from vlad.record.mcapfile import Topic
from vlad.record.ring import Ring
from vlad.record.schemas import OWN_SCHEMAS, SIGNAL_SCHEMAS
from vlad.record.shelf import Shelf
from vlad.record.taps import Order, RecordError, Taps, Turn
from vlad.record.trigger import FOREVER_NS, Trigger
from vlad.record.writer import Writer
from vlad.safety.kernel import Verdict

FOLDER = "recordings"
_MB = 1_000_000
_NS_PER_S = 1_000_000_000
_CLOSE_TIMEOUT_S = 3.0


class BlackBox:
    """All but the threads of `run` is on the loop's thread. A part of the daemon that is not critical."""

    def __init__(self, settings: Settings, robot_name: str, clock: Clock, events: EventLog) -> None:
        self._settings = settings.record
        self._loop_priority = settings.realtime.fifo_priority
        self._clock = clock
        self._events = events
        known = self._settings
        signals = {topic: SIGNAL_SCHEMAS[signal.type] for topic, signal in settings.signals.items()}
        topics = [Topic(name, schema) for name, schema in {**signals, **OWN_SCHEMAS}.items()]
        self.taps = Taps(known.picture_hz)
        self.folder = settings.paths.state_dir / FOLDER
        self.on = known.mode != "off"
        """Whether anything is ever recorded."""
        self._ring = Ring(round(known.before_s * _NS_PER_S), known.memory_mb * _MB)
        self._trigger = Trigger(
            round(known.before_s * _NS_PER_S),
            round(known.after_s * _NS_PER_S),
            continuous=known.mode == "continuous",
        )
        channels = {topic.name: number for number, topic in enumerate(topics, 1)}
        self._encoder = Encoder(self.taps, self._ring, self._trigger, channels, known.jpeg_quality, clock)
        self.shelf = Shelf(self.folder, known.disk_mb * _MB, known.free_mb * _MB, known.protected_s)
        self._writer = Writer(
            self._ring,
            self._trigger,
            self.shelf,
            topics,
            {"robot": robot_name, "vlad": vlad.__version__},
            lambda: self._encoder.offset_ns,
            clock,
            self._tell,
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._threads: list[threading.Thread] = []

    # what the loop leaves ---------------------------------------------------------------------------------

    def sample(self, sample: Sample) -> None:
        """A sensor sample."""
        if self.on:
            self.taps.sample(sample)

    def turn(self, tick: Tick, verdict: Verdict, command: Command | None, task: str) -> None:
        """One turn of the safety tick."""
        if self.on:
            self.taps.items.put(Turn(self._clock.now_ns(), tick, verdict, command, task))

    def chunk(self, chunk: Chunk | None) -> None:
        """An action chunk that the policy made; None: it has been dropped again."""
        if self.on and chunk is not None:
            self.taps.items.put(chunk)

    def order(self, what: str, text: str) -> None:
        """mark, start or stop; RecordError where nothing is recorded at all."""
        if not self.on:
            raise RecordError('record.mode is "off"; set it to "triggered" or "continuous"')
        self.taps.items.put(Order(what, text, self._clock.now_ns()))

    # the part ---------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Record until it is cancelled, or raise what one of the threads raised."""
        if any(thread.is_alive() for thread in self._threads):
            raise RuntimeError(f"{self.folder}: the disk does not answer")
        self._loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = self._loop.create_future()
        stopping, encoded = threading.Event(), threading.Event()
        unsubscribe = self._events.subscribe(self.taps.items.put)
        self._start("encoder", lambda: self._encode(stopping, encoded), ended)
        self._start("recorder", lambda: self._writer.run(stopping, encoded), ended)
        try:
            await ended
        finally:
            unsubscribe()
            stopping.set()
            await asyncio.to_thread(self._join)

    def _start(self, name: str, function: Callable[[], None], ended: asyncio.Future[None]) -> None:
        """A daemon thread: one that a dead disk holds up ends with us."""
        loop = asyncio.get_running_loop()

        def guarded() -> None:
            realtime.errand(self._loop_priority)
            try:
                function()
            except BaseException as error:  # handed to the loop, where the supervisor sees it
                failure = error
            else:
                return
            with contextlib.suppress(RuntimeError):  # the loop is closed, nobody waits for it
                loop.call_soon_threadsafe(_end, ended, failure)

        thread = threading.Thread(target=guarded, name=name, daemon=True)
        self._threads = [*(known for known in self._threads if known.is_alive()), thread]
        thread.start()

    def _encode(self, stopping: threading.Event, encoded: threading.Event) -> None:
        try:
            self._encoder.run(stopping)
        finally:
            encoded.set()

    def _join(self) -> None:
        for thread in self._threads:
            thread.join(_CLOSE_TIMEOUT_S)

    def _tell(self, level: Level, text: str, path: str) -> None:
        """From the writer's thread to the event log, which belongs to the loop's."""
        loop = self._loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(lambda: self._events.put("record", level, text, path=path))

    # what it says of itself -------------------------------------------------------------------------------

    @property
    def problem(self) -> str:
        """Why nothing reaches the disk; empty: all is well."""
        return self._writer.problem

    def recordings(self) -> list[dict[str, Any]]:
        """What is in the folder, the oldest first; reads the disk, so not on the loop."""
        with contextlib.suppress(OSError):
            return [
                {
                    "file": str(known.path),
                    "size_mb": round(known.size / _MB, 3),
                    "ended_ns": known.ended_ns,
                    "whole": known.whole,
                }
                for known in self.shelf.recordings()
            ]
        return []

    def report(self) -> dict[str, Any]:
        """The `record` part of the status."""
        writer, wanted, now_ns = self._writer, self._trigger.wanted, self._clock.now_ns()
        path = writer.path
        until_ns = wanted.until_ns if wanted and path else 0
        return {
            "mode": self._settings.mode,
            "state": _state(on=self.on, recording=path is not None, problem=writer.problem),
            "file": str(path) if path else None,
            "causes": [f"{cause.kind} {cause.detail}".rstrip() for cause in wanted.causes[-5:]]
            if wanted and path
            else [],
            "ends_in_s": None if not path or until_ns == FOREVER_NS else round((until_ns - now_ns) / 1e9, 1),
            "folder": str(self.folder),
            "finished": writer.finished,
            "held_s": round(self._ring.held_s(), 1),
            "held_mb": round(self._ring.size / _MB, 1),
            "messages": self._encoder.messages,
            "dropped": self.taps.items.dropped,
            "pictures_dropped": self.taps.pictures.dropped + self._encoder.failed,
            "chunks_lost": self._ring.lost,
            "problem": writer.problem,
        }


def _end(ended: asyncio.Future[None], failure: BaseException) -> None:
    if not ended.done():
        ended.set_exception(failure)


def _state(*, on: bool, recording: bool, problem: str) -> str:
    if not on:
        return "off"
    if problem:
        return "failed"
    return "recording" if recording else "waiting"
