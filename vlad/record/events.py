"""The event log: what happened, when, how bad it was and who did it, for people and for later.

`put` is called from the safety tick, so it costs a queue entry and one system call. A thread of its own
writes to SQLite, and what is counted and measured with it. A disk that is full, read-only or slow is logged
and waited for; a corrupt database is moved aside. Neither ever reaches the caller.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from vlad.clock import Clock
from vlad.messages import Level
from vlad.queues import DropOldest
from vlad.record.history import Minute, newest_events
from vlad.record.store import Entry, Record, Store, Totals, is_corrupt

log = logging.getLogger(__name__)

_WAITING = 4_096
_RECENT = 1_000
_RETRY_S = 2.0

Subscriber = Callable[[dict[str, Any]], None]


class EventLog:
    """`put` and `subscribe` belong to the loop's thread, `query` to any other.

    Making one opens the database, so that ids go on where an earlier process ended.
    """

    def __init__(self, path: Path, clock: Clock, tell: Subscriber | None = None) -> None:
        """`tell` is called with each event too, by the writer's thread: it may take its time."""
        self.problem = ""
        """Why events are not reaching the disk just now; empty: they are."""
        self.lost = ""
        """That a corrupt database was moved aside since the start, and where to; empty: none was."""
        self._path = path
        self._clock = clock
        self._tell = tell
        self._store = Store(path)
        self._waiting: DropOldest[Entry] = DropOldest(_WAITING)
        self._recent: deque[Record] = deque(maxlen=_RECENT)
        self._subscribers: list[Subscriber] = []
        self._seq = 0
        self._base = 0
        self._wakeup = os.eventfd(0, os.EFD_CLOEXEC)
        self._closing = threading.Event()
        self._doubted = False
        self._stored([])
        self._doubted = True
        self._writer = threading.Thread(target=self._run, name="events", daemon=True)
        self._writer.start()

    @property
    def dropped(self) -> int:
        """Events that never reached the disk because too many were waiting for it."""
        return self._waiting.dropped

    @property
    def before(self) -> Mapping[str, float]:
        """What earlier processes counted, as far as it could be read."""
        return self._store.before or {}

    def put(self, kind: str, level: Level, text: str, **data: Any) -> None:
        """Note that something happened. Never blocks, never fails. `data` holds plain values for machines."""
        if self._closing.is_set():
            return
        self._seq += 1
        record = Record(self._seq, self._clock.wall_ns(), self._clock.now_ns(), kind, level, text, data)
        self._waiting.put(record)
        self._recent.append(record)
        os.eventfd_write(self._wakeup, 1)
        if self._subscribers:
            event = self._event(record)
            for subscriber in tuple(self._subscribers):
                subscriber(event)

    def keep(self, *entries: Minute | Totals) -> None:
        """Have these stored too. Never blocks, never fails."""
        if self._closing.is_set():
            return
        for entry in entries:
            self._waiting.put(entry)
        os.eventfd_write(self._wakeup, 1)

    def subscribe(self, callback: Subscriber) -> Callable[[], None]:
        """Have `callback` called by `put` with each new event; the returned function ends that."""
        self._subscribers.append(callback)
        return lambda: self._subscribers.remove(callback)

    def query(self, limit: int, since_id: int = 0, kinds: Sequence[str] = ()) -> list[dict[str, Any]]:
        """The newest `limit` events with an id above `since_id`, oldest first; of these kinds, or of all.

        Reads the disk: call it off the loop. What is not on the disk yet, or cannot be, comes from memory.
        """
        events: dict[int, dict[str, Any]] = {}
        for record in self._recent.copy():
            if not kinds or record.kind in kinds:
                event = self._event(record)
                events[event["id"]] = event
        try:
            events |= {event["id"]: event for event in newest_events(self._path, limit, since_id, kinds)}
        except sqlite3.Error as error:
            log.debug("%s: cannot be read (%s); showing what is in memory", self._path, error)
            self._doubt(error)
        chosen = sorted(key for key in events if key > since_id)
        return [events[key] for key in chosen[-limit:]] if limit > 0 else []

    def close(self, timeout_s: float = 3.0) -> None:
        """Write what is waiting, and stop. A disk that hangs is left after `timeout_s`."""
        if self._closing.is_set():
            return
        self._closing.set()
        os.eventfd_write(self._wakeup, 1)
        self._writer.join(timeout_s)
        if self._writer.is_alive():
            log.warning("%s: the disk does not answer; the last events are lost", self._path)
        else:
            os.close(self._wakeup)

    def _event(self, record: Record) -> dict[str, Any]:
        return {
            "id": self._base + record.seq,
            "wall_ns": record.wall_ns,
            "monotonic_ns": record.monotonic_ns,
            "kind": record.kind,
            "level": record.level.name,
            "text": record.text,
            "data": record.data,
        }

    def _doubt(self, error: sqlite3.Error) -> None:
        """Have the writer look at all of a database in which a reader met something corrupt."""
        if is_corrupt(error) and not self._closing.is_set():
            self._doubted = True
            os.eventfd_write(self._wakeup, 1)

    # the writer thread ------------------------------------------------------------------------------------

    def _run(self) -> None:
        pending: list[Entry] = []
        while True:
            closing = self._closing.is_set()
            if len(pending) < _WAITING:
                pending += self._taken()
            if self._stored(pending):
                pending = []
            if closing:
                self._store.close()
                return
            if pending:
                self._closing.wait(_RETRY_S)
            else:
                os.eventfd_read(self._wakeup)

    def _taken(self) -> list[Entry]:
        entries = self._waiting.take_all()
        if self._tell is not None:
            for entry in entries:
                if isinstance(entry, Record):
                    self._tell(self._event(entry))
        return entries

    def _stored(self, entries: list[Entry]) -> bool:
        try:
            self._store_all(entries)
        except (sqlite3.Error, OSError) as error:
            self._report(error)
            return False
        if self.problem:
            log.warning("%s: events are being stored again", self._path)
            self.problem = ""
        return True

    def _store_all(self, entries: list[Entry]) -> None:
        for attempt in range(2):
            try:
                self._base = max(self._base, self._store.open())
                if self._doubted:
                    self._doubted = not self._checked(thoroughly=True)
                self._store.write(self._base, entries)
                if any(isinstance(entry, Minute) for entry in entries):
                    self._checked(thoroughly=False)
                return
            except sqlite3.Error as error:
                if not self._store.mend(error) or attempt:
                    raise
                self.lost = f"{self._path} was corrupt ({error}) and is now {self._path}.corrupt"
                log.error("%s; what was in it is not in the new one. Is the disk sound?", self.lost)

    def _checked(self, *, thoroughly: bool) -> bool:
        """Whether it could be read; sqlite3.Error only where it is corrupt, and has to be written anew."""
        try:
            self._store.check(thoroughly=thoroughly)
        except sqlite3.Error as error:
            if is_corrupt(error):
                raise
            log.debug("%s: cannot be checked (%s)", self._path, error)
            return False
        return True

    def _report(self, error: Exception) -> None:
        problem = f"{self._path}: events cannot be stored ({error}) and are kept in memory"
        if problem != self.problem:
            log.error("%s; free space there, or make the folder writable", problem)
            self.problem = problem
