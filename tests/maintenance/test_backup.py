"""Backups: whole and verified, or not there; the newest are kept; by rsync too."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import socket
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.maintenance.jobs import make_job, write_state
from vlad.maintenance import backup as copying
from vlad.maintenance import rsync, targets
from vlad.maintenance.backup import MANIFEST, BackupError, read_manifest, verify
from vlad.maintenance.job import Job
from vlad.maintenance.tasks import backup

needs_rsync = pytest.mark.skipif(shutil.which("rsync") is None, reason="needs rsync: apt-get install rsync")


def job_for(folder: Path, *targets: object, wall_ns: int | None = None, **more: Any) -> Job:
    table = {"backup": {"targets": [str(target) for target in targets], **more}}
    return make_job(folder, wall_ns, maintenance=table)


def made(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.exists() else []


def test_a_backup_has_what_a_robot_cannot_do_without_and_nothing_secret(tmp_path: Path) -> None:
    job = job_for(tmp_path)
    write_state(job)
    result = backup.run(job)
    assert result.verdict == "ok"
    assert result.rows[0]["problem"] == ""
    (folder,) = made(tmp_path / "state" / "backups")
    assert folder.name.startswith("rover-7_000001_20")
    assert folder.stat().st_mode & 0o77 == 0, "nobody else may read it"
    manifest = read_manifest(folder)
    assert sorted(entry.name for entry in manifest.entries) == [
        "settings/rover.toml", "settings/vlad.toml", "settings/vlad.toml.d/log.toml",
        "state/calibration/demo/1.toml", "state/models/demo/1/policy.toml", "state/policy.json",
        "state/vlad.db",
    ]  # fmt: skip
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {path.relative_to(folder).as_posix() for path in files} == {
        MANIFEST, *(entry.name for entry in manifest.entries),
    }  # fmt: skip
    assert list(verify(folder, manifest)) == []
    with contextlib.closing(sqlite3.connect(folder / "state/vlad.db")) as database:
        assert database.execute("SELECT COUNT(*) FROM events").fetchone() == (100,)


def test_a_database_that_is_written_to_meanwhile_is_whole_in_the_backup(tmp_path: Path) -> None:
    job = job_for(tmp_path)
    write_state(job)
    with contextlib.closing(sqlite3.connect(job.settings.paths.state_dir / "vlad.db")) as writing:
        writing.execute("DELETE FROM events WHERE id <= 50")
        assert backup.run(job).verdict == "ok"
        writing.commit()
    (folder,) = made(tmp_path / "state" / "backups")
    with contextlib.closing(sqlite3.connect(folder / "state/vlad.db")) as database:
        assert database.execute("SELECT COUNT(*) FROM events").fetchone() == (100,), "as of before"


def test_a_limits_file_from_elsewhere_is_in_it_too(tmp_path: Path) -> None:
    job = job_for(tmp_path)
    (tmp_path / "etc" / "rover.toml").rename(tmp_path / "other.toml")
    robot = job.settings.robot.model_copy(update={"limits": tmp_path / "etc" / ".." / "other.toml"})
    job = Job(job.settings.model_copy(update={"robot": robot}), *_rest(job))
    backup.run(job)
    (folder,) = made(tmp_path / "state" / "backups")
    assert (folder / f"settings/elsewhere{tmp_path}/other.toml").exists()


def _rest(job: Job) -> tuple[Any, ...]:
    return job.robot, job.config, job.params, job.status, job.wall_ns, job.progress


def test_the_newest_are_kept_by_their_numbers_whatever_the_clock_says(tmp_path: Path) -> None:
    target = tmp_path / "target"
    other = target / "rover-8_000001_2026-01-01T00-00-00Z"
    other.mkdir(parents=True)
    for years in (0, 5, -5, 0, 0):
        wall_ns = time.time_ns() + years * 365 * 86_400 * 10**9
        assert backup.run(job_for(tmp_path, target, wall_ns=wall_ns, keep=3)).verdict == "ok"
    assert [path.name.split("_")[:2] for path in made(target)] == [
        ["rover-7", "000003"], ["rover-7", "000004"], ["rover-7", "000005"], ["rover-8", "000001"],
    ]  # fmt: skip


def test_what_a_killed_one_left_is_deleted_by_the_next(tmp_path: Path) -> None:
    left = tmp_path / "target" / "rover-7_000001_2026-01-01T00-00-00Z.part"
    (left / "state").mkdir(parents=True)
    assert backup.run(job_for(tmp_path, tmp_path / "target")).verdict == "ok"
    assert not left.exists()


@pytest.mark.parametrize("name", ["vlad.db", "policy.json"])
def test_what_is_not_read_back_as_it_was_written_is_no_backup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A disk that forgets: between writing and reading back a byte changes."""
    job = job_for(tmp_path, tmp_path / "target")
    write_state(job)
    durably = copying.write_durably

    def damage(path: Path, content: str) -> None:
        durably(path, content)
        with (path.parent / "state" / name).open("rb+") as file:
            file.seek(1)
            file.write(b"x")

    monkeypatch.setattr(copying, "write_durably", damage)
    result = backup.run(job)
    assert result.verdict == "failed"
    assert "is not what was backed up" in result.summary
    assert made(tmp_path / "target") == []


