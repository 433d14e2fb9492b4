"""Give back the room in the database that deleted events left, and look whether it is sound."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from pathlib import Path

from vlad.maintenance.job import Job, Result

_PAGES = 256
_PAUSE_S = 0.02
"""The daemon's writer gets its turn in between."""
_BUSY_S = 10.0


def run(job: Job) -> Result:
    """A database that an older vlad made is rewritten once as a whole; after that a megabyte at a time."""
    path = job.settings.paths.state_dir / "vlad.db"
    if not path.exists():
        return Result("ok", "there is no database yet")
    before = _size(path)
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None)) as database:
            longest_s = _shrink(database, job)
            job.progress(0.9, "looking whether it is sound")
            problems = [row[0] for row in database.execute("PRAGMA quick_check(5)") if row[0] != "ok"]
    except sqlite3.Error as error:
        return Result("failed", f"{path}: {error}")
    if problems:
        return Result("warning", f"{path}: {problems[0]}; look after the disk, and restore a backup")
    after = _size(path)
    row = {
        "file": str(path),
        "before_mb": round(before / 1e6, 2),
        "after_mb": round(after / 1e6, 2),
        "longest_lock_ms": round(longest_s * 1e3, 1),
    }
    return Result(
        "ok", f"{path.name}: {row['before_mb']} MB before, {row['after_mb']} MB after, sound", (row,)
    )


def _shrink(database: sqlite3.Connection, job: Job) -> float:
    """For how long others could not write to it, at most."""
    longest_s = _timed(database, "PRAGMA wal_checkpoint(TRUNCATE)")
    free = _value(database, "PRAGMA freelist_count")
    if not _value(database, "PRAGMA auto_vacuum"):
        job.progress(0.1, "rewriting it")
        database.execute("PRAGMA auto_vacuum=INCREMENTAL")
        longest_s = max(longest_s, _timed(database, "VACUUM"))
    while left := _value(database, "PRAGMA freelist_count"):
        job.progress(0.9 * (1 - left / max(free, left)), f"{left} pages left")
        longest_s = max(longest_s, _timed(database, f"PRAGMA incremental_vacuum({_PAGES})"))
        time.sleep(_PAUSE_S)
    return max(longest_s, _timed(database, "PRAGMA wal_checkpoint(TRUNCATE)"))


def _timed(database: sqlite3.Connection, statement: str) -> float:
    """Run it to its end; how long that took."""
    began_s = time.monotonic()
    database.execute(statement).fetchall()
    return time.monotonic() - began_s


def _value(database: sqlite3.Connection, question: str) -> int:
    return int(database.execute(question).fetchone()[0])


def _size(path: Path) -> int:
    """With its log."""
    files = (path, Path(f"{path}-wal"))
    return sum(file.stat().st_size for file in files if file.exists())
