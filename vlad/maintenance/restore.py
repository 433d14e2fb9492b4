"""Putting a backup back, while the daemon is down. What it replaces is kept beside."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vlad.files import sync_folder
from vlad.folders import AlreadyRunningError, hold_run_folder
from vlad.maintenance.backup import (
    DATABASES,
    MODELS,
    SETTINGS,
    STATE,
    BackupError,
    Entry,
    copy_file,
    read_manifest,
    verify,
)

_LOGS = ("-wal", "-shm", "-journal")
ASIDE = "before-restore_"


@dataclass(frozen=True, slots=True)
class Restored:
    """What was put back, or would be."""

    robot: str
    wall_ns: int
    """When the backup was made."""
    files: tuple[Path, ...]
    replaced: tuple[Path, ...]
    aside: Path | None
    """Where what was replaced is kept; None: nothing was."""
    missing_bundles: tuple[str, ...]
    """NAME/VERSION of those that were installed then and are not here."""


def restore(folder: Path, state_dir: Path, run_dir: Path, *, settings: bool, dry_run: bool) -> Restored:
    """Put the state back into `state_dir`, and with `settings` these where they came from.

    BackupError where it is not whole, or the daemon runs; OSError where a disk does not take it. Nothing was
    changed then, unless a disk failed among the very last renames.
    """
    manifest = read_manifest(folder)
    if problems := list(verify(folder, manifest)):
        raise BackupError(f"{folder}: is damaged, nothing was changed: {'; '.join(problems)}")
    places = {entry: place for entry in manifest.entries if (place := _place(entry, state_dir, settings))}
    replaced = tuple(path for path in places.values() if path.exists())
    aside = state_dir / time.strftime(f"{ASIDE}%Y-%m-%dT%H-%M-%SZ", time.gmtime()) if replaced else None
    if not dry_run:
        with _nobody_else(state_dir, run_dir):
            state_dir.mkdir(parents=True, exist_ok=True)
            _put(folder, places, state_dir, aside)
    missing = tuple(name for name in _bundles(manifest.entries) if not (state_dir / "models" / name).exists())
    return Restored(manifest.robot, manifest.wall_ns, tuple(places.values()), replaced, aside, missing)


def _place(entry: Entry, state_dir: Path, settings: bool) -> Path | None:
    """Where a file goes; None: nowhere. A manifest without its model is of no use."""
    kind, _, rest = entry.name.partition("/")
    if kind == STATE and not entry.name.startswith(f"{MODELS}/"):
        return state_dir / rest
    return entry.origin if kind == SETTINGS and settings else None


def _bundles(entries: tuple[Entry, ...]) -> Iterator[str]:
    for entry in entries:
        if entry.name.startswith(f"{MODELS}/"):
            yield entry.name.removeprefix(f"{MODELS}/").rpartition("/")[0]


def _put(folder: Path, places: dict[Entry, Path], state_dir: Path, aside: Path | None) -> None:
    """First everything beside the place where it goes, then only renames are left."""
    copies: dict[Path, Path] = {}
    try:
        for entry, place in places.items():
            place.parent.mkdir(parents=True, exist_ok=True)
            copies[place] = copy = place.with_name(f".{place.name}.restored")
            copy.unlink(missing_ok=True)
            if copy_file(folder / entry.name, copy)[1] != entry.sha256:
                raise BackupError(f"{folder / entry.name}: changed while it was read; nothing was changed")
        for place, copy in copies.items():
            if aside is not None:
                _move_aside(place, aside, state_dir)
            os.replace(copy, place)
            sync_folder(place.parent)
        _give(state_dir, [*(place for place in places.values()), *([aside] if aside else [])])
    finally:
        for copy in copies.values():
            copy.unlink(missing_ok=True)


def _move_aside(place: Path, aside: Path, state_dir: Path) -> None:
    """Copied, so that at no moment the file is missing. A database takes its logs along."""
    name = place.relative_to(state_dir) if place.is_relative_to(state_dir) else Path(SETTINGS) / place.name
    kept = aside / name
    kept.parent.mkdir(parents=True, exist_ok=True)
    if place.exists():
        shutil.copy2(place, kept)
    if place.name in DATABASES:
        for suffix in _LOGS:
            with contextlib.suppress(FileNotFoundError):
                os.replace(f"{place}{suffix}", f"{kept}{suffix}")


def _give(state_dir: Path, paths: list[Path]) -> None:
    """What root made in the state folder is the daemon's, as the folder is."""
    if os.geteuid() != 0:
        return
    owner = state_dir.stat()
    mine = [path for path in paths if path.is_relative_to(state_dir)]
    above = [folder for path in mine for folder in path.parents if folder.is_relative_to(state_dir)]
    below = [inner for path in mine if path.is_dir() for inner in path.rglob("*")]
    for path in {*mine, *above, *below}:
        os.chown(path, owner.st_uid, owner.st_gid)


@contextlib.contextmanager
def _nobody_else(state_dir: Path, run_dir: Path) -> Iterator[None]:
    """No daemon runs, and none can start meanwhile in the same run folder."""
    mend = "stop it first: systemctl stop vlad"
    with contextlib.ExitStack() as held:
        if (run_dir / "vlad.lock").exists():
            try:
                held.callback(os.close, hold_run_folder(run_dir))
            except AlreadyRunningError as error:
                raise BackupError(f"{str(error).partition(';')[0]}; {mend}") from None
        if _in_use(state_dir / "vlad.db"):
            raise BackupError(
                f"{state_dir / 'vlad.db'}: is in use, by a vlad with another run folder; {mend}"
            )
        yield


def _in_use(path: Path) -> bool:
    """Nobody else has the database open if its log can be dissolved. One that is corrupt nobody uses."""
    if not path.exists():
        return False
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=0)) as database:
            database.execute("PRAGMA journal_mode=DELETE")
    except sqlite3.Error as error:
        return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
    return False
