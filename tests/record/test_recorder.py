"""The recorder as a process: what it is told, what it says, and when it ends."""

from __future__ import annotations

import json
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.record.recordings import metadata, read
from vlad.clock import SystemClock, Tick
from vlad.feed import Feed
from vlad.messages import CommandMode, EStop, Kind, Level, Mode, Sample
from vlad.record.orders import Order, Setup
from vlad.record.recorder import _Losses
from vlad.safety.kernel import Verdict
from vlad.wire import encode_sample

VERDICT = Verdict(
    Mode.ACTIVE, Level.SAFE, (), CommandMode.RUN, Kind.TWIST, (), np.zeros(0, np.float32), 0, (), None
)
_PATIENCE_S = 60.0


class Beside:
    """A recorder, and a feed that stands in for the daemon's."""

    def __init__(self, folder: Path, *, listens: bool = True, **changes: Any) -> None:
        self.listens = listens
        self.folder = folder / "recordings"
        self.feed = Feed(folder, {"button": "estop"}, 10, SystemClock())
        usual = Setup(
            run_dir=str(folder), folder=str(self.folder), robot="test", signals={"button": "estop"},
            mode="triggered", before_s=30.0, after_s=0.5, memory_mb=8, jpeg_quality=80, disk_mb=100,
            free_mb=0, protected_s=60.0,
        )  # fmt: skip
        self.heard: queue.Queue[dict[str, Any]] = queue.Queue()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "vlad.record"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        threading.Thread(target=self._listen, daemon=True).start()
        self.tell(replace(usual, **changes).line())

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout if self.listens else ():
            row = json.loads(line)
            self.heard.put(row.get("report", row))

    def tell(self, line: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line)

    def order(self, what: str, text: str = "") -> None:
        self.tell(Order(what, text, time.monotonic_ns()).line())

    def leave(self) -> None:
        """As the kernel does for a daemon that is gone."""
        assert self.process.stdin is not None
        self.process.stdin.close()

    def live(self, seconds: float) -> None:
        """The daemon's loop, for so long."""
        for number in range(round(seconds * 100)):
            now_ns = time.monotonic_ns()
            frames = encode_sample("button", number + 1, now_ns, EStop(False))
            self.feed.sensor(Sample("button", number + 1, now_ns, now_ns, "", EStop(False)), frames)
            self.feed.turn(Tick(now_ns, 0, 0, False), VERDICT, None, "")
            time.sleep(0.01)

    def said(self, what: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
        """The first of its reports, or of what else it tells, that satisfies."""
        end_s = time.monotonic() + _PATIENCE_S
        while time.monotonic() < end_s:
            self.live(0.02)
            while not self.heard.empty():
                if what(row := self.heard.get()):
                    return row
        raise TimeoutError(f"not said within {_PATIENCE_S} s")

    def files(self, pattern: str = "*") -> list[Path]:
        return sorted(self.folder.glob(pattern))

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()
        self.feed.close()


@pytest.fixture
def beside(tmp_path: Path) -> Iterator[Beside]:
    made = Beside(tmp_path)
    yield made
    made.close()


def test_it_says_how_it_is_and_marks_what_was_before(beside: Beside) -> None:
    first = beside.said(lambda row: row.get("messages", 0) > 50)
    assert (first["state"], first["file"], first["problem"]) == ("waiting", None, "")
    beside.order("mark", "it wobbles")
    row = beside.said(lambda row: row.get("state") == "recording")
    assert row["causes"] == ["mark it wobbles"]
    told = beside.said(lambda row: "text" in row)
    assert told["level"] == "SAFE"
    assert read(Path(told["path"]))["button"]
    last = beside.said(lambda row: row.get("finished") == 1)
    assert (last["state"], last["dropped"], last["pictures_dropped"]) == ("waiting", 0, 0)


def test_told_to_end_it_finishes_its_file_and_leaves_in_peace(beside: Beside) -> None:
    beside.order("start", "me")
    beside.said(lambda row: row.get("state") == "recording" and row.get("messages", 0) > 50)
    beside.order("end")
    beside.leave()
    assert beside.process.wait(_PATIENCE_S) == 0
    (path,) = beside.files()
    assert list(metadata(path)["causes"].values()) == ["start me"]


def test_when_the_daemon_is_gone_it_keeps_what_led_to_that(beside: Beside) -> None:
    beside.said(lambda row: row.get("messages", 0) > 50)
    beside.leave()
    assert beside.process.wait(_PATIENCE_S) == 0
    (path,) = beside.files()
    assert path.name.endswith("_crash_vlad-is-gone.mcap")
    assert read(path)["vlad/tick"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGABRT])
def test_what_systemd_sends_to_all_does_not_end_it_before_the_daemon(
    beside: Beside, number: signal.Signals
) -> None:
    beside.said(lambda row: row.get("messages", 0) > 0)
    beside.process.send_signal(number)
    beside.said(lambda row: row.get("messages", 0) > 300)
    beside.leave()
    assert beside.process.wait(_PATIENCE_S) == 0


def test_a_daemon_that_hangs_and_hears_nothing_does_not_hold_it_up(tmp_path: Path) -> None:
    beside = Beside(tmp_path, listens=False, mode="continuous")
    try:
        for number in range(400):  # each is worth a report, and the pipe holds 64 kB
            beside.order("mark", f"{number} {'x' * 280}")
            time.sleep(0.01)
        beside.order("end")
        beside.leave()
        assert beside.process.wait(_PATIENCE_S) == 0
        (path,) = beside.files()
        assert "mark 399" in str(metadata(path)["causes"])
    finally:
        beside.close()


def test_without_a_first_line_there_is_nothing_to_do() -> None:
    done = subprocess.run([sys.executable, "-m", "vlad.record"], input=b"", timeout=_PATIENCE_S, check=False)
    assert done.returncode == 0


def test_pictures_under_way_are_not_lost_but_those_that_never_come_are() -> None:
    losses, lost = _Losses(), []
    for second in ((3, 4), (5, 3), (5, 5), (7, 4, 6)):
        for behind in second:
            losses.see(behind)
        losses.settle()
        lost.append(losses.lost)
    assert lost == [0, 0, 2, 1], "what is a second late was not lost after all"
