"""The checks as tasks, on this computer and on a database of two weeks."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.maintenance.test_review import week
from vlad.clock import NS_PER_S
from vlad.config import load_settings
from vlad.maintenance.finding import Finding, result
from vlad.maintenance.hardware.sensors import check_sensors
from vlad.maintenance.job import Job
from vlad.maintenance.tasks import calibration_check, hardware_check, performance_review, security_scan
from vlad.messages import CompressedImage, Image
from vlad.policy.toml import write_toml
from vlad.record.tables import prepare

NOW_NS = 1_790_000_000 * NS_PER_S
SIGNALS = {
    "camera": {"type": "image", "rate_hz": 30, "max_age_s": 0.2},
    "imu": {"type": "imu", "required": False, "rate_hz": 100},
    "bumper": {"type": "proximity"},
    "instruction": {"type": "instruction", "required": False},
}


@pytest.fixture
def job(tmp_path: Path) -> Job:
    etc, state = tmp_path / "etc", tmp_path / "state"
    for folder in (etc, state, tmp_path / "run"):
        folder.mkdir(mode=0o750)
        folder.chmod(0o750)
    axis = {"velocity": 1.0, "acceleration": 1.0}
    axes = {"linear_x": axis, "angular_z": axis}
    (etc / "rover.toml").write_text(
        write_toml({"name": "r", "type": "rover", "command": "twist", "axes": axes})
    )
    paths = {"run_dir": str(tmp_path / "run"), "state_dir": str(state)}
    config = etc / "vlad.toml"
    config.write_text(write_toml({"robot": {"limits": "rover.toml"}, "paths": paths, "signals": SIGNALS}))
    for file in etc.iterdir():
        file.chmod(0o640)
    settings, robot = load_settings(config)
    status = {"mode": "disarmed", "pid": os.getpid()}
    return Job(settings, robot, config, {}, status, NOW_NS, lambda part, text: None)


def signal(**changes: Any) -> dict[str, Any]:
    return {"age_s": 0.01, "rate_hz": 30.0, "received": 900, "bad": {}} | changes


def sensors(job: Job, **signals: Any) -> dict[str, tuple[str, str]]:
    usual = {
        "camera": signal(),
        "imu": signal(rate_hz=100.0),
        "bumper": signal(),
        "instruction": signal(age_s=None),
    }
    return {one.topic: (one.state, one.what) for one in check_sensors(job.settings, usual | signals)}


def test_sensors_that_come_as_often_as_they_should_are_well_and_events_are_not_judged(job: Job) -> None:
    found = sensors(job)
    assert {topic: state for topic, (state, _) in found.items()} == {
        "sensor camera": "ok", "sensor imu": "ok", "sensor bumper": "unknown"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("topic", "changes", "state", "words"),
    [
        ("camera", {"age_s": None, "rate_hz": 0.0}, "problem", "never arrived"),
        ("imu", {"age_s": None}, "warning", "never arrived"),
        ("camera", {"age_s": 3.0}, "problem", "3.0 s old"),
        ("camera", {"rate_hz": 21.0}, "warning", "21 Hz, not 30"),
        ("camera", {"rate_hz": 45.0}, "warning", "45 Hz, not 30"),
        ("camera", {"bad": {"size": 100}}, "warning", "100 of 1,000 messages"),
    ],
)
def test_a_sensor_that_does_not_come_as_it_should_is_told(
    job: Job, topic: str, changes: dict[str, Any], state: str, words: str
) -> None:
    found, what = sensors(job, **{topic: signal(**changes)})[f"sensor {topic}"]
    assert found == state
    assert words in what


def test_without_the_daemons_word_sensors_are_unknown(job: Job) -> None:
    assert [one.state for one in check_sensors(job.settings, {})] == ["unknown"]


def test_findings_become_a_result_with_the_worst_first_and_unknown_is_never_ok() -> None:
    ok, bad, unknown = (Finding(state, state, "seen") for state in ("ok", "problem", "unknown"))
    told = result([ok, unknown, bad, ok])
    assert (told.verdict, told.summary) == ("warning", "1 problem, 1 unknown, 2 ok; problem: seen")
    assert [row["state"] for row in told.rows] == ["problem", "unknown", "ok", "ok"]
    assert result([ok, unknown]).verdict == "ok"
    assert result([unknown]).verdict == result([]).verdict == "warning"


def test_the_hardware_of_this_computer_is_looked_at_and_what_is_unknown_says_how_to_get_to_know(
    job: Job,
) -> None:
    told = hardware_check.run(job)
    assert {"memory", "sensors"} <= {row["topic"].split()[0] for row in told.rows}
    assert all(row["mend"] for row in told.rows if row["state"] != "ok")


def test_the_security_of_this_installation_is_scanned(job: Job) -> None:
    told = security_scan.run(job)
    rows = {row["topic"]: row for row in told.rows if row["state"] in ("ok", "unknown")}
    assert {"settings", "state folder", "sockets", "ports", "packages", "units", "accounts"} <= set(rows)
    (job.config).chmod(0o666)
    found = [row for row in security_scan.run(job).rows if row["topic"] == "settings"]
    assert [(row["state"], row["mend"]) for row in found] == [("problem", f"chmod go-w {job.config}")]


def store(job: Job, minutes: list[Any]) -> None:
    with sqlite3.connect(job.settings.paths.state_dir / "vlad.db") as database:
        prepare(database)
        rows = [(minute.wall_ns, json.dumps(minute.values)) for minute in minutes]
        database.executemany('INSERT INTO minutes(wall_ns, "values") VALUES(?, ?)', rows)


def test_a_week_in_which_inference_got_slower_is_told_from_the_database(job: Job) -> None:
    rng = np.random.default_rng(1)
    store(job, [*week(rng, 7), *week(rng, 0, factor={"inference_p99_ms": 1.4})])
    told = performance_review.run(job)
    assert told.verdict == "warning"
    assert "inference_p99_ms" in told.summary
    assert [row["topic"] for row in told.rows if row["state"] == "warning"] == ["inference_p99_ms"]


def test_without_a_database_or_with_a_broken_one_a_review_says_so(job: Job) -> None:
    assert performance_review.run(job).verdict == "warning"
    (job.settings.paths.state_dir / "vlad.db").write_bytes(b"nonsense" * 1000)
    assert performance_review.run(job).verdict == "failed"


@pytest.mark.parametrize("mode", ["active", "degraded", "stopping", "boot"])
def test_sensors_are_not_checked_while_the_robot_may_move(job: Job, mode: str) -> None:
    told = calibration_check.run(replace(job, status={"mode": mode}))
    assert told.verdict == "failed"
    assert mode in told.summary


def test_without_a_daemon_the_calibration_check_fails_and_says_what_it_misses(job: Job) -> None:
    told = calibration_check.run(job)
    assert told.verdict == "failed"
    assert "feed.sock" in told.summary


def heard(monkeypatch: pytest.MonkeyPatch, **topics: Any) -> None:
    def listen(run_dir: Path, wanted: Any, *others: Any) -> dict[str, Any]:
        return {topic: topics.get(topic, []) for topic in wanted}

    monkeypatch.setattr(calibration_check, "listen", listen)


@pytest.mark.parametrize(
    ("picture", "words"),
    [
        (Image("16UC1", np.zeros((4, 4), np.uint16)), "16UC1"),
        (CompressedImage("jpeg", memoryview(b"0")), "jpeg"),
    ],
)
def test_pictures_that_are_no_photographs_are_told_as_unknown(
    job: Job, monkeypatch: pytest.MonkeyPatch, picture: Any, words: str
) -> None:
    heard(monkeypatch, camera=[picture])
    row = next(row for row in calibration_check.run(job).rows if row["topic"] == "camera")
    assert row["state"] == "unknown"
    assert words in row["what"]


def test_results_that_cannot_be_kept_make_the_check_fail_with_the_reason(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard(monkeypatch, camera=[np.full((12, 16), 128, np.uint8)])
    (job.settings.paths.state_dir / "calibration").write_text("in the way")
    told = calibration_check.run(job)
    assert told.verdict == "failed"
    assert "calibration" in told.summary


def test_a_task_runs_as_the_daemon_starts_it(job: Job) -> None:
    told = {
        "settings": job.settings.model_dump_json(), "robot": job.robot.model_dump_json(),
        "config": str(job.config), "params": {}, "status": {}, "wall_ns": NOW_NS,
    }  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-m", "vlad.maintenance", "performance_review"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process:
        process.stdin.write(json.dumps(told).encode() + b"\n")
        process.stdin.flush()
        lines = [json.loads(line) for line in process.stdout]
    assert lines[-1]["verdict"] == "warning"
    assert "is missing" in lines[-1]["rows"][0]["what"]
