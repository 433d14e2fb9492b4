"""The database: made anew or from one of before, bounded, and read by who may only read."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from vlad.clock import FakeClock
from vlad.messages import Level
from vlad.record import events as events_module
from vlad.record import history
from vlad.record.events import EventLog
from vlad.record.history import Minute
from vlad.record.store import Record, Store, Totals
from vlad.record.tables import STEPS

# As version 0.1 made it, which did not number itself.
OF_BEFORE = """
PRAGMA journal_mode=WAL;
CREATE TABLE IF NOT EXISTS events(
    id INTEGER PRIMARY KEY, wall_ns INTEGER NOT NULL, monotonic_ns INTEGER NOT NULL,
    kind TEXT NOT NULL, level INTEGER NOT NULL, text TEXT NOT NULL, data TEXT NOT NULL
);
INSERT INTO events VALUES(41, 1, 2, 'mode', 1, 'of before', '{}');
"""
YEAR_S = 365 * 86_400


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "vlad.db"


def until(what: Callable[[], object], seconds: float = 10.0) -> None:
    for _ in range(round(seconds * 100)):
        if what():
            return
        time.sleep(0.01)
    pytest.fail("it did not come about")


def version(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


def event(seq: int, text: str = "") -> Record:
    return Record(seq, seq, 0, "x", Level.SAFE, text, {})


def test_a_database_of_before_gets_the_new_tables_and_keeps_its_events(
    path: Path, opened: Callable[[], EventLog]
) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(OF_BEFORE)
    log = opened()
    log.put("mode", Level.SAFE, "of now")
    log.keep(Minute(5, {"cpu": 0.5}), Totals({"starts": 1.0}))
    log.close()
    assert [(row["id"], row["text"]) for row in history.events(path)] == [(41, "of before"), (42, "of now")]
    assert history.minutes(path) == [Minute(5, {"cpu": 0.5})]
    assert history.totals(path)["starts"] == 1.0
    assert version(path) == len(STEPS)


def test_a_database_of_before_is_read_before_anybody_changes_it(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(OF_BEFORE)
    assert history.minutes(path) == []
    assert history.totals(path) == {}
    assert version(path) == 0


def test_a_database_of_a_later_version_is_used_as_it_is(path: Path, opened: Callable[[], EventLog]) -> None:
    opened().close()
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript("CREATE TABLE later(x); PRAGMA user_version=99;")
    log = opened()
    log.put("mode", Level.SAFE, "after a rollback")
    log.close()
    assert [row["text"] for row in history.events(path)] == ["after a rollback"]
    assert version(path) == 99


def test_a_step_that_fails_leaves_nothing_half_made(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = (*STEPS, "CREATE TABLE half(x); CREATE TABLE events(x);")
    monkeypatch.setattr("vlad.record.tables.STEPS", steps)
    with pytest.raises(sqlite3.Error):
        Store(path).open()
    assert version(path) == len(STEPS)
    monkeypatch.undo()
    store = Store(path)
    store.open()
    store.close()
    with closing(sqlite3.connect(path)) as connection:
        tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type='table'")}
    assert tables == {"events", "minutes", "totals"}


def test_totals_go_on_from_process_to_process(path: Path, opened: Callable[[], EventLog]) -> None:
    for run in (1, 2, 3):
        log = opened()
        log.keep(Totals({"starts": 1.0, "armed_s": 5.0}))
        log.keep(Totals({"starts": 1.0, "armed_s": 10.0}))
        log.close()
        assert history.totals(path) | {"counted_since_s": 0.0} == {
            "starts": run, "armed_s": 10.0 * run, "counted_since_s": 0.0,
        }  # fmt: skip
    assert history.totals(path)["counted_since_s"] == pytest.approx(time.time(), abs=600)


def test_a_crash_loses_only_what_was_counted_since_the_last_minute(
    path: Path, opened: Callable[[], EventLog], tmp_path: Path
) -> None:
    log = opened()
    log.keep(Totals({"armed_s": 60.0}))
    until(lambda: history.totals(path).get("armed_s") == 60.0)
    for suffix in ("", "-wal", "-shm"):
        shutil.copy(f"{path}{suffix}", tmp_path / f"copy.db{suffix}")
    after = EventLog(tmp_path / "copy.db", FakeClock())
    try:
        assert after.before["armed_s"] == 60.0
    finally:
        after.close()


def test_totals_outlive_a_database_that_becomes_corrupt(path: Path, opened: Callable[[], EventLog]) -> None:
    first = opened()
    first.keep(Totals({"armed_s": 100.0}))
    first.close()
    since_s = history.totals(path)["counted_since_s"]
    log = opened()
    until(lambda: not log._doubted)
    path.write_bytes(b"\xff" * path.stat().st_size)
    Path(f"{path}-wal").write_bytes(b"")
    log.keep(Minute(1, {"cpu": 0.5}), Totals({"armed_s": 7.0}))
    until(lambda: log.lost)
    log.close()
    assert history.totals(path) == {"armed_s": 107.0, "counted_since_s": since_s}
    assert history.minutes(path) == [Minute(1, {"cpu": 0.5})]


def test_totals_are_not_forgotten_where_the_disk_could_not_be_read_at_the_start(
    path: Path, opened: Callable[[], EventLog], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events_module, "_RETRY_S", 0.02)
    first = opened()
    first.keep(Totals({"armed_s": 100.0}))
    first.close()

    def fail(self: Store) -> int:
        raise sqlite3.OperationalError("disk I/O error")

    with monkeypatch.context() as patched:
        patched.setattr(Store, "open", fail)
        log = opened()
        log.keep(Totals({"armed_s": 7.0}))
        until(lambda: log.problem)
        assert log.before == {}
    until(lambda: not log.problem)
    log.close()
    assert history.totals(path)["armed_s"] == 107.0


def test_what_is_corrupt_where_nobody_looked_yet_is_found_after_the_start(
    path: Path, opened: Callable[[], EventLog], caplog: pytest.LogCaptureFixture
) -> None:
    log = opened()
    for number in range(2_000):
        log.put("x", Level.SAFE, f"{number} " + "x" * 200)
    log.close()
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(20 * 4096)
        file.write(os.urandom(size // 2))
    again = opened()
    until(lambda: again.lost)
    again.put("x", Level.SAFE, "after")
    again.close()
    assert "corrupt" in again.lost
    assert [row["text"] for row in history.events(path)] == ["after"]
    assert Path(f"{path}.corrupt").stat().st_size == size


def test_a_reader_that_meets_something_corrupt_has_it_looked_at(
    path: Path, opened: Callable[[], EventLog]
) -> None:
    log = opened()
    for number in range(2_000):
        log.put("x", Level.SAFE, f"{number} " + "x" * 200)
    until(lambda: len(history.events(path)) == 2_000 and not log._doubted)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with path.open("r+b") as file:
        file.seek(3 * 4096)
        file.write(b"\xff" * 100_000)
    log.query(1_000)
    assert len(log.query(10)) == 10, "what is in memory is shown all the same"
    until(lambda: log.lost or not log.query(1_000, kinds=("nothing",)))
    until(lambda: log.lost)


def test_a_minute_is_stored_once_also_where_it_cannot_be_read_back(
    path: Path, opened: Callable[[], EventLog], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events_module, "_RETRY_S", 0.02)
    log = opened()
    until(lambda: not log._doubted)

    def fail(self: Store, *, thoroughly: bool) -> None:
        raise sqlite3.OperationalError("unable to open database file")

    monkeypatch.setattr(Store, "check", fail)
    for number in range(3):
        log.keep(Minute(number, {"cpu": 0.5}))
        until(lambda number=number: len(history.minutes(path)) == number + 1)
    log.close()
    assert [minute.wall_ns for minute in history.minutes(path)] == [0, 1, 2]


def test_minutes_and_events_are_bounded(path: Path) -> None:
    store = Store(path, kept_events=50, kept_minutes=100)
    store.open()
    for first in range(1, 5_001, 100):
        store.write(0, [event(seq) for seq in range(first, first + 100)])
        store.write(0, [Minute(seq, {"cpu": 0.5}) for seq in range(first, first + 100)])
    store.close()
    kept = history.minutes(path)
    assert kept[-1].wall_ns == 5_000
    assert len(kept) <= 100 + 1_000


def test_long_events_make_room_for_others(path: Path) -> None:
    store = Store(path, kept_bytes=1_000_000)
    store.open()
    for first in range(1, 2_001, 50):
        store.write(0, [event(seq, "x" * 4_000) for seq in range(first, first + 50)])
    store.close()
    assert path.stat().st_size < 1_600_000
    kept = history.events(path)
    assert (kept[-1]["id"], len(kept) > 100) == (2_000, True)


def test_a_wall_clock_set_back_by_a_year_repeats_and_loses_no_minute(
    path: Path, opened: Callable[[], EventLog]
) -> None:
    log = opened()
    now_ns = 1_700_000_000 * 10**9
    walls = [now_ns + shift_s * 10**9 for shift_s in (0, 60, -YEAR_S, 60 - YEAR_S, 120, 120)]
    for number, wall_ns in enumerate(walls):
        log.keep(Minute(wall_ns, {"cpu": float(number)}))
    log.close()
    kept = history.minutes(path)
    assert [minute.wall_ns for minute in kept] == walls, "in the order of their writing"
    assert [minute.values["cpu"] for minute in kept] == [0, 1, 2, 3, 4, 5]
    assert [minute.values["cpu"] for minute in history.minutes(path, now_ns)] == [0, 1, 4, 5]


def test_minutes_are_chosen_by_time_and_name(path: Path) -> None:
    store = Store(path)
    store.open()
    store.write(0, [Minute(at_ns, {"cpu": 0.5, "memory": 1 / 3, "nan": float("nan")}) for at_ns in range(10)])
    store.close()
    assert history.minutes(path, 3, 5, ("memory", "nothing")) == [
        Minute(3, {"memory": 0.33333}), Minute(4, {"memory": 0.33333}),
    ]  # fmt: skip


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize("running", [True, False], ids=["while it is written", "at rest"])
def test_who_may_only_read_reads_it(running: bool) -> None:
    """As a member of the group vlad does, who may not write into the state folder."""
    folder = Path(tempfile.mkdtemp(prefix="vlad-store-"))
    try:
        folder.chmod(0o755)
        store = Store(folder / "vlad.db")
        store.open()
        store.write(0, [Minute(1, {"cpu": 0.5})])
        if not running:
            store.close()
        child = os.fork()
        if child == 0:
            try:
                os.setgid(65_534)
                os.setuid(65_534)
                os._exit(0 if history.minutes(folder / "vlad.db") == [Minute(1, {"cpu": 0.5})] else 1)
            except BaseException:
                os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        store.close()
    finally:
        shutil.rmtree(folder)
