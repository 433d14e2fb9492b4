"""The daemon as a process on a disk that is full, gone or wrong: an alert comes, and the tick goes on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.health.servers import wait_until
from tools.benchmarks.rig import Rig, rig
from vlad.policy.toml import write_toml
from vlad.record import history

NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")


def run(*words: object) -> None:
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=60)
    if done.returncode:
        pytest.skip(f"{words[0]}: {done.stderr.strip()}")


@contextmanager
def daemon(prepare: Callable[[Path], None] = lambda state_dir: None, *, start: bool = True) -> Iterator[Rig]:
    """One that tells of what is bad at once; `prepare` gets its empty state folder."""
    with rig({}, realtime={"lock_memory": False}) as made:
        folder = Path(f"{made.write_settings()}.d")
        folder.mkdir()
        (folder / "health.toml").write_text(write_toml({"health": {"raise_s": 0.0, "clear_s": 0.0}}))
        state_dir = made.folder / "state"
        state_dir.mkdir()
        prepare(state_dir)
        try:
            if start:
                begin(made)
            yield made
            if start:
                made.stop(-1)
                assert made.processes[-1].returncode == 0
        finally:
            for process in made.processes:
                if process.poll() is None:
                    process.kill()
                    process.wait()
            subprocess.run(["umount", "-q", state_dir], check=False)


def begin(made: Rig) -> None:
    (made.folder / "notify").unlink(missing_ok=True)
    made.start_daemon("vlad", "--config", made.folder / "vlad.toml")


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)


def storage_alerts(made: Rig) -> list[dict[str, Any]]:
    return [row for row in made.call("status")["health"]["alerts"] if row["component"] == "storage"]


def alert(made: Rig) -> dict[str, Any]:
    """The alert of the storage, once it stands."""
    return dict(wait_until(lambda: storage_alerts(made))[0])


def ticks_on(made: Rig) -> None:
    count = made.call("status")["tick"]["count"]
    status = wait_until(
        lambda: status if (status := made.call("status"))["tick"]["count"] > count + 50 else None
    )
    assert status["parts"]["watchdog"] == {"state": "running", "critical": True, "restarts": 0, "error": ""}


@NEEDS_ROOT
def test_a_full_disk_is_an_alert_and_what_happened_meanwhile_is_stored_when_there_is_room() -> None:
    with daemon(lambda state_dir: run("mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", state_dir)) as made:
        filler = made.folder / "state" / "filler"
        with pytest.raises(OSError, match="No space left"):
            fill(filler)
        wait_until(
            lambda: made.call("estop", reason="x" * 300) and made.call("status")["storage"]["problems"]
        )
        row = alert(made)
        assert row["level"] == "DANGER"
        assert "cannot be stored" in row["text"]
        assert "Free space" in row["action"]
        ticks_on(made)
        made.call("estop", reason="while it was full")
        filler.unlink()
        wait_until(lambda: not made.call("status")["storage"]["problems"])
        wait_until(lambda: not storage_alerts(made))
        made.call("estop", reason="after it")
        wait_until(lambda: "after it" in str(history.events(made.folder / "state" / "vlad.db")))
        kept = str([event["text"] for event in history.events(made.folder / "state" / "vlad.db")])
        assert "while it was full" in kept
        assert "cannot be stored" in kept, "the alert itself"


@NEEDS_ROOT
def test_a_disk_that_turns_read_only_is_an_alert() -> None:
    def ext4(state_dir: Path) -> None:
        image = state_dir.with_name("image")
        with image.open("wb") as file:
            file.truncate(16_000_000)
        run("mkfs.ext4", "-q", image)
        run("mount", "-o", "loop", image, state_dir)

    with daemon(ext4) as made:
        wait_until(lambda: history.totals(made.folder / "state" / "vlad.db").get("starts"))
        run("mount", "-o", "remount,abort", made.folder / "state")
        made.call("estop", reason="nobody writes this down")
        assert "cannot be stored" in alert(made)["text"]
        ticks_on(made)
        assert "nobody writes this down" in str(made.call("events", limit=100)), "it is in memory"


def test_a_database_that_was_garbage_before_the_start_is_an_alert_and_a_new_one_is_made() -> None:
    def garbage(state_dir: Path) -> None:
        (state_dir / "vlad.db").write_bytes(b"not a database " * 10_000)

    with daemon(garbage) as made:
        row = alert(made)
        assert row["level"] == "WARNING"
        assert "was corrupt" in row["text"]
        path = made.folder / "state" / "vlad.db"
        wait_until(lambda: history.events(path, kinds=("alert",)))
        assert history.totals(path)["starts"] == 1
        assert Path(f"{path}.corrupt").exists()
        ticks_on(made)


def test_a_database_that_is_overwritten_while_it_runs_is_an_alert_and_the_totals_stay() -> None:
    with daemon(start=False) as made:
        begin(made)
        made.stop(0)
        begin(made)
        path = made.folder / "state" / "vlad.db"
        wait_until(lambda: history.totals(path).get("starts") == 2)
        with path.open("r+b") as file:
            file.write(os.urandom(path.stat().st_size))
        with Path(f"{path}-wal").open("r+b") as file:
            file.write(os.urandom(4096))
        made.call("estop", reason="something to write")
        made.call("events", limit=1_000)
        assert "was corrupt" in alert(made)["text"]
        ticks_on(made)
        assert made.call("status")["operation"]["starts"] == 2
        made.stop(1)
        assert history.totals(path)["starts"] == 2
        assert history.totals(path)["clean_ends"] == 2


def test_a_daemon_that_was_killed_is_counted_and_its_report_can_be_written(tmp_path: Path) -> None:
    with daemon(start=False) as made:
        begin(made)
        path = made.folder / "state" / "vlad.db"
        wait_until(lambda: history.totals(path).get("starts") == 1)
        made.processes[0].kill()
        made.processes[0].wait()
        words = [sys.executable, "-m", "vlad.ctl", "--run-dir", made.run_dir, "report"]
        page = tmp_path / "r.html"
        down = [*words, "--state-dir", made.folder / "state", "--output", page]
        done = subprocess.run(down, capture_output=True, text=True, timeout=60)
        assert (done.returncode, "vlad does not run" in done.stdout) == (0, True), done.stderr
        assert "vlad does not run" in page.read_text()
        begin(made)
        operation = made.call("status")["operation"]
        assert (operation["starts"], operation["unclean_ends"]) == (2, 1)
        made.call("estop", reason="for the report")
        wait_until(lambda: "for the report" in str(history.events(path)))
        done = subprocess.run([*words, "--json"], capture_output=True, text=True, timeout=60)
        report = json.loads(done.stdout)
        assert (report["running"], report["robot"]) == (True, "bench")
        assert "for the report" in str(report["events"])
        made.stop(1)
