"""The black box itself: the last seconds of everything in memory, and on disk what was worth keeping.

It runs in a process of its own. One thread reads the daemon's feed, encodes and fills the ring; the other
writes files, for a disk may take its time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import vlad
from vlad.clock import NS_PER_S, Clock
from vlad.feed import FeedReader
from vlad.messages import Level
from vlad.record.encoder import Encoder
from vlad.record.mcapfile import Topic
from vlad.record.orders import Order, Setup
from vlad.record.ring import Ring
from vlad.record.schemas import OWN_SCHEMAS, SIGNAL_SCHEMAS
from vlad.record.shelf import Shelf
from vlad.record.trigger import FOREVER_NS, Trigger
from vlad.record.writer import Writer

_MB = 1_000_000
_REPORT_NS = NS_PER_S
_LONGEST_CAUSE, _LONGEST_TEXT = 150, 1_000

Say = Callable[[dict[str, Any]], None]


class Recorder:
    """`turn` twenty times a second, and `obey` in between; `close` finishes what is being written.

    `say` is given what the daemon shall know, from either thread.
    """

    def __init__(self, setup: Setup, clock: Clock, say: Say) -> None:
        self._clock = clock
        self._say = say
        before_ns, after_ns = round(setup.before_s * NS_PER_S), round(setup.after_s * NS_PER_S)
        signals = {topic: SIGNAL_SCHEMAS[kind] for topic, kind in setup.signals.items()}
        topics = [Topic(name, schema) for name, schema in {**signals, **OWN_SCHEMAS}.items()]
        channels = {topic.name: number for number, topic in enumerate(topics, 1)}
        self._ring = Ring(before_ns, setup.memory_mb * _MB)
        self._trigger = Trigger(before_ns, after_ns, continuous=setup.mode == "continuous")
        self._encoder = Encoder(self._ring, self._trigger, channels, setup.jpeg_quality, clock)
        shelf = Shelf(Path(setup.folder), setup.disk_mb * _MB, setup.free_mb * _MB, setup.protected_s)
        self._writer = Writer(
            self._ring,
            self._trigger,
            shelf,
            topics,
            {"robot": setup.robot, "vlad": vlad.__version__},
            lambda: self._encoder.offset_ns,
            clock,
            self._tell,
        )
        self._reader = FeedReader(Path(setup.run_dir))
        self._stopping = threading.Event()
        self._thread = threading.Thread(
            target=self._writer.run, args=(self._stopping,), name="writer", daemon=True
        )
        self._thread.start()
        self._behind = _Losses()
        self._reported_ns = 0
        self._reported: tuple[Any, ...] = ()

    @property
    def healthy(self) -> bool:
        """Whether the writer lives; if not, it has said why."""
        return self._thread.is_alive()

    def turn(self) -> None:
        """Take what the daemon has fed since, after a jam a part of it."""
        self._take()
        self._encoder.turn()
        self._behind.see(self._reader.behind)
        self._report()

    def obey(self, order: Order) -> None:
        """An operator's wish."""
        self._trigger.obey(order)

    def close(self, *, crashed: bool) -> None:
        """Finish the file; where the daemon `crashed`, with all that led to it."""
        while self._take():
            continue
        if crashed:
            self._trigger.call("crash", "vlad is gone", self._clock.now_ns())
        self._encoder.close()
        self._stopping.set()
        self._thread.join()
        self._reader.close()

    def _take(self) -> int:
        """How much there was."""
        taken = 0
        for item in self._reader.items():
            self._encoder.take(item)
            taken += 1
        return taken

    def _tell(self, level: Level, text: str, path: str) -> None:
        self._say({"level": level.name, "text": text[:_LONGEST_TEXT], "path": path})

    def _report(self) -> None:
        """Every second, and at once where what matters has changed."""
        now_ns, writer, wanted = self._clock.now_ns(), self._writer, self._trigger.wanted
        why = (wanted.causes, wanted.until_ns == FOREVER_NS) if wanted else ()
        known = (writer.path, writer.problem, writer.finished, why)
        due = now_ns - self._reported_ns >= _REPORT_NS
        if due:
            self._behind.settle()
        if due or known != self._reported:
            self._reported_ns, self._reported = now_ns, known
            self._say({"report": self._state(now_ns)})

    def _state(self, now_ns: int) -> dict[str, Any]:
        writer, wanted = self._writer, self._trigger.wanted
        path = writer.path
        state: dict[str, Any] = {
            "state": "failed" if writer.problem else "recording" if path else "waiting",
            "file": str(path) if path else None,
            "causes": [],
            "ends_in_s": None,
            "finished": writer.finished,
            "held_s": round(self._ring.held_s(), 1),
            "held_mb": round(self._ring.size / _MB, 1),
            "messages": self._encoder.messages,
            "dropped": self._reader.lost + self._reader.bad,
            "pictures_dropped": self._behind.lost + self._encoder.failed,
            "chunks_lost": self._ring.lost,
            "problem": writer.problem,
        }
        if wanted and path:
            said = (f"{cause.kind} {cause.detail}".rstrip() for cause in wanted.causes[-5:])
            state["causes"] = [text[:_LONGEST_CAUSE] for text in said]
            if wanted.until_ns != FOREVER_NS:
                state["ends_in_s"] = round((wanted.until_ns - now_ns) / NS_PER_S, 1)
        return state


class _Losses:
    """Pictures that never came: some are always under way, but not all the time the same number."""

    def __init__(self) -> None:
        self.lost = 0
        self._least: int | None = None
        self._before: int | None = None

    def see(self, behind: int) -> None:
        """How many more were sent than came, just now."""
        self._least = behind if self._least is None else min(self._least, behind)

    def settle(self) -> None:
        """A second is over: what was missing all the time will not come. What was before us is no loss."""
        if self._least is not None:
            self._before = self._least if self._before is None else min(self._before, self._least)
            self.lost = self._least - self._before
        self._least = None
