"""The run and state folders, what is in them, and the disk below them."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

from vlad.config import RecordSettings
from vlad.ctl.doctor.finding import Finding, State
from vlad.latch import read_latch
from vlad.record.history import opened

_DISK_WARNING, _DISK_PROBLEM = 0.85, 0.95


def check_folder(topic: str, path: Path) -> Iterator[Finding]:
    """That the daemon could use it, if it is started by the user who asks."""
    nearest = next(folder for folder in (path, *path.parents) if folder.exists())
    if not nearest.is_dir():
        yield Finding("problem", topic, f"{nearest}: is not a folder", "move it away, or set another folder")
    elif not os.access(nearest, os.W_OK | os.X_OK):
        mend = f"run doctor as the daemon's user; if that is you: install -d -o $USER {path}"
        yield Finding("warning", topic, f"{nearest}: you may not write there", mend)
    elif nearest != path:
        yield Finding("ok", topic, f"{path}: the daemon makes it")
    elif path.stat().st_mode & stat.S_IWOTH:
        mend = f"chmod o-w {path}"
        yield Finding("problem", topic, f"{path}: everybody may write there, and so release the e-stop", mend)
    else:
        yield Finding("ok", topic, f"{path}: writable")


def check_disk(state_dir: Path) -> Iterator[Finding]:
    nearest = next(folder for folder in (state_dir, *state_dir.parents) if folder.exists())
    usage = shutil.disk_usage(nearest)
    full = 1 - usage.free / usage.total
    what = f"{nearest}: {full:.0%} full, {usage.free / 1e9:.1f} GB free"
    state: State = "problem" if full >= _DISK_PROBLEM else "warning" if full >= _DISK_WARNING else "ok"
    mend = "delete old recordings, or move the state folder to a larger disk"
    yield Finding(state, "disk", what, "" if state == "ok" else mend)


def check_recordings(state_dir: Path, settings: RecordSettings) -> Iterator[Finding]:
    """That there is room for what may be recorded, and that nothing lies about unfinished."""
    folder = state_dir / "recordings"
    if settings.mode == "off":
        yield Finding("warning", "recordings", "record.mode is off: nothing tells why it stopped", "set it")
        return
    files = list(folder.glob("*.mcap")) if folder.exists() else []
    taken = sum(file.stat().st_size for file in files)
    nearest = next(place for place in (folder, *folder.parents) if place.exists())
    room = shutil.disk_usage(nearest).free + taken - settings.free_mb * 1_000_000
    what = f"{folder}: {len(files)} recordings, {taken / 1e9:.1f} of {settings.disk_mb / 1e3:.1f} GB"
    if not os.access(nearest, os.W_OK | os.X_OK):
        mend = "run doctor as the daemon's user, or make it writable"
        yield Finding("warning", "recordings", f"{nearest}: you may not write there", mend)
    elif room < settings.disk_mb * 1_000_000:
        mend = "make room, or lower record.disk_mb and record.free_mb"
        yield Finding("warning", "recordings", f"{what}; the disk has room for {room / 1e9:.1f} GB", mend)
    else:
        yield Finding("ok", "recordings", what)


def check_latch(state_dir: Path) -> Iterator[Finding]:
    reason = read_latch(state_dir / "estop.json")
    if reason is not None:
        mend = "when the robot is safe: vladctl reset"
        yield Finding("warning", "e-stop", f"latched: {reason}", mend)
    else:
        yield Finding("ok", "e-stop", "not latched")


def check_database(state_dir: Path) -> Iterator[Finding]:
    path = state_dir / "vlad.db"
    aside = Path(f"{path}.corrupt")
    if aside.exists():
        mend = f"is the disk sound? Then: rm {aside}*"
        yield Finding("warning", "events", f"{aside}: a corrupt database was moved aside", mend)
    if not path.exists():
        return
    try:
        with opened(path) as database:
            verdict = str(database.execute("PRAGMA quick_check(1)").fetchone()[0])
            count = database.execute("SELECT COUNT(*) FROM events").fetchone()[0]
    except sqlite3.Error as error:
        verdict, count = str(error), 0
    if verdict == "ok":
        yield Finding("ok", "events", f"{path}: {count:,} events")
    else:
        mend = "the daemon moves a corrupt one aside at its next start; look after the disk"
        yield Finding("warning", "events", f"{path}: {verdict}", mend)
