"""The table of events on disk. Used by the writer thread and by queries, never by the event loop."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlad.jsontext import to_json
from vlad.messages import Level

KEPT_ROWS = 100_000
_SLACK_ROWS = 1_000
_LONGEST_TEXT = 4_000
_LONGEST_DATA = 16_000
_CORRUPT = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)

# synchronous=FULL: what happened last before a power cut is what one wants to read after it.
# auto_vacuum can only be chosen before anything else: maintenance gives pages back little by little.
_SCHEMA = """
PRAGMA auto_vacuum=INCREMENTAL;
PRAGMA journal_mode=WAL;
PRAGMA synchronous=FULL;
PRAGMA journal_size_limit=8388608;
CREATE TABLE IF NOT EXISTS events(
    id INTEGER PRIMARY KEY, wall_ns INTEGER NOT NULL, monotonic_ns INTEGER NOT NULL,
    kind TEXT NOT NULL, level INTEGER NOT NULL, text TEXT NOT NULL, data TEXT NOT NULL
);
"""


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


class Store:
    """One connection that writes; used by one thread at a time.

    Any method may raise sqlite3.Error or OSError; pass that to `mend`, and try again.
    """

    def __init__(self, path: Path, kept_rows: int = KEPT_ROWS) -> None:
        self._path = path
        self._kept_rows = kept_rows
        self._connection: sqlite3.Connection | None = None

    def open(self) -> int:
        """Open or make the database; the highest id in it. 0 where there is none, or it was open already."""
        if self._connection is not None:
            return 0
        self._path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self._path, timeout=2.0, check_same_thread=False)
        try:
            connection.executescript(_SCHEMA)
            newest = int(connection.execute("SELECT COALESCE(MAX(id), 0) FROM events").fetchone()[0])
        except sqlite3.Error:
            connection.close()
            raise
        self._connection = connection
        return newest

    def write(self, rows: Sequence[tuple[int, Record]]) -> None:
        """Store (id, record) pairs in one transaction, and drop the oldest beyond the bound."""
        if self._connection is None or not rows:
            return
        values = [
            (key, r.wall_ns, r.monotonic_ns, r.kind, int(r.level), _text(r.text), _bounded(r.data))
            for key, r in rows
        ]
        with self._connection as transaction:
            transaction.executemany("INSERT OR REPLACE INTO events VALUES (?,?,?,?,?,?,?)", values)
            newest = rows[-1][0]
            oldest = transaction.execute("SELECT MIN(id) FROM events").fetchone()[0]
            if newest - oldest >= self._kept_rows + _SLACK_ROWS:
                transaction.execute("DELETE FROM events WHERE id <= ?", (newest - self._kept_rows,))

    def mend(self, error: sqlite3.Error) -> bool:
        """Close; if the database is corrupt move it aside, so that the next `open` makes a new one.

        Whether it was moved. Only the newest corrupt copy is kept: the disk is small.
        """
        self.close()
        if getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK) & 0xFF not in _CORRUPT:
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


def read(path: Path, limit: int, since_id: int, kinds: Sequence[str]) -> list[dict[str, Any]]:
    """The newest `limit` stored events with an id above `since_id`, oldest first, of these kinds or all."""
    chosen = f" AND kind IN ({','.join('?' * len(kinds))})" if kinds else ""
    sql = f"SELECT * FROM events WHERE id > ?{chosen} ORDER BY id DESC LIMIT ?"
    with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        rows = connection.execute(sql, (since_id, *kinds, limit)).fetchall()
    return [
        {
            "id": row[0],
            "wall_ns": row[1],
            "monotonic_ns": row[2],
            "kind": row[3],
            "level": Level(row[4]).name,
            "text": row[5],
            "data": json.loads(row[6]),
        }
        for row in reversed(rows)
    ]


def _text(text: str) -> str:
    """At most a page of it, and nothing that SQLite cannot encode."""
    return text[:_LONGEST_TEXT].encode(errors="replace").decode()


def _bounded(data: dict[str, Any]) -> str:
    text = to_json(data)
    return text if len(text) <= _LONGEST_DATA else '{"truncated":true}'
