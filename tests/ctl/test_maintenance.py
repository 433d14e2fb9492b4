"""vladctl maintenance, against a stand-in; what it does to a real daemon is in tests/maintenance."""

from __future__ import annotations

import json
from pathlib import Path

from tests.ctl.conftest import Vladctl
from tests.fake_daemon import Row, Served
from tests.maintenance.jobs import make_job, write_state
from vlad.maintenance.tasks import backup

TASK: Row = {
    "schedule": "daily 03:00", "priority": "high", "only_disarmed": True, "verdict": "failed", "failures": 3,
    "summary": "/x: \x1b[31mNo space left", "ended_wall_ns": 1_700_000_000 * 10**9, "took_s": 1.5,
    "due_wall_ns": None, "description": "Copy it.",
    "rows": [{"target": "/x", "backup": "", "problem": "\x07full"}],
}  # fmt: skip


def serve(daemon: Served, **changes: object) -> None:
    never = TASK | {"verdict": None, "summary": "", "ended_wall_ns": None, "rows": [], "failures": 0}
    running = {"name": "vacuum", "progress": 0.25, "text": "40 pages left", "for_s": 2.0}
    tasks = {"backup": TASK, "vacuum": never}
    daemon.actions.upkeep = {"running": running, "ordered": ["backup"], "problem": "full", "tasks": tasks}


def test_the_list_has_what_came_of_each_and_what_runs(daemon: Served, vladctl: Vladctl) -> None:
    serve(daemon)
    text = " ".join(vladctl("maintenance", "list").stdout.split())
    for part in ("backup failed 2023-11-1", "task result last next", "vacuum - never by hand Copy it.",
                 "vacuum runs: 25% 40 pages left", "waiting: backup", "full"):  # fmt: skip
        assert part in text
    assert "\x1b" not in text


def test_one_task_is_shown_with_all_that_it_found_and_its_failure_is_the_exit_status(
    daemon: Served, vladctl: Vladctl
) -> None:
    serve(daemon)
    done = vladctl("maintenance", "show", "backup")
    assert done.returncode == 1
    text = " ".join(done.stdout.split())
    for part in ("Copy it.", "daily 03:00, priority high, only while the robot is disarmed",
                 "failed (3 times in a row)", "target /x, problem"):  # fmt: skip
        assert part in text
    assert "\x07" not in text
    assert "\x1b" not in text
    assert vladctl("maintenance", "show", "vacuum").returncode == 0
    assert json.loads(vladctl("maintenance", "show", "backup", "--json").stdout)["rows"] == TASK["rows"]


def test_findings_are_shown_as_doctor_shows_them(daemon: Served, vladctl: Vladctl) -> None:
    serve(daemon)
    rows: list[Row] = [
        {"state": "problem", "topic": "imu", "what": "gyro bias x is 0.1 rad/s", "mend": "measure it anew",
         "name": "gyro bias x", "measured": 0.1, "reference": None, "unit": " rad/s"},
        {"state": "unknown", "topic": "memory", "what": "nothing counts its \x1b[31m errors", "mend": ""},
        {"state": "ok", "topic": "disk sda", "what": "well", "mend": ""},
    ]  # fmt: skip
    tasks = {"hardware_check": TASK | {"verdict": "warning", "rows": rows}}
    daemon.actions.upkeep = {"running": None, "ordered": [], "problem": "", "tasks": tasks}
    done = vladctl("maintenance", "show", "hardware_check")
    assert done.returncode == 0
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert "problem imu gyro bias x is 0.1 rad/s" in lines
    assert lines[lines.index("problem imu gyro bias x is 0.1 rad/s") + 1] == "measure it anew"
    assert "ok disk sda well" in lines
    assert any(line.startswith("unknown memory nothing counts its") for line in lines)
    assert "None" not in done.stdout
    assert "\x1b" not in done.stdout


def test_one_that_never_ran_says_how_to_run_it(daemon: Served, vladctl: Vladctl) -> None:
    serve(daemon)
    text = " ".join(vladctl("maintenance", "show", "vacuum").stdout.split())
    assert "only by hand: vladctl maintenance run vacuum" in text
    assert "last never" in text


def test_a_reference_is_only_for_what_measures(daemon: Served, vladctl: Vladctl) -> None:
    serve(daemon)
    done = vladctl("maintenance", "run", "backup", "--reference")
    assert done.returncode == 1
    assert "backup takes no --reference" in done.stderr
    assert daemon.actions.done == []


def test_an_unknown_one_is_refused(daemon: Served, vladctl: Vladctl) -> None:
    serve(daemon)
    for action in ("show", "run"):
        done = vladctl("maintenance", action, "nothing")
        assert done.returncode == 1
        assert "use one of backup, vacuum" in done.stderr


def test_what_cannot_be_put_back_says_why(tmp_path: Path, vladctl: Vladctl) -> None:
    done = vladctl("maintenance", "restore", str(tmp_path / "none"), "--state-dir", str(tmp_path))
    assert done.returncode == 1
    assert "manifest.json: No such file or directory" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_a_dry_run_says_what_would_be_put_back_and_where(tmp_path: Path, vladctl: Vladctl) -> None:
    job = make_job(tmp_path, maintenance={"backup": {"targets": [str(tmp_path / "target")]}})
    write_state(job)
    backup.run(job)
    (folder,) = (tmp_path / "target").iterdir()
    words = ("maintenance", "restore", str(folder), "--dry-run", "--state-dir", str(tmp_path / "new"))
    text = " ".join(vladctl(*words).stdout.split())
    assert "the backup of rover 7 from 20" in text
    assert "would be put back" in text
    assert f"{tmp_path}/new/vlad.db" in text
    assert "install these bundles again: demo/1" in text
    assert not (tmp_path / "new").exists()
    assert json.loads(vladctl(*words, "--json").stdout)["dry_run"] is True
