"""From the ring to the disk: what is wanted gets there, whatever the disk does; a fake clock, real files."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.record.recordings import metadata, read
from vlad.clock import FakeClock
from vlad.messages import EStop, Level, Sample
from vlad.record.encoder import Encoder
from vlad.record.mcapfile import McapFile, Topic
from vlad.record.orders import Order
from vlad.record.ring import Ring
from vlad.record.shelf import Shelf
from vlad.record.trigger import Trigger
from vlad.record.writer import Writer

S = 1_000_000_000
TOPICS = [Topic("button", "vlad.EStop"), Topic("vlad/events", "foxglove.Log")]


class Box:
    """Encoder and writer without their threads."""

    def __init__(self, folder: Path, *, continuous: bool = False, most: int = 10**9) -> None:
        self.folder = folder
        self.clock = FakeClock()
        self.told: list[tuple[Level, str]] = []
        self.ring = Ring(30 * S, 10**7)
        self.trigger = Trigger(30 * S, 10 * S, continuous=continuous)
        channels = {topic.name: number for number, topic in enumerate(TOPICS, 1)}
        self.encoder = Encoder(self.ring, self.trigger, channels, 80, self.clock)
        self.writer = Writer(
            self.ring, self.trigger, Shelf(folder, most, 0, 3600), TOPICS, {"robot": "test"},
            lambda: self.encoder.offset_ns, self.clock,
            lambda level, text, _: self.told.append((level, text)),
        )  # fmt: skip
        self.sent = 0

    def live(self, seconds: float, hz: int = 10) -> None:
        """So many messages a second, and both threads in turns."""
        for _ in range(round(hz * seconds)):
            now_ns = self.clock.now_ns()
            self.sent += 1
            self.encoder.take(Sample("button", self.sent, now_ns, now_ns, "", EStop(False)))
            self.clock.advance(1 / hz)
            self.turn()

    def turn(self) -> None:
        self.encoder.turn()
        self.writer._try(self.writer.turn)

    def order(self, what: str, note: str = "") -> None:
        self.trigger.obey(Order(what, note, self.clock.now_ns()))

    def files(self, pattern: str = "*.mcap") -> list[Path]:
        return sorted(self.folder.glob(pattern))


def span_s(path: Path) -> float:
    rows = read(path)["button"]
    return round((rows[-1]["log_ns"] - rows[0]["log_ns"]) / S, 1)


def test_a_mark_gives_a_file_with_what_was_before_and_after(tmp_path: Path) -> None:
    box = Box(tmp_path)
    box.live(60)
    assert box.files("*") == []
    box.order("mark", "it wobbles")
    box.live(8)
    assert len(box.files("*.part")) == 1
    box.live(8)
    (path,) = box.files("*")
    assert path.name.endswith("_mark_it-wobbles.mcap")
    assert 39.5 <= span_s(path) <= 41.5
    numbers = [round(row["log_ns"] / S * 10) for row in read(path)["button"]]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), "nothing is missing or twice"
    assert metadata(path)["causes"] == {"0": "mark it wobbles"}
    assert metadata(path)["vlad"]["robot"] == "test"
    assert box.told == [(Level.SAFE, f"recorded {path.name}: mark it wobbles")]


def test_marks_that_overlap_are_one_file_and_later_ones_another(tmp_path: Path) -> None:
    box = Box(tmp_path)
    box.live(31)
    box.order("mark", "a")
    box.live(9)
    box.order("mark", "b")
    box.live(12)
    (path,) = box.files("*")
    assert metadata(path)["causes"] == {"0": "mark a", "1": "mark b"}
    assert span_s(path) >= 48
    box.order("mark", "c")
    box.live(12)
    assert len(box.files("*.mcap")) == 2


def test_continuous_goes_on_in_new_files_without_a_gap(tmp_path: Path) -> None:
    box = Box(tmp_path, continuous=True)
    box.live(1_300, hz=2)
    first, second = box.files()
    assert first.name.endswith("_continuous.mcap")
    assert box.told == [], "nothing happened"
    assert 595 <= span_s(first) <= 605
    ends, begins = read(first)["button"][-1]["log_ns"], read(second)["button"][0]["log_ns"]
    assert round((begins - ends) / S, 2) == 0.5
    box.order("mark", "here")
    box.live(600, hz=2)
    assert [path.name.split("_", 1)[1] for path in box.files()] == [
        "continuous.mcap", "continuous.mcap", "mark_here.mcap",
    ]  # fmt: skip


def test_what_a_crash_left_is_mended_at_the_start(tmp_path: Path) -> None:
    box = Box(tmp_path)
    box.order("start", "me")
    box.live(20)
    (part,) = box.files("*.part")
    box.writer._leave()
    part.write_bytes(part.read_bytes()[:-7])
    (tmp_path / "2020-01-01T00-00-00.000Z.mcap.part").write_bytes(b"\x89MCAP0")
    again = Box(tmp_path)
    again.turn()
    (path,) = again.files("*")
    assert path.name.endswith("_repaired.mcap")
    assert span_s(path) > 18
    assert "repaired" in metadata(path)
    assert [text.split(":")[0] for _, text in again.told] == [f"repaired {path.name}"]


def test_what_another_recorder_still_writes_is_left_alone_until_that_one_is_gone(tmp_path: Path) -> None:
    box, again = Box(tmp_path), Box(tmp_path)
    box.order("start", "me")
    box.live(20)
    again.turn()
    again.turn()
    assert len(box.files("*.part")) == 1
    assert again.writer.problem == ""
    box.writer._leave()
    again.turn()
    (path,) = again.files("*")
    assert path.name.endswith("_repaired.mcap")


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


def test_a_full_disk_ends_the_recording_with_one_alert_and_it_begins_again_when_there_is_room(
    small_disk: Path,
) -> None:
    box = Box(small_disk)
    (small_disk / "others").write_bytes(bytes(180_000))
    box.order("start", "me")
    box.live(600, hz=50)
    assert "No space left" in box.writer.problem
    warnings = [text for level, text in box.told if level is Level.WARNING]
    assert len(warnings) == 1
    assert "nothing can be recorded: No space left" in warnings[0]
    (small_disk / "others").unlink()
    box.live(30)
    assert box.writer.problem == ""
    assert box.told[-1][1].endswith("recordings can be stored again")
    assert len(box.files("*.part")) == 1, "only the one that is being written"
    for path in box.files():
        assert read(path)["button"]


def test_a_folder_that_is_no_folder_is_a_problem_that_is_told_once(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    box = Box(tmp_path / "file")
    box.order("mark")
    box.live(60)
    assert len(box.told) == 1
    assert "nothing can be recorded" in box.writer.problem
    (tmp_path / "file").unlink()
    box.live(12)
    assert box.writer.problem == ""


def test_a_wall_clock_that_is_set_does_not_tear_a_recording_apart(tmp_path: Path) -> None:
    box = Box(tmp_path)
    box.live(20)
    box.clock.jump_wall(1_000_000)
    box.encoder.turn()
    box.live(20)
    box.order("mark")
    box.live(5)
    box.clock.jump_wall(1_000_000)
    box.encoder.turn()
    box.live(10)
    (path,) = box.files()
    assert span_s(path) < 35
    offset_ns = int(metadata(path)["vlad"]["monotonic_to_log_ns"])
    assert offset_ns == FakeClock().wall_ns() - FakeClock().now_ns() + 1_000_000 * S


def test_a_recording_without_an_end_goes_on_in_a_new_file_when_the_wall_clock_is_set(tmp_path: Path) -> None:
    box = Box(tmp_path, continuous=True)
    box.live(20)
    box.clock.jump_wall(1_000_000)
    box.encoder.turn()
    box.live(20)
    box.order("stop")
    box.live(2)
    first, second = box.files()
    assert (round(span_s(first)), round(span_s(second))) == (20, 20)
    gap_ns = read(second)["button"][0]["log_ns"] - read(first)["button"][-1]["log_ns"]
    assert abs(gap_ns / S - 1_000_000) < 1


def test_a_recording_that_has_used_up_its_budget_stops(tmp_path: Path) -> None:
    box = Box(tmp_path, most=100_000)
    with (tmp_path / "2020-01-01_stop.mcap").open("xb", buffering=0) as raw:
        McapFile(raw).begin(TOPICS, {"x": "y" * 200_000})
    box.order("mark")
    box.live(5)
    assert "none is old enough to delete" in box.writer.problem
    assert len(box.files()) == 1
