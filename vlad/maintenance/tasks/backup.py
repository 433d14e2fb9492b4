"""Copy settings, databases and calibration to another place, and read the copies back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vlad.maintenance.backup import BackupError, find_sources
from vlad.maintenance.job import Job, Result
from vlad.maintenance.targets import back_up


def run(job: Job) -> Result:
    """To each target, also when another one fails; failed where one did."""
    sources = find_sources(job)
    targets = job.settings.maintenance.backup.targets or (str(job.settings.paths.state_dir / "backups"),)
    rows = []
    for number, target in enumerate(targets):
        rows.append(_one(target, job, _within(job, number, len(targets)), sources))
    problems = [row["problem"] for row in rows if row["problem"]]
    made = [
        f"{row['files']} files, {row['size_mb']} MB, verified: {row['backup']}"
        for row in rows
        if row["backup"]
    ]
    failed = len(made) < len(rows)
    return Result(
        "failed" if failed else "warning" if problems else "ok", "; ".join([*problems, *made]), tuple(rows)
    )


def _one(target: str, job: Job, tell: Callable[[float, str], None], sources: list[Any]) -> dict[str, Any]:
    row = {"target": target, "backup": "", "files": 0, "size_mb": 0.0, "problem": ""}
    try:
        kept = back_up(target, sources, job, tell)
    except BackupError as error:
        return {**row, "problem": str(error)}
    files, size_mb = len(kept.manifest.entries), round(kept.manifest.size / 1e6, 1)
    backup = f"{target.rstrip('/')}/{kept.name}"
    return {**row, "backup": backup, "files": files, "size_mb": size_mb, "problem": kept.problem}


def _within(job: Job, number: int, count: int) -> Callable[[float, str], None]:
    """How far all is, when one target is so far."""
    return lambda part, text: job.progress((number + part) / count, text)
