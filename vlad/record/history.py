"""What vlad.db remembers, for whoever reads it: the daemon's queries, reports and reviews.

It is read without the daemon's help and never changed: while the daemon runs, when it is down, and by users
who may not write there. Times are nanoseconds of the wall clock, which somebody may have set: rows come in
the order in which they were written.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from vlad.messages import Level

Row = dict[str, Any]

_FOREVER_NS = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Minute:
    """What was measured in the minute that ended at `wall_ns`; what was not is missing in `values`.

    `vlad.minutes` says what the names mean.
    """

    wall_ns: int
    values: dict[str, float]


@contextlib.contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that only reads; sqlite3.Error where there is no database, or it cannot be read."""
    uri = path.absolute().as_uri()
    connection = sqlite3.connect(f"{uri}?mode=ro", uri=True, timeout=2.0)
    try:
        try:
            connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
        except sqlite3.OperationalError:
            if _has_log(path):
                raise
            # A database at rest, in a folder where this user may not make SQLite's own files.
            connection.close()
            connection = sqlite3.connect(f"{uri}?mode=ro&immutable=1", uri=True)
        yield connection
    finally:
        connection.close()


def minutes(
    path: Path, since_ns: int = 0, until_ns: int = _FOREVER_NS, names: Collection[str] = ()
) -> list[Minute]:
    """The minutes that ended from `since_ns` on and before `until_ns`; of these names, or of all."""
    sql = 'SELECT wall_ns, "values" FROM minutes WHERE wall_ns >= ? AND wall_ns < ? ORDER BY id'
    with opened(path) as connection:
        rows = _rows(connection, "minutes", sql, (since_ns, until_ns))
    return [Minute(wall_ns, _numbers(text, names)) for wall_ns, text in rows]


def totals(path: Path) -> dict[str, float]:
    """What was counted since the first start; empty: nothing was."""
    with opened(path) as connection:
        return dict(_rows(connection, "totals", "SELECT name, value FROM totals", ()))


def events(
    path: Path, since_ns: int = 0, until_ns: int = _FOREVER_NS, kinds: Sequence[str] = ()
) -> list[Row]:
    """The events from `since_ns` on and before `until_ns`, of these kinds or of all."""
    sql = f"SELECT * FROM events WHERE wall_ns >= ? AND wall_ns < ?{_of(kinds)} ORDER BY id"
    with opened(path) as connection:
        return [_event(row) for row in connection.execute(sql, (since_ns, until_ns, *kinds))]


def newest_events(path: Path, limit: int, since_id: int, kinds: Sequence[str]) -> list[Row]:
    """The newest `limit` stored events with an id above `since_id`, oldest first, of these kinds or all."""
    sql = f"SELECT * FROM events WHERE id > ?{_of(kinds)} ORDER BY id DESC LIMIT ?"
    with opened(path) as connection:
        rows = connection.execute(sql, (since_id, *kinds, limit)).fetchall()
    return [_event(row) for row in reversed(rows)]


def _has_log(path: Path) -> bool:
    """Whether a part of the database is still in its write-ahead log."""
    log = Path(f"{path}-wal")
    return log.exists() and log.stat().st_size > 0


def _rows(connection: sqlite3.Connection, table: str, sql: str, values: Sequence[int]) -> list[Any]:
    """Nothing from a table that a version of before did not have."""
    known = connection.execute("SELECT 1 FROM sqlite_master WHERE type='table' AND name=?", (table,))
    return connection.execute(sql, values).fetchall() if known.fetchone() else []


def _of(kinds: Sequence[str]) -> str:
    return f" AND kind IN ({','.join('?' * len(kinds))})" if kinds else ""


def _event(row: tuple[Any, ...]) -> Row:
    return {
        "id": row[0],
        "wall_ns": row[1],
        "monotonic_ns": row[2],
        "kind": row[3],
        "level": Level(min(max(int(row[4]), Level.SAFE), Level.EMERGENCY)).name,
        "text": row[5],
        "data": _table(row[6]),
    }


def _numbers(text: str, names: Collection[str]) -> dict[str, float]:
    return {
        name: float(value)
        for name, value in _table(text).items()
        if isinstance(value, int | float) and isfinite(value) and (not names or name in names)
    }


def _table(text: str) -> Row:
    """Empty where the disk changed it."""
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
