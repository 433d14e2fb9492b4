"""The tables of vlad.db, and how a database of an earlier version becomes one of this."""

from __future__ import annotations

import sqlite3

# synchronous=FULL: what happened last before a power cut is what one wants to read after it.
# auto_vacuum can only be chosen before anything else: maintenance gives pages back little by little.
# cache_size: who only adds at the end gains nothing by the 2 MB of old pages that SQLite would come to keep.
_SETUP = """
PRAGMA auto_vacuum=INCREMENTAL;
PRAGMA journal_mode=WAL;
PRAGMA synchronous=FULL;
PRAGMA journal_size_limit=8388608;
PRAGMA cache_size=-256;
"""

STEPS = (
    # The first version did not number itself: its table may be there.
    """
    CREATE TABLE IF NOT EXISTS events(
        id INTEGER PRIMARY KEY, wall_ns INTEGER NOT NULL, monotonic_ns INTEGER NOT NULL,
        kind TEXT NOT NULL, level INTEGER NOT NULL, text TEXT NOT NULL, data TEXT NOT NULL
    );
    """,
    """
    CREATE TABLE minutes(id INTEGER PRIMARY KEY, wall_ns INTEGER NOT NULL, "values" TEXT NOT NULL);
    CREATE INDEX minutes_wall_ns ON minutes(wall_ns);
    CREATE TABLE totals(name TEXT PRIMARY KEY, value REAL NOT NULL) WITHOUT ROWID;
    INSERT INTO totals VALUES('counted_since_s', strftime('%s', 'now'));
    """,
)
"""Each leads from one version (PRAGMA user_version) to the next. They only add: an older vlad, after a
rollback, works with the tables that it knows."""


def prepare(connection: sqlite3.Connection) -> None:
    """Make what is missing; sqlite3.Error, and nothing of the step that failed."""
    connection.executescript(_SETUP)
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    for number, step in enumerate(STEPS[version:], start=version + 1):
        connection.executescript(f"BEGIN IMMEDIATE; {step} PRAGMA user_version={number}; COMMIT;")
