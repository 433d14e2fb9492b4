"""Compare the last week with the one before, and tell what got worse."""

from __future__ import annotations

import sqlite3

from vlad.clock import NS_PER_S
from vlad.maintenance.finding import Finding, result
from vlad.maintenance.job import Job, Result
from vlad.maintenance.review import FIGURES, review
from vlad.record.history import minutes

_DAY_NS = 86_400 * NS_PER_S


def run(job: Job) -> Result:
    settings = job.settings.maintenance.performance_review
    path = job.settings.paths.state_dir / "vlad.db"
    names = {*(figure.name for figure in FIGURES), *(figure.of for figure in FIGURES if figure.of)}
    job.progress(0.0, "reading what was stored")
    if not path.exists():
        return result([Finding("unknown", "performance", f"{path}: is missing", "does the daemon run?")])
    try:
        stored = minutes(path, job.wall_ns - 2 * settings.days * _DAY_NS, job.wall_ns + 1, names)
    except sqlite3.Error as error:
        return Result(
            "failed", f"{path}: {error}; the daemon moves a corrupt database aside at its next start"
        )
    job.progress(0.5, "comparing")
    return result(review(stored, job.wall_ns, settings))
