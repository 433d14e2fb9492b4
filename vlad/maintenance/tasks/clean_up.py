"""Delete recordings and old copies that are too old, or for which there is no room."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from vlad.clock import NS_PER_S
from vlad.computer.timekeeping import timekeeping
from vlad.maintenance.job import Job, Result
from vlad.maintenance.restore import ASIDE
from vlad.record.shelf import NoRoomError, Shelf

_MB = 1_000_000
_DAY_NS = 86_400 * NS_PER_S
_LEFT_OVERS = ("backup_*.part", ".*.restored", ".*.part")
"""Of tasks that were killed: nobody else is at work while this one runs."""


def run(job: Job) -> Result:
    """By age only if the wall clock can be believed. What there is no room for goes in any case."""
    state_dir = job.settings.paths.state_dir
    doubt = _doubt(job)
    rows = [_row("left over", _delete(_found(state_dir, _LEFT_OVERS)))]
    if not doubt:
        job.progress(0.3, "what is too old")
        days = job.settings.maintenance.clean_up.copies_days
        copies = _found(state_dir, ("*.corrupt*", f"{ASIDE}*"))
        rows.append(_row("moved aside", _delete(_older(copies, days, job.wall_ns))))
        rows.append(_row("old recordings", _delete_recordings(job)))
    job.progress(0.6, "what there is no room for")
    freed, problem = _make_room(job)
    rows.append(_row("recordings without room", freed))
    told = [f"{row['deleted']} {row['what']}, {row['mb']} MB" for row in rows if row["deleted"]]
    summary = "; ".join([*filter(None, (problem, doubt)), *told]) or "nothing to delete"
    return Result("warning" if problem else "ok", summary, tuple(rows))


def _doubt(job: Job) -> str:
    """Why the wall clock is not to be believed: a jump by a year must not delete what is of yesterday."""
    kernel = timekeeping()
    if kernel is not None and not kernel.synchronised:
        return "nothing by age: the clock of this computer is not synchronised"
    last_ns = job.status["maintenance"]["tasks"]["clean_up"]["ended_wall_ns"]
    if last_ns is None or not 0 <= job.wall_ns - last_ns < 10 * _DAY_NS:
        return "nothing by age this time: the clock jumped, or vlad was off for long"
    return ""


def _found(folder: Path, patterns: Iterable[str]) -> list[Path]:
    return sorted(path for pattern in patterns for path in folder.glob(pattern))


def _older(paths: Iterable[Path], days: float, wall_ns: int) -> list[Path]:
    return [path for path in paths if wall_ns - path.stat().st_mtime_ns > days * _DAY_NS]


def _delete(paths: Iterable[Path]) -> list[int]:
    """The sizes of what was deleted."""
    sizes = []
    for path in paths:
        whole = path.is_dir() and not path.is_symlink()
        files = [file for file in path.rglob("*") if file.is_file()] if whole else [path]
        sizes.append(sum(file.lstat().st_size for file in files))
        shutil.rmtree(path) if whole else path.unlink(missing_ok=True)
    return sizes


def _delete_recordings(job: Job) -> list[int]:
    days = job.settings.maintenance.clean_up.recordings_days
    whole = (recording for recording in _shelf(job).recordings() if recording.whole)
    old = (known.path for known in whole if days and job.wall_ns - known.ended_ns > days * _DAY_NS)
    return _delete(old)


def _make_room(job: Job) -> tuple[list[int], str]:
    """As the black box does it, but also while it is off."""
    shelf = _shelf(job)
    before = {known.path: known.size for known in shelf.recordings()}
    problem = ""
    if before:
        try:
            shelf.make_room()
        except NoRoomError as error:
            problem = f"{shelf.folder}: {error}"
    after = {known.path for known in shelf.recordings()}
    return [size for path, size in before.items() if path not in after], problem


def _shelf(job: Job) -> Shelf:
    known = job.settings.record
    folder = job.settings.paths.state_dir / "recordings"
    return Shelf(folder, known.disk_mb * _MB, known.free_mb * _MB, known.protected_s)


def _row(what: str, sizes: list[int]) -> dict[str, Any]:
    return {"what": what, "deleted": len(sizes), "mb": round(sum(sizes) / _MB, 1)}
