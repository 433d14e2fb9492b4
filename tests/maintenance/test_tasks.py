"""Clean-up and vacuum: what is too old or too much goes, nothing else does."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.maintenance.jobs import make_job, write_state
from vlad.computer.measured import Timekeeping
from vlad.maintenance.job import Job
from vlad.maintenance.settings import MaintenanceSettings, TaskSettings
from vlad.maintenance.tasks import clean_up, find, vacuum

DAY_S = 86_400


@pytest.fixture(autouse=True)
def steered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel says that its clock is right."""
    monkeypatch.setattr(clean_up, "timekeeping", lambda: Timekeeping(True, 0.0, 0.0))


def aged(path: Path, days: float, size: int = 10) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size))
    then_s = time.time() - days * DAY_S
    os.utime(path, (then_s, then_s))
    return path


def deleted(job: Job) -> dict[str, int]:
    return {row["what"]: row["deleted"] for row in clean_up.run(job).rows if row["deleted"]}


def test_every_task_has_settings_and_says_what_it_does() -> None:
    tasks = find()
    assert {"backup", "clean_up", "health_check", "vacuum"} <= set(tasks)
    for name, description in tasks.items():
        assert isinstance(MaintenanceSettings().of(name), TaskSettings)
        assert description.endswith(".")
        assert '"' not in description


def test_recordings_go_by_age(tmp_path: Path) -> None:
    job = make_job(tmp_path, maintenance={"clean_up": {"recordings_days": 30.0}})
    folder = tmp_path / "state" / "recordings"
    old, young = aged(folder / "1_stop.mcap", 31), aged(folder / "2_stop.mcap", 29)
    writing = aged(folder / "0.mcap.part", 99)
    assert deleted(job) == {"old recordings": 1}
    assert (old.exists(), young.exists(), writing.exists()) == (False, True, True)


def test_zero_days_keep_recordings_for_as_long_as_there_is_room(tmp_path: Path) -> None:
    job = make_job(tmp_path, maintenance={"clean_up": {"recordings_days": 0.0}})
    aged(tmp_path / "state" / "recordings" / "1_stop.mcap", 9_999)
    assert deleted(job) == {}


def test_recordings_go_for_want_of_room_the_oldest_first(tmp_path: Path) -> None:
    job = make_job(tmp_path, record={"disk_mb": 1, "free_mb": 0})
    folder = tmp_path / "state" / "recordings"
    paths = [aged(folder / f"{number}_stop.mcap", 5 - number, 400_000) for number in range(4)]
    assert deleted(job) == {"recordings without room": 2}
    assert [path.exists() for path in paths] == [False, False, True, True]


def test_where_nothing_may_be_deleted_for_room_it_is_a_warning(tmp_path: Path) -> None:
    job = make_job(tmp_path, record={"disk_mb": 1, "free_mb": 0})
    aged(tmp_path / "state" / "recordings" / "1_stop.mcap", 0, 2_000_000)
    result = clean_up.run(job)
    assert result.verdict == "warning"
    assert "the recordings take 2 MB, and none is old enough to delete" in result.summary


def test_copies_that_were_moved_aside_go_by_age_and_left_overs_at_once(tmp_path: Path) -> None:
    job = make_job(tmp_path)
    write_state(job)
    state = tmp_path / "state"
    gone = [aged(state / "vlad.db.corrupt", 31), aged(state / "before-restore_2025" / "vlad.db", 0),
            aged(state / "backup_x.part" / "vlad.db", 0)]  # fmt: skip
    os.utime(gone[1].parent, (1, 1))
    stays = [aged(state / "maintenance.db.corrupt", 29), state / "vlad.db", state / "estop.json"]
    assert deleted(job) == {"left over": 1, "moved aside": 2}
    assert [path.exists() for path in (*gone, *stays)] == [False] * 3 + [True] * 3


@pytest.mark.parametrize(
    ("kernel", "since_s", "why"),
    [
        (Timekeeping(False, 0.0, 0.0), DAY_S, "is not synchronised"),
        (None, 365 * DAY_S, "the clock jumped, or vlad was off for long"),
        (None, -365 * DAY_S, "the clock jumped, or vlad was off for long"),
        (None, None, "the clock jumped, or vlad was off for long"),
    ],
)
def test_while_the_clock_cannot_be_believed_nothing_goes_by_age(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kernel: Any, since_s: float | None, why: str
) -> None:
    monkeypatch.setattr(clean_up, "timekeeping", lambda: kernel)
    job = make_job(tmp_path)
    last_ns = None if since_s is None else job.wall_ns - round(since_s * 1e9)
    job.status["maintenance"]["tasks"]["clean_up"]["ended_wall_ns"] = last_ns
    old = aged(tmp_path / "state" / "recordings" / "1_stop.mcap", 400)
    result = clean_up.run(job)
    assert why in result.summary
    assert old.exists()


def old_database(path: Path, vacuuming: int) -> sqlite3.Connection:
    """One with much free room in it."""
    path.unlink()
    database = sqlite3.connect(path)
    database.execute(f"PRAGMA auto_vacuum={vacuuming}")
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("CREATE TABLE events(id INTEGER PRIMARY KEY, text TEXT)")
    database.executemany("INSERT INTO events(text) VALUES (?)", (("x" * 500,) for _ in range(20_000)))
    database.execute("DELETE FROM events WHERE id > 100")
    database.commit()
    return database


@pytest.mark.parametrize("vacuuming", [0, 2])
def test_the_room_of_deleted_events_is_given_back_while_the_daemon_has_it_open(
    tmp_path: Path, vacuuming: int
) -> None:
    job = make_job(tmp_path)
    write_state(job)
    path = tmp_path / "state" / "vlad.db"
    with contextlib.closing(old_database(path, vacuuming)) as database:
        result = vacuum.run(job)
        assert result.verdict == "ok", result.summary
        assert result.rows[0]["before_mb"] > 5
        assert result.rows[0]["after_mb"] < 0.5
        assert database.execute("SELECT COUNT(*) FROM events").fetchone() == (100,)
        assert database.execute("PRAGMA auto_vacuum").fetchone() == (2,)


def test_a_new_database_can_give_room_back_little_by_little(tmp_path: Path) -> None:
    write_state(make_job(tmp_path))
    with contextlib.closing(sqlite3.connect(tmp_path / "state" / "vlad.db")) as database:
        assert database.execute("PRAGMA auto_vacuum").fetchone() == (2,)


def test_an_unsound_database_is_a_warning_and_one_that_is_none_has_failed(tmp_path: Path) -> None:
    job = make_job(tmp_path)
    write_state(job, events=5_000)
    path = tmp_path / "state" / "vlad.db"
    with path.open("rb+") as file:
        file.seek(100_000)
        file.write(bytes(20_000))
    assert vacuum.run(job).verdict != "ok"
    path.write_bytes(b"nonsense" * 1_000)
    assert vacuum.run(job).verdict == "failed"


def test_where_there_is_no_database_there_is_nothing_to_do(tmp_path: Path) -> None:
    assert vacuum.run(make_job(tmp_path)).verdict == "ok"


@pytest.mark.parametrize("words", [(), ("nothing",), ("vacuum", "backup")])
def test_who_starts_a_tasks_process_by_hand_is_told_how_to_run_the_task(words: tuple[str, ...]) -> None:
    command = [sys.executable, "-m", "vlad.maintenance", *words]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "vladctl maintenance run TASK, one of backup, " in done.stderr
