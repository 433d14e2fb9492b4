"""The event log: nothing is lost in order, the disk's troubles stay in its own thread."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vlad.clock import FakeClock
from vlad.messages import Level
from vlad.record import events as events_module
from vlad.record.events import EventLog
from vlad.record.history import newest_events as read
from vlad.record.store import Record, Store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "vlad.db"


def until(what: Callable[[], Any], seconds: float = 10.0) -> None:
    for _ in range(round(seconds * 100)):
        if what():
            return
        time.sleep(0.01)
    pytest.fail("it did not come about")


def texts(log: EventLog, limit: int = 100) -> list[str]:
    return [event["text"] for event in log.query(limit)]


def test_an_event_is_there_at_once_and_after_a_restart(opened: Callable[[], EventLog], path: Path) -> None:
    log = opened()
    log.put("mode", Level.WARNING, "active -> stopping", cause="camera")
    expected = {
        "id": 1,
        "wall_ns": 1_700_000_000_000_000_000,
        "monotonic_ns": 1_000_000_000_000,
        "kind": "mode",
        "level": "WARNING",
        "text": "active -> stopping",
        "data": {"cause": "camera"},
    }
    assert log.query(10) == [expected]
    log.close()
    assert read(path, 10, 0, ()) == [expected]
    again = opened()
    again.put("mode", Level.SAFE, "stopping -> stopped")
    assert [event["id"] for event in again.query(10)] == [1, 2]


def test_a_query_chooses_by_number_id_and_kind(opened: Callable[[], EventLog]) -> None:
    log = opened()
    for number in range(1, 11):
        log.put("odd" if number % 2 else "even", Level.SAFE, str(number))
    assert texts(log, 3) == ["8", "9", "10"]
    assert [event["text"] for event in log.query(100, since_id=7)] == ["8", "9", "10"]
    assert [event["text"] for event in log.query(2, kinds=("odd",))] == ["7", "9"]
    assert log.query(0) == []


def test_subscribers_hear_of_new_events_until_they_leave(opened: Callable[[], EventLog]) -> None:
    log = opened()
    heard: list[dict[str, Any]] = []
    leave = log.subscribe(heard.append)
    log.put("task", Level.SAFE, "go")
    leave()
    log.put("task", Level.SAFE, "stay")
    assert heard == log.query(10)[:1]


def test_odd_values_are_stored_as_strict_json(opened: Callable[[], EventLog], path: Path) -> None:
    import numpy as np

    log = opened()
    log.put("x", Level.SAFE, "\ud800", nan=float("nan"), array=np.float32([1, np.inf]), where=Path("/x"))
    log.put("x", Level.SAFE, "y" * 10_000, long="z" * 100_000)
    log.close()
    first, second = read(path, 2, 0, ())
    assert first["data"] == {"nan": None, "array": [1.0, None], "where": "/x"}
    assert first["text"] == "?"
    assert len(second["text"]) == 4_000
    assert second["data"] == {"truncated": True}
    assert json.dumps(first, allow_nan=False)


def test_a_corrupt_database_is_moved_aside_and_a_new_one_made(
    opened: Callable[[], EventLog], path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path.parent.mkdir()
    path.write_bytes(b"this was a database once" * 1_000)
    log = opened()
    log.put("start", Level.SAFE, "hello")
    log.close()
    assert [event["text"] for event in read(path, 10, 0, ())] == ["hello"]
    assert Path(f"{path}.corrupt").read_bytes().startswith(b"this was")
    assert "was corrupt" in caplog.text


def test_a_database_that_becomes_corrupt_is_replaced_and_ids_go_on(
    opened: Callable[[], EventLog], path: Path
) -> None:
    log = opened()
    for number in range(200):
        log.put("x", Level.SAFE, f"{number} " + "x" * 1_000)
    until(lambda: len(read(path, 1_000, 0, ())) == 200)
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with path.open("r+b") as file:
        file.seek(100)
        file.write(b"\xff" * (path.stat().st_size - 100))
    log.put("x", Level.SAFE, "after")
    until(lambda: Path(f"{path}.corrupt").exists())
    log.close()
    assert [(event["id"], event["text"]) for event in read(path, 10, 0, ())] == [(201, "after")]


def test_while_the_disk_fails_events_wait_in_memory_and_are_stored_later(
    opened: Callable[[], EventLog],
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(events_module, "_RETRY_S", 0.02)
    path.parent.write_text("a file where the state folder should be")
    log = opened()
    log.put("mode", Level.DANGER, "seen all the same")
    until(lambda: log.problem)
    assert texts(log) == ["seen all the same"]
    log.put("mode", Level.DANGER, "this too")
    path.parent.unlink()
    until(lambda: not log.problem)
    log.close()
    assert [event["text"] for event in read(path, 10, 0, ())] == ["seen all the same", "this too"]
    assert caplog.text.count("cannot be stored") == 1, "said once, not at every attempt"


def test_a_full_disk_drops_the_oldest_and_counts_them(
    opened: Callable[[], EventLog], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events_module, "_WAITING", 10)
    monkeypatch.setattr(events_module, "_RETRY_S", 0.02)
    log = opened()

    def full(self: Store, *values: object) -> None:
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(Store, "write", full)
        for number in range(100):
            log.put("x", Level.SAFE, str(number))
        until(lambda: "full" in log.problem)
        until(lambda: log.dropped)
    until(lambda: not log.problem)
    log.close()
    kept = [event["text"] for event in read(path, 1_000, 0, ())]
    assert kept[-1] == "99"
    assert len(kept) + log.dropped == 100


def test_the_database_is_bounded(tmp_path: Path) -> None:
    store = Store(tmp_path / "vlad.db", kept_events=50)
    store.open()
    for first in range(1, 5_001, 100):
        store.write(0, [Record(seq, 0, 0, "x", Level.SAFE, "", {}) for seq in range(first, first + 100)])
    store.close()
    kept = read(tmp_path / "vlad.db", 10_000, 0, ())
    assert kept[-1]["id"] == 5_000
    assert len(kept) <= 50 + 1_000


def test_after_close_events_are_ignored(opened: Callable[[], EventLog]) -> None:
    log = opened()
    log.close()
    log.put("x", Level.SAFE, "too late")
    log.close()
    assert texts(log) == []


def test_each_event_is_told_once_by_another_thread_also_while_the_disk_fails(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[int, str, bool]] = []

    def tell(event: dict[str, Any]) -> None:
        told.append((event["id"], event["text"], threading.current_thread() is threading.main_thread()))

    monkeypatch.setattr(events_module, "_RETRY_S", 0.01)
    log = EventLog(path, FakeClock(), tell=tell)
    try:
        log.put("mode", Level.SAFE, "first")
        until(lambda: len(told) == 1)
        monkeypatch.setattr(Store, "write", fail)
        log.put("mode", Level.SAFE, "second")
        log.put("mode", Level.SAFE, "third")
        until(lambda: len(told) == 3)
    finally:
        monkeypatch.undo()
        log.close()
    assert told == [(1, "first", False), (2, "second", False), (3, "third", False)]


def fail(*values: object) -> None:
    raise sqlite3.OperationalError("disk I/O error")
