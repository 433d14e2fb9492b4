"""The database as it is written: by one thread, never by the event loop. history.py reads it."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from vlad.jsontext import to_json
from vlad.messages import Level
from vlad.record.history import Minute, opened
from vlad.record.tables import prepare

KEPT_EVENTS = 100_000
KEPT_MINUTES = 90 * 24 * 60
KEPT_BYTES = 256 * 1024 * 1024
_SLACK_ROWS = 1_000
_LONGEST_TEXT = 4_000
_LONGEST_DATA = 16_000
_DIGITS = 5
_CORRUPT = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


@dataclass(frozen=True, slots=True)
class Record:
    """One event. `seq` counts from 1 in this process; its id is that plus the last id of earlier ones."""

    seq: int
    wall_ns: int
    monotonic_ns: int
    kind: str
    level: Level
    text: str
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Totals:
    """What this process counted; it is stored together with what earlier ones did."""

    values: Mapping[str, float]


Entry: TypeAlias = Record | Minute | Totals


class Store:
    """One connection that writes; used by one thread at a time.

    Any method may raise sqlite3.Error or OSError; pass that to `mend`, and try again.
    """

    def __init__(
        self,
        path: Path,
        kept_events: int = KEPT_EVENTS,
        kept_minutes: int = KEPT_MINUTES,
        kept_bytes: int = KEPT_BYTES,
    ) -> None:
        self._path = path
        self._kept_events = kept_events
        self._kept_minutes = kept_minutes
        self._kept_bytes = kept_bytes
        self._connection: sqlite3.Connection | None = None
        self.before: Mapping[str, float] | None = None
        """What earlier processes counted; None: the database could not be read yet."""

    def open(self) -> int:
        """Open or make the database; the highest event id in it. 0: there is none, or it was open already."""
        if self._connection is not None:
            return 0
        self._path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self._path, timeout=2.0, check_same_thread=False)
        try:
            prepare(connection)
            newest = int(connection.execute("SELECT COALESCE(MAX(id), 0) FROM events").fetchone()[0])
            if self.before is None:
                self.before = dict(connection.execute("SELECT name, value FROM totals"))
        except sqlite3.Error:
            connection.close()
            raise
        self._connection = connection
        return newest

    def check(self, *, thoroughly: bool) -> None:
        """Read it from the disk as others would, all of it or just its newest rows, which takes no time.

        sqlite3.DatabaseError where it is corrupt. The connection that writes has pages of its own in memory,
        and would go on for long without noticing.
        """
        with opened(self._path) as connection:
            for table in () if thoroughly else ("events", "minutes", "totals"):
                connection.execute(f"SELECT * FROM {table} ORDER BY 1 DESC LIMIT 1").fetchall()
            verdict = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0]) if thoroughly else "ok"
        if verdict != "ok":
            error = sqlite3.DatabaseError(verdict)
            error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
            raise error

    def write(self, base: int, entries: Sequence[Entry]) -> None:
        """Store all at once, and drop the oldest beyond the bounds. An event gets the id base + seq."""
        if self._connection is None or not entries:
            return
        with self._connection as transaction:
            events = [_event_row(base, entry) for entry in entries if isinstance(entry, Record)]
            transaction.executemany("INSERT OR REPLACE INTO events VALUES (?,?,?,?,?,?,?)", events)
            rows = [(entry.wall_ns, _values(entry)) for entry in entries if isinstance(entry, Minute)]
            transaction.executemany('INSERT INTO minutes(wall_ns, "values") VALUES (?,?)', rows)
            counted = [entry for entry in entries if isinstance(entry, Totals)]
            if counted:
                sums = together(self.before or {}, counted[-1].values)
                transaction.executemany("INSERT OR REPLACE INTO totals VALUES (?,?)", sums.items())
            _keep(transaction, "events", self._kept_events)
            _keep(transaction, "minutes", self._kept_minutes)
            self._keep_small(transaction)

    def mend(self, error: sqlite3.Error) -> bool:
        """Close; if the database is corrupt move it aside, so that the next `open` makes a new one.

        Whether it was moved. Only the newest corrupt copy is kept: the disk is small.
        """
        self.close()
        if not is_corrupt(error):
            return False
        for suffix in ("", "-wal", "-shm"):
            aside = Path(f"{self._path}.corrupt{suffix}")
            aside.unlink(missing_ok=True)
            with contextlib.suppress(FileNotFoundError):
                os.replace(f"{self._path}{suffix}", aside)
        return True

    def close(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None

    def _keep_small(self, transaction: sqlite3.Connection) -> None:
        """The oldest events go where long ones made the database too large; SQLite uses their pages again."""
        pages, free, size = (
            int(transaction.execute(f"PRAGMA {name}").fetchone()[0])
            for name in ("page_count", "freelist_count", "page_size")
        )
        used = (pages - free) * size
        if used > self._kept_bytes:
            part = 1 - 0.9 * self._kept_bytes / used
            oldest, newest = transaction.execute("SELECT MIN(id), MAX(id) FROM events").fetchone()
            if oldest is not None:
                last = oldest + round((newest - oldest) * part)
                transaction.execute("DELETE FROM events WHERE id <= ?", (last,))


def together(before: Mapping[str, float], now: Mapping[str, float]) -> dict[str, float]:
    """What earlier processes counted and what this one did."""
    return {name: before.get(name, 0.0) + now.get(name, 0.0) for name in {**before, **now}}


def is_corrupt(error: sqlite3.Error) -> bool:
    """Whether the database itself is broken; else it is the disk, a lock or a mistake."""
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK) & 0xFF in _CORRUPT


def _keep(transaction: sqlite3.Connection, table: str, rows: int) -> None:
    """The newest rows of a table, and some slack."""
    oldest, newest = transaction.execute(f"SELECT MIN(id), MAX(id) FROM {table}").fetchone()
    if oldest is not None and newest - oldest >= rows + _SLACK_ROWS:
        transaction.execute(f"DELETE FROM {table} WHERE id <= ?", (newest - rows,))


def _event_row(base: int, record: Record) -> tuple[int, int, int, str, int, str, str]:
    return (
        base + record.seq,
        record.wall_ns,
        record.monotonic_ns,
        _text(record.kind),
        int(record.level),
        _text(record.text),
        _bounded(record.data),
    )


def _values(minute: Minute) -> str:
    return to_json({name: float(f"{value:.{_DIGITS}g}") for name, value in minute.values.items()})


def _text(text: str) -> str:
    """At most a page of it, and nothing that SQLite cannot encode."""
    return text[:_LONGEST_TEXT].encode(errors="replace").decode()


def _bounded(data: dict[str, Any]) -> str:
    text = to_json(data)
    return text if len(text) <= _LONGEST_DATA else '{"truncated":true}'
