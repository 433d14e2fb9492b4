"""The folder of recordings: names that say what happened, and room that is made in the right order."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import pytest

from vlad.record.shelf import NoRoomError, Shelf
from vlad.record.trigger import Cause

WALL_NS = 1_795_275_911_817_000_000


def shelf(folder: Path, most: int = 1_000, free: int = 0, protected_s: float = 3600) -> Shelf:
    return Shelf(folder, most, free, protected_s)


def put(folder: Path, name: str, size: int = 400, age_s: float = 0) -> None:
    path = folder / name
    path.write_bytes(bytes(size))
    os.utime(path, (time.time() - age_s,) * 2)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_name_has_the_time_in_utc_and_what_happened(tmp_path: Path) -> None:
    part = shelf(tmp_path).new(WALL_NS)
    assert part.name == "2026-11-21T15-45-11.817Z.mcap.part"
    causes = (Cause("continuous", "", 0), Cause("stop", "signal_stale: camera/../x 0.3 s", 1))
    final = shelf(tmp_path).final(part, causes)
    assert final.name == "2026-11-21T15-45-11.817Z_stop_signal-stale-camera-..-x-0.3-s.mcap"
    final.touch()
    assert shelf(tmp_path).final(part, causes).name.endswith("0.3-s_2.mcap"), "nothing is overwritten"
    note = (Cause("mark", "\0/" + "ä" * 1_000, 0),)
    assert re.fullmatch(r"[-A-Za-z0-9_.]{1,100}", shelf(tmp_path).final(part, note).name)


def test_the_oldest_goes_first_and_the_young_ones_that_show_something_never(tmp_path: Path) -> None:
    put(tmp_path, "2026-01-01_stop.mcap", age_s=10_000)
    put(tmp_path, "2026-01-02_stop.mcap", age_s=60)
    put(tmp_path, "2026-01-03_continuous.mcap", age_s=60)
    shelf(tmp_path).make_room()
    assert names(tmp_path) == ["2026-01-02_stop.mcap", "2026-01-03_continuous.mcap"]
    put(tmp_path, "2026-01-04_fault.mcap")
    shelf(tmp_path).make_room()
    assert names(tmp_path) == ["2026-01-02_stop.mcap", "2026-01-04_fault.mcap"]
    put(tmp_path, "2026-01-05_fault.mcap")
    with pytest.raises(NoRoomError, match="none is old enough"):
        shelf(tmp_path).make_room()
    assert len(names(tmp_path)) == 3
    shelf(tmp_path, protected_s=30).make_room()
    assert names(tmp_path) == ["2026-01-04_fault.mcap", "2026-01-05_fault.mcap"]


def test_what_is_being_written_counts_but_is_not_deleted(tmp_path: Path) -> None:
    put(tmp_path, "2026-01-01.mcap.part", size=900, age_s=10_000)
    put(tmp_path, "2026-01-02_continuous.mcap", age_s=60)
    shelf(tmp_path).make_room()
    assert names(tmp_path) == ["2026-01-01.mcap.part"]


def test_a_disk_that_others_fill_is_not_filled_further(tmp_path: Path) -> None:
    put(tmp_path, "2026-01-01_stop.mcap", age_s=10_000)
    with pytest.raises(NoRoomError, match="MB are free"):
        shelf(tmp_path, free=2**62).make_room()
    assert names(tmp_path) == []


def test_no_folder_is_an_empty_one(tmp_path: Path) -> None:
    assert shelf(tmp_path / "none").recordings() == []
