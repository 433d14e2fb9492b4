"""Putting a backup back: all of it or nothing, with what it replaces kept; never under a running daemon."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from pathlib import Path

import pytest

from tests.maintenance.jobs import make_job, write_state
from vlad.folders import hold_run_folder
from vlad.maintenance import restore as restoring
from vlad.maintenance.backup import BackupError
from vlad.maintenance.restore import Restored, restore
from vlad.maintenance.tasks import backup


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """A backup of a robot's folders; `state` and `etc` are still there."""
    job = make_job(tmp_path, maintenance={"backup": {"targets": [str(tmp_path / "target")]}})
    write_state(job)
    assert backup.run(job).verdict == "ok"
    (folder,) = (tmp_path / "target").iterdir()
    return folder


def put_back(folder: Path, *, settings: bool = False, dry_run: bool = False) -> Restored:
    home = folder.parents[1]
    return restore(folder, home / "state", home / "run", settings=settings, dry_run=dry_run)


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def all_but_the_database(folder: Path) -> dict[str, bytes]:
    """Whether that is in use is found out by dissolving its log."""
    return {name: content for name, content in files(folder).items() if not name.startswith("vlad.db")}


def events(path: Path) -> int:
    with contextlib.closing(sqlite3.connect(path)) as database:
        return int(database.execute("SELECT COUNT(*) FROM events").fetchone()[0])


def test_into_an_empty_folder_everything_comes_back_but_the_bundles(kept: Path, tmp_path: Path) -> None:
    before = files(tmp_path / "state")
    shutil.rmtree(tmp_path / "state")
    done = put_back(kept)
    assert events(tmp_path / "state" / "vlad.db") == 100
    after = files(tmp_path / "state")
    assert set(after) == {"vlad.db", "policy.json", "calibration/demo/1.toml"}
    assert all(after[name] == before[name] for name in ("policy.json", "calibration/demo/1.toml"))
    assert (done.robot, done.replaced, done.aside) == ("rover 7", (), None)
    assert done.missing_bundles == ("demo/1",)


def test_what_it_replaces_is_kept_and_what_it_does_not_know_is_left_alone(kept: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    (state / "policy.json").write_text('{"newer": 1}')
    (state / "vlad.db-wal").write_bytes(b"of another database")
    done = put_back(kept)
    assert done.aside is not None
    assert (done.aside / "policy.json").read_text() == '{"newer": 1}'
    assert events(done.aside / "vlad.db") == 100
    assert (state / "policy.json").read_text() == "{}"
    assert (state / "estop.json").read_text() == '{"reason": "test"}', "an e-stop stays pressed"
    assert not (state / "vlad.db-wal").exists(), "a log must not be played onto another database"
    assert not list(state.rglob("*.restored"))


def test_settings_only_where_they_are_asked_for(kept: Path, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "etc")
    put_back(kept)
    assert not (tmp_path / "etc").exists()
    put_back(kept, settings=True)
    assert set(files(tmp_path / "etc")) == {"rover.toml", "vlad.toml", "vlad.toml.d/log.toml"}


def test_a_dry_run_says_what_would_be_done_and_does_nothing(kept: Path, tmp_path: Path) -> None:
    (tmp_path / "state" / "policy.json").unlink()
    before = files(tmp_path / "state")
    done = put_back(kept, dry_run=True)
    assert tmp_path / "state" / "policy.json" in done.files
    assert set(done.replaced) == {
        tmp_path / "state" / "vlad.db", tmp_path / "state" / "calibration" / "demo" / "1.toml",
    }  # fmt: skip
    assert files(tmp_path / "state") == before


@pytest.mark.parametrize("damage", ["changed", "missing", "truncated"])
def test_a_damaged_backup_changes_nothing(kept: Path, tmp_path: Path, damage: str) -> None:
    path = kept / "state" / "calibration" / "demo" / "1.toml"
    match damage:
        case "changed":
            path.write_text("limit = 9")
        case "missing":
            path.unlink()
        case "truncated":
            path.write_text("lim")
    before = files(tmp_path / "state")
    with pytest.raises(BackupError, match=r"is damaged, nothing was changed: .*1\.toml"):
        put_back(kept)
    assert files(tmp_path / "state") == before


def test_a_disk_that_gets_full_changes_nothing(
    kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = all_but_the_database(tmp_path / "state")
    copy = restoring.copy_file

    def fill_up(source: Path, target: Path) -> tuple[int, str]:
        if source.name == "policy.json":
            target.write_text("{")
            raise OSError(28, "No space left on device")
        return copy(source, target)

    monkeypatch.setattr(restoring, "copy_file", fill_up)
    with pytest.raises(OSError, match="No space left"):
        put_back(kept)
    assert all_but_the_database(tmp_path / "state") == before
    assert events(tmp_path / "state" / "vlad.db") == 100


def test_while_a_daemon_holds_the_run_folder_it_is_refused(kept: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    lock = hold_run_folder(tmp_path / "run")
    try:
        with pytest.raises(BackupError, match=r"another vlad .* stop it first: systemctl stop vlad"):
            put_back(kept)
    finally:
        os.close(lock)
    put_back(kept)


def test_while_a_daemon_with_another_run_folder_has_the_database_it_is_refused(
    kept: Path, tmp_path: Path
) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "state" / "vlad.db")) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("SELECT * FROM events").fetchone()
        with pytest.raises(BackupError, match="is in use, by a vlad with another run folder"):
            put_back(kept)
    put_back(kept)


def test_a_corrupt_database_can_be_replaced(kept: Path, tmp_path: Path) -> None:
    (tmp_path / "state" / "vlad.db").write_bytes(b"nonsense" * 1000)
    done = put_back(kept)
    assert events(tmp_path / "state" / "vlad.db") == 100
    assert done.aside is not None
    assert (done.aside / "vlad.db").read_bytes() == b"nonsense" * 1000


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give files away")
def test_what_root_puts_back_belongs_to_the_daemon(kept: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    shutil.rmtree(state / "calibration")
    os.chown(state, 4242, 4242)
    done = put_back(kept)
    assert done.aside is not None
    ours = [state / "vlad.db", state / "calibration" / "demo", state / "calibration" / "demo" / "1.toml"]
    for path in [*ours, done.aside, done.aside / "vlad.db"]:
        assert path.stat().st_uid == 4242, path
