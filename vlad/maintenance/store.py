"""What is remembered of each task over a restart, in STATE/maintenance.db.

A file of its own, because events have a writer of their own. Opened for the moment of a question: it is
asked a few times a day, and never by the event loop.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlad.jsontext import to_json
from vlad.maintenance.schedule import Moment

_BUSY_S = 2.0
_COLUMNS = 14
_CORRUPT = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_SCHEMA = """
CREATE TABLE IF NOT EXISTS tasks(
    name TEXT PRIMARY KEY,
    done_wall_ns INTEGER NOT NULL, done_now_ns INTEGER NOT NULL, done_boot TEXT NOT NULL,
    tried_wall_ns INTEGER, tried_now_ns INTEGER, tried_boot TEXT, failures INTEGER NOT NULL,
    unfinished INTEGER NOT NULL, verdict TEXT NOT NULL, summary TEXT NOT NULL, rows TEXT NOT NULL,
    ended_wall_ns INTEGER, took_s REAL NOT NULL
);
"""


@dataclass(frozen=True, slots=True)
class Record:
    """Of one task."""

    name: str
    done: Moment
    """When it last began and came to an end; of one that never did, when it became known."""
    tried: Moment | None = None
    """When it last began."""
    failures: int = 0
    """How often it failed since it was last done."""
    unfinished: int = 0
    """How often it began since it last came to any end: more than 0, and it does not run, vlad was ended."""
    verdict: str = ""
    """Of the last run: ok, warning or failed; empty: it never ended."""
    summary: str = ""
    rows: tuple[dict[str, Any], ...] = ()
    ended_wall_ns: int | None = None
    took_s: float = 0.0


class Store:
    """Any method may raise sqlite3.Error or OSError."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self) -> tuple[dict[str, Record], str]:
        """All records by name, and what was wrong: a corrupt file is moved aside and begun anew."""
        try:
            return self._read(), ""
        except (sqlite3.DatabaseError, ValueError) as error:
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
            if code not in _CORRUPT:
                raise
            aside = Path(f"{self.path}.corrupt")
            os.replace(self.path, aside)
            return {}, f"{self.path}: is corrupt ({error}), moved aside to {aside.name}; schedules begin anew"

    def save(self, *records: Record) -> None:
        """All on the disk when this returns, or none."""
        rows = [_values(record) for record in records]
        with self._open() as connection, connection:
            connection.executemany(f"INSERT OR REPLACE INTO tasks VALUES ({','.join('?' * _COLUMNS)})", rows)

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with contextlib.closing(sqlite3.connect(self.path, timeout=_BUSY_S)) as connection:
            connection.execute("PRAGMA synchronous=FULL")
            connection.executescript(_SCHEMA)
            yield connection

    def _read(self) -> dict[str, Record]:
        with self._open() as connection:
            rows = connection.execute("SELECT * FROM tasks").fetchall()
        return {row[0]: _record(row) for row in rows}


def _values(record: Record) -> tuple[Any, ...]:
    tried = record.tried
    return (
        record.name, record.done.wall_ns, record.done.now_ns, record.done.boot,
        *((tried.wall_ns, tried.now_ns, tried.boot) if tried else (None, None, None)),
        record.failures, record.unfinished, record.verdict, record.summary, to_json(list(record.rows)),
        record.ended_wall_ns, record.took_s,
    )  # fmt: skip


def _record(row: tuple[Any, ...]) -> Record:
    name, *done_and_tried = row[:7]
    done, tried = done_and_tried[:3], done_and_tried[3:]
    failures, unfinished, verdict, summary, rows, ended_wall_ns, took_s = row[7:]
    return Record(
        name, Moment(*done), Moment(*tried) if tried[0] is not None else None, failures, unfinished,
        verdict, summary, tuple(json.loads(rows)), ended_wall_ns, took_s,
    )  # fmt: skip