def test_a_database_that_is_corrupt_already_is_told(tmp_path: Path) -> None:
    job = job_for(tmp_path, tmp_path / "target")
    write_state(job, events=5_000)
    with (tmp_path / "state" / "vlad.db").open("rb+") as file:
        file.seek(40_000)
        file.write(bytes(8_000))
    result = backup.run(job)
    assert result.verdict == "failed"
    assert made(tmp_path / "target") == []


def test_one_target_that_fails_does_not_keep_others_from_theirs(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = backup.run(job_for(tmp_path, tmp_path / "file" / "target", tmp_path / "good"))
    assert result.verdict == "failed"
    assert f"{tmp_path}/file/target: Not a directory" in result.summary
    assert f"verified: {tmp_path}/good/rover-7_000001" in result.summary
    assert [bool(row["backup"]) for row in result.rows] == [False, True]


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_a_target_that_may_not_be_written_is_told_with_what_systemd_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*values: object, **more: object) -> None:
        raise OSError(number, os.strerror(number))

    job = job_for(tmp_path, "/mnt/stick")
    monkeypatch.setattr(Path, "mkdir", refuse)
    (row,) = backup.run(job).rows
    assert row["problem"].startswith(f"/mnt/stick: {os.strerror(number)}; ")
    assert "systemctl edit vlad, [Service] ReadWritePaths=/mnt/stick" in row["problem"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 240 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=240k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(words, capture_output=True).returncode:
        pytest.skip("mounting a small disk is not permitted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_disk_without_room_is_told_before_it_is_filled(small_disk: Path, tmp_path: Path) -> None:
    result = backup.run(job_for(tmp_path, small_disk))
    assert result.verdict == "failed"
    assert f"{small_disk}: only 0 MB are free; 0 MB are needed and 32 to spare; make room" in result.summary
    assert made(small_disk) == []


@pytest.mark.parametrize("what", ["database", "file"])
def test_a_disk_that_gets_full_is_told_and_nothing_half_made_is_left(
    small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr(targets, "_SPARE_BYTES", -1_000_000_000)
    job = job_for(tmp_path, small_disk)
    write_state(job, events=10_000 if what == "database" else 10)
    (tmp_path / "state" / "calibration" / "large").write_bytes(bytes(1_000_000 if what == "file" else 1))
    result = backup.run(job)
    assert result.verdict == "failed"
    assert "full" in result.summary or "No space left" in result.summary
    assert "maintenance.backup.targets" in result.summary
    assert made(small_disk) == []


@pytest.fixture
def rsyncd(tmp_path: Path) -> Iterator[str]:
    """The address of an rsync daemon's module, for the folder `far`."""
    far = tmp_path / "far"
    far.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    config = tmp_path / "rsyncd.conf"
    config.write_text(f"use chroot = no\n[robots]\npath = {far}\nread only = no\nuid = {os.getuid()}\n")
    words = [
        "rsync",
        "--daemon",
        "--no-detach",
        "--address=127.0.0.1",
        f"--port={port}",
        f"--config={config}",
    ]
    with subprocess.Popen(words, stderr=subprocess.PIPE) as server:
        for _ in range(500):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.01)
        yield f"rsync://127.0.0.1:{port}/robots"
        server.terminate()


@needs_rsync
def test_by_rsync_it_is_whole_and_verified_on_the_other_side(rsyncd: str, tmp_path: Path) -> None:
    job = job_for(tmp_path, rsyncd, keep=2)
    write_state(job)
    broken = tmp_path / "far" / "rover-7_000001_2026-01-01T00-00-00Z"
    broken.mkdir()
    (broken / "half").touch()
    for number in (2, 3, 4):
        result = backup.run(job)
        assert result.verdict == "ok", result.summary
        assert f"rover-7_00000{number}_" in result.summary
    third, fourth = made(tmp_path / "far")
    assert [third.name[:14], fourth.name[:14]] == ["rover-7_000003", "rover-7_000004"]
    manifest = read_manifest(fourth)
    assert list(verify(fourth, manifest)) == []
    assert len(manifest.entries) == 7
    assert fourth.stat().st_mode & 0o77 == 0, "nobody else may read it"
    assert (tmp_path / "far").stat().st_mode & 0o77, "the folder itself is none of our business"
    assert [path for path in (tmp_path / "state").iterdir() if path.suffix == ".part"] == []


@needs_rsync
def test_over_ssh_it_asks_no_questions_and_takes_any_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in for ssh runs what it is asked to here, and writes down its options."""
    far, ssh = tmp_path / "far away", tmp_path / "bin" / "ssh"
    far.mkdir()
    ssh.parent.mkdir()
    ssh.write_text(
        '#!/bin/sh\nwhile [ "${1#-}" != "$1" ]; do echo "$2" >>"$0.options"; shift 2; done\n'
        'shift\nexec sh -c "$*"\n'
    )
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", f"{ssh.parent}:{os.environ['PATH']}")
    job = job_for(tmp_path, f"robot@host:{far}")
    write_state(job)
    result = backup.run(job)
    assert result.verdict == "ok", result.summary
    (folder,) = made(far)
    assert list(verify(folder, read_manifest(folder))) == []
    assert "BatchMode=yes" in Path(f"{ssh}.options").read_text()


@needs_rsync
def test_a_server_that_is_not_there_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    result = backup.run(job_for(tmp_path, f"rsync://127.0.0.1:{port}/robots"))
    assert result.verdict == "failed"
    assert "Connection refused" in result.summary


@needs_rsync
def test_what_differs_on_the_other_side_is_no_backup(
    rsyncd: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_for(tmp_path, rsyncd)
    write_state(job)
    send = rsync.Rsync._run

    def damage(self: Any, *options: str, paths: tuple[str, ...]) -> str:
        if "--checksum" in options:
            (found,) = (tmp_path / "far").glob("*/state/policy.json")
            found.write_text("[]")
        return send(self, *options, paths=paths)

    monkeypatch.setattr(rsync.Rsync, "_run", damage)
    result = backup.run(job)
    assert result.verdict == "failed"
    assert "differs from what was sent" in result.summary
    assert "state/policy.json" in result.summary


def test_without_rsync_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    result = backup.run(job_for(tmp_path, "host:backups"))
    assert result.summary == "host:backups: rsync is not installed; apt-get install rsync"


@pytest.mark.parametrize(
    "target", ["backups", "-e sh:x", "--delete:x", "host:", "host::module", "ftp://x/y", ":x", ""]
)
def test_a_target_that_leads_nowhere_is_refused(tmp_path: Path, target: str) -> None:
    with pytest.raises(Exception, match="neither a folder with its whole path, nor HOST:PATH or rsync://"):
        job_for(tmp_path, target)


@pytest.mark.parametrize(
    "target", ["/x", "host:x", "me@host.local:/x y", "rsync://host/m", "rsync://[fd00::1]:8/m"]
)
def test_a_target_that_leads_somewhere_is_taken(tmp_path: Path, target: str) -> None:
    assert job_for(tmp_path, target).settings.maintenance.backup.targets == (target,)


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../x", "state/../../x", "elsewhere/x", "", "settings/../../../etc/x"]
)
def test_a_manifest_that_leads_out_of_its_folder_is_refused(tmp_path: Path, name: str) -> None:
    row = {"name": name, "size": 0, "sha256": "", "from": "/x"}
    values = {"schema": 1, "robot": "r", "wall_ns": 0, "state_dir": "/x", "files": [row]}
    (tmp_path / MANIFEST).write_text(json.dumps(values))
    with pytest.raises(BackupError, match="leads out of it"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"schema": 1}', '{"schema": 2}', "\x00"])
def test_what_is_no_manifest_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / MANIFEST).write_text(content)
    with pytest.raises(BackupError, match=r"is no manifest of a backup|has the schema 2"):
        read_manifest(tmp_path)
