"""What is remembered over a restart: all of it, and a corrupt file is moved aside and told."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from vlad.maintenance.schedule import Moment
from vlad.maintenance.store import Record, Store

WHOLE = Record(
    "backup",
    Moment(5, 6, "a"),
    Moment(7, 8, "b"),
    2,
    1,
    "failed",
    "no disk",
    ({"target": "/x", "mb": 1.5},),
    9,
    0.25,
)


def test_everything_is_there_again(tmp_path: Path) -> None:
    new = Record("vacuum", Moment(1, 2, "c"))
    for record in (WHOLE, new):
        Store(tmp_path / "maintenance.db").save(record)
    assert Store(tmp_path / "maintenance.db").load() == ({"backup": WHOLE, "vacuum": new}, "")


def test_the_newest_counts(tmp_path: Path) -> None:
    store = Store(tmp_path / "maintenance.db")
    store.save(Record("backup", Moment(1, 2, "c")))
    store.save(WHOLE)
    assert store.load()[0]["backup"] == WHOLE


@pytest.mark.parametrize("content", [b"nonsense" * 1000, b"SQLite format 3\0" + bytes(5000)])
def test_a_corrupt_file_is_moved_aside_and_told_and_a_new_one_begun(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "maintenance.db"
    path.write_bytes(content)
    records, trouble = Store(path).load()
    assert records == {}
    assert "moved aside to maintenance.db.corrupt" in trouble
    assert (tmp_path / "maintenance.db.corrupt").read_bytes() == content
    Store(path).save(WHOLE)
    assert Store(path).load() == ({"backup": WHOLE}, "")


def test_a_table_of_another_shape_counts_as_corrupt(tmp_path: Path) -> None:
    path = tmp_path / "maintenance.db"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE tasks(name TEXT)")
        database.execute("INSERT INTO tasks VALUES ('backup')")
    database.close()
    records, trouble = Store(path).load()
    assert (records, bool(trouble)) == ({}, True)


def test_a_folder_that_is_not_there_is_an_error_and_nothing_is_moved(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError, match="unable to open"):
        Store(tmp_path / "none" / "maintenance.db").load()
