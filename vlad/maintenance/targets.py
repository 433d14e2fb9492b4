"""Where backups go: a folder of this computer, or another computer by rsync.

A backup's name has the robot, a number that only grows, and the time: rover_000042_2026-11-21T03-00-00Z. What
is kept goes by the number, since a clock that was wrong for a day must not decide which one is the newest.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from vlad.clock import NS_PER_S
from vlad.files import sync_folder
from vlad.maintenance.backup import MANIFEST, BackupError, Manifest, Source, fill
from vlad.maintenance.job import Job
from vlad.maintenance.rsync import PART, Rsync
from vlad.maintenance.settings import by_rsync

_SPARE_BYTES = 32_000_000
_FULL = (errno.ENOSPC, errno.EDQUOT)
_FORBIDDEN = (errno.EROFS, errno.EACCES, errno.EPERM)

Tell = Callable[[float, str], None]


@dataclass(frozen=True, slots=True)
class Kept:
    """A backup that was made: its name, what is in it, and what could not be deleted of the old ones."""

    name: str
    manifest: Manifest
    problem: str = ""


def back_up(target: str, sources: list[Source], job: Job, tell: Tell) -> Kept:
    """Make a backup, verify it where it is, and delete the oldest; BackupError where that cannot be.

    Nothing that is half made stays there; or with rsync, which may be cut off, it has no manifest, and the
    next one deletes it.
    """
    try:
        return (_by_rsync if by_rsync(target) else _to_folder)(target, sources, job, tell)
    except (OSError, sqlite3.Error) as error:
        raise BackupError(_explained(target, error)) from error


def _to_folder(target: str, sources: list[Source], job: Job, tell: Tell) -> Kept:
    folder, keep = Path(target), job.settings.maintenance.backup.keep
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _delete(folder, _names(job, os.listdir(folder), PART))
    _require_room(folder, sources)
    name = _next_name(job, os.listdir(folder))
    with _made_whole(folder / f"{name}{PART}") as part:
        manifest = fill(part, sources, job, tell)
        os.rename(part, folder / name)
    sync_folder(folder)
    _delete(folder, _names(job, os.listdir(folder))[:-keep])
    return Kept(name, manifest)


def _by_rsync(target: str, sources: list[Source], job: Job, tell: Tell) -> Kept:
    settings = job.settings.maintenance.backup
    rsync = Rsync(target.rstrip("/"), settings.rsync_timeout_s)
    state_dir = job.settings.paths.state_dir
    _require_room(state_dir, sources)
    with tempfile.TemporaryDirectory(prefix="backup_", suffix=PART, dir=state_dir) as stage:
        name = _next_name(job, rsync.names())
        manifest = fill(Path(stage), sources, job, tell)
        tell(0.9, f"sending to {target}")
        rsync.send(Path(stage), name)
        found = set(rsync.names())
        whole = _names(job, {entry.partition("/")[0] for entry in found if entry.endswith(f"/{MANIFEST}")})
        broken = [known for known in _names(job, found) if known not in whole]
        problem = rsync.delete([*whole[: -settings.keep], *broken], state_dir)
    return Kept(name, manifest, problem)


@contextlib.contextmanager
def _made_whole(part: Path) -> Iterator[Path]:
    """A folder that is gone at the end, unless it was renamed."""
    part.mkdir(mode=0o700)
    try:
        yield part
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _next_name(job: Job, names: Iterable[str]) -> str:
    known = _names(job, names)
    number = int(known[-1].removeprefix(f"{_robot(job)}_").partition("_")[0]) + 1 if known else 1
    moment = time.strftime("%Y-%m-%dT%H-%M-%SZ", time.gmtime(job.wall_ns // NS_PER_S))
    return f"{_robot(job)}_{number:06d}_{moment}"


def _names(job: Job, names: Iterable[str], suffix: str = "") -> list[str]:
    """Those of this robot's backups, the oldest first."""
    pattern = re.compile(rf"{re.escape(_robot(job))}_(\d{{6,}})_[-0-9TZ]+{re.escape(suffix)}")
    found = [(int(match[1]), match[0]) for match in map(pattern.fullmatch, names) if match]
    return [name for _, name in sorted(found)]


def _robot(job: Job) -> str:
    return re.sub(r"[^A-Za-z0-9-]+", "-", job.robot.name).strip("-") or "robot"


def _delete(folder: Path, names: list[str]) -> None:
    for name in names:
        shutil.rmtree(folder / name)


def _require_room(folder: Path, sources: list[Source]) -> None:
    """Do not fill up a disk that others need, only to find that it was too small."""
    needed = sum(source.path.stat().st_size for source in sources if source.path.exists())
    free = shutil.disk_usage(folder).free
    if needed + _SPARE_BYTES > free:
        about = f"{needed / 1e6:.0f} MB are needed and {_SPARE_BYTES / 1e6:.0f} to spare"
        raise OSError(errno.ENOSPC, f"only {free / 1e6:.0f} MB are free; {about}")


def _explained(target: str, error: OSError | sqlite3.Error) -> str:
    """What to do about it."""
    if isinstance(error, FileNotFoundError) and error.filename == "rsync":
        return f"{target}: rsync is not installed; apt-get install rsync"
    number = getattr(error, "errno", None)
    what = getattr(error, "strerror", None) or str(error)
    if number in _FULL or getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
        return f"{target}: {what}; make room there, or name another in maintenance.backup.targets"
    if number in _FORBIDDEN:
        drop_in = f"under systemd also: systemctl edit vlad, [Service] ReadWritePaths={target}"
        return f"{target}: {what}; make it writable for vlad's user; {drop_in}"
    return f"{target}: {what}"
