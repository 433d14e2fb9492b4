"""The daemon as a process, with real tasks: by hand, due, armed, killed, and a robot that comes back."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.health.servers import tarpit, wait_until
from tools.benchmarks.rig import Rig, rig, write_policy
from vlad.driver import CommandReceiver
from vlad.maintenance.schedule import Moment
from vlad.maintenance.store import Record, Store
from vlad.maintenance.tasks import find
from vlad.policy.toml import write_toml

CAMERA = {"camera": {"type": "image", "max_age_s": 1.0}}
DAY_NS = 86_400 * 10**9
needs_rsync = pytest.mark.skipif(shutil.which("rsync") is None, reason="needs rsync: apt-get install rsync")


@contextmanager
def robot(signals: dict[str, Any] | None = None) -> Iterator[Rig]:
    with rig(
        signals or {"estop": {"type": "estop", "required": False}}, realtime={"lock_memory": False}
    ) as made:
        yield made


def start(made: Rig, **backup: Any) -> None:
    """With these settings for the task `backup`, the only one that is ever due."""
    (made.folder / "notify").unlink(missing_ok=True)
    settings = made.write_settings()
    folder = Path(f"{settings}.d")
    folder.mkdir(exist_ok=True)
    off = {name: {"schedule": "off"} for name in ("clean_up", "vacuum")}
    (folder / "maintenance.toml").write_text(write_toml({"maintenance": {**off, "backup": backup}}))
    made.start_daemon("vlad", "--config", settings)


def make_due(made: Rig) -> None:
    """It was last done three days ago, before the computer was started."""
    (made.folder / "state").mkdir()
    then = Moment(time.time_ns() - 3 * DAY_NS, 0, "before")
    Store(made.folder / "state" / "maintenance.db").save(Record("backup", then))


def maintenance(made: Rig) -> dict[str, Any]:
    status: dict[str, Any] = made.call("status", timeout_s=20.0)["maintenance"]
    return status


def ended(made: Rig, verdict: str) -> dict[str, Any]:
    row: dict[str, Any] = wait_until(
        lambda: (task := maintenance(made)["tasks"].get("backup")) and task["verdict"] == verdict and task,
        60.0,
    )
    return row


def processes(made: Rig) -> list[psutil.Process]:
    """Those of the running task: of vlad.maintenance, and what it started."""
    return [process for process in made.daemon.children(recursive=True) if is_of_a_task(process)]


def is_of_a_task(process: psutil.Process) -> bool:
    try:
        return process.name() == "rsync" or "vlad.maintenance" in process.cmdline()
    except psutil.Error:
        return False


def vladctl(made: Rig, *words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "vlad.ctl", "--run-dir", made.run_dir, *words]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=120, check=False)


def told(made: Rig) -> list[str]:
    return [event["text"] for event in made.call("events", limit=100, kinds=["maintenance"])]


@pytest.mark.parametrize("name", sorted(find()))
def test_each_task_runs_by_hand(name: str) -> None:
    with robot() as made:
        start(made)
        done = vladctl(made, "maintenance", "run", name, "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        answer = json.loads(done.stdout)
        assert (answer["name"], answer["failures"]) == (name, 0)
        assert answer["verdict"] in ("ok", "warning")
        assert answer["took_s"] > 0
        assert told(made)[0].startswith(f"{name}: {answer['verdict']}: {answer['summary'][:20]}")
        assert "Traceback" not in (made.folder / "vlad.log").read_text()
        assert maintenance(made)["running"] is None
        listed = vladctl(made, "maintenance", "list")
        assert name in listed.stdout


def test_what_the_health_check_finds_is_what_the_doctor_finds() -> None:
    with robot() as made:
        start(made)
        found = json.loads(vladctl(made, "maintenance", "run", "health_check", "--json").stdout)
        doctor = json.loads(vladctl(made, "doctor", "--config", made.folder / "vlad.toml", "--json").stdout)
        lasting = ("settings", "policy", "access", "guard", "libraries")

        def wrong(rows: list[dict[str, Any]]) -> set[tuple[str, str]]:
            return {(row["topic"], row["what"]) for row in rows if row["topic"] in lasting}

        assert wrong(found["rows"])
        assert wrong(found["rows"]) == wrong([row for row in doctor["findings"] if row["state"] != "ok"])


def test_an_unknown_task_is_refused_with_those_that_there_are() -> None:
    with robot() as made:
        start(made)
        done = vladctl(made, "maintenance", "run", "nothing")
        assert done.returncode == 1
        assert "use one of backup, " in " ".join(done.stderr.split())


def test_a_daemon_with_a_history_that_lost_everything_gets_it_back(tmp_path: Path) -> None:
    with robot() as made:
        start(made, targets=[str(tmp_path)])
        made.call("estop", reason="a history")
        wait_until(lambda: [e for e in made.call("events", limit=100) if "a history" in e["text"]])
        before = ended_backup(made)
        made.stop(0)
        shutil.rmtree(made.folder / "state")
        (folder,) = tmp_path.iterdir()
        done = vladctl(made, "maintenance", "restore", folder, "--config", made.folder / "vlad.toml")
        assert done.returncode == 0, done.stderr
        assert "vlad.db" in done.stdout
        start(made, targets=[str(tmp_path)])
        events = made.call("events", limit=100)
        assert [event for event in events if "a history" in event["text"]]
        assert min(event["id"] for event in events) == min(event["id"] for event in before)
        refused = vladctl(made, "maintenance", "restore", folder, "--config", made.folder / "vlad.toml")
        assert refused.returncode == 1
        assert "stop it first: systemctl stop vlad" in " ".join(refused.stderr.split())


def ended_backup(made: Rig) -> list[dict[str, Any]]:
    """All events, after a backup."""
    done = vladctl(made, "maintenance", "run", "backup")
    assert done.returncode == 0, done.stdout + done.stderr
    events: list[dict[str, Any]] = made.call("events", limit=100)
    return events


@needs_rsync
def test_one_that_takes_too_long_is_killed_with_all_that_it_started() -> None:
    with tarpit() as url, robot() as made:
        start(made, targets=[f"{url.replace('http', 'rsync')}x"], time_limit_s=5.0, priority="critical")
        made.call("maintain", name="backup")
        wait_until(lambda: any(process.name() == "rsync" for process in processes(made)))
        assert ended(made, "failed")["summary"] == "took longer than 5 s, and was ended"
        assert processes(made) == []
        health = wait_until(lambda: [row for row in made.call("status")["health"]["alerts"]
                                     if row["component"] == "maintenance"], 60.0)  # fmt: skip
        assert health[0]["level"] == "DANGER"
        assert health[0]["text"].startswith("backup failed: took longer")
        assert not list((made.folder / "state").glob("*.part")), "nothing half made is left"


@needs_rsync
def test_arming_ends_one_that_only_runs_disarmed_and_it_is_put_back() -> None:
    with tarpit() as url, robot(CAMERA) as made:
        made.policy["bundle"] = str(write_policy(made.folder / "models" / "bench", "camera", 32, rounds=0))
        make_due(made)
        start(made, targets=[f"{url.replace('http', 'rsync')}x"], only_disarmed=True)
        made.feed(["camera:image:30:64x48"])
        with CommandReceiver(made.commands):
            wait_until(lambda: maintenance(made)["running"], 60.0)
            made.arm()
            wait_until(lambda: maintenance(made)["running"] is None)
            wait_until(lambda: processes(made) == [])
            assert made.call("status")["mode"] != "disarmed"
            assert told(made)[-1].startswith("backup: ended because the robot was armed")
            assert made.call("maintain", name="backup")["waits"]
            made.call("disarm")
            wait_until(lambda: maintenance(made)["running"], 60.0)


@needs_rsync
def test_one_that_the_daemon_was_killed_in_runs_once_more_and_then_not_again(tmp_path: Path) -> None:
    with robot() as made:
        with tarpit() as url:
            make_due(made)
            start(made, targets=[f"{url.replace('http', 'rsync')}x"])
            wait_until(lambda: any(process.name() == "rsync" for process in processes(made)), 60.0)
            left = processes(made)
            made.daemon.kill()
            made.processes[0].wait()
            assert psutil.wait_procs(left, timeout=20)[1] == [], "nothing is left behind"
        start(made, targets=[str(tmp_path)])
        task = ended(made, "ok")
        assert task["due_wall_ns"] > time.time_ns()
        made.daemon.kill()
        made.processes[1].wait()
        start(made, targets=[str(tmp_path)])
        wait_until(lambda: maintenance(made)["tasks"])
        assert maintenance(made)["running"] is None
        assert len(list(tmp_path.iterdir())) == 1


def test_what_is_wrong_in_the_settings_by_now_does_not_keep_a_backup_from_being_made(tmp_path: Path) -> None:
    with robot() as made:
        start(made, targets=[str(tmp_path)])
        (made.folder / "vlad.toml").write_text("nonsense = [")
        assert vladctl(made, "maintenance", "run", "backup").returncode == 0
        assert len(list(tmp_path.iterdir())) == 1
