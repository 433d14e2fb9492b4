"""The e-stop latch outlives the process; whatever cannot be understood counts as latched."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from vlad import latch as latch_module
from vlad.clock import FakeClock
from vlad.latch import EStopLatch


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "estop.json"


@pytest.fixture
def latch(path: Path) -> Iterator[EStopLatch]:
    made = EStopLatch(path, FakeClock())
    yield made
    made.close()


def reloaded(path: Path) -> str | None:
    again = EStopLatch(path, FakeClock())
    again.close()
    return again.load()


def test_a_new_robot_is_not_latched(latch: EStopLatch) -> None:
    assert latch.load() is None


def test_it_survives_a_restart_until_it_is_released(path: Path, latch: EStopLatch) -> None:
    latch.keep(None)
    assert not path.exists(), "nothing changed: nothing to write"
    latch.keep("pressed by alice")
    latch.close()
    assert reloaded(path) == "pressed by alice"
    again = EStopLatch(path, FakeClock())
    again.keep(None)
    again.close()
    assert reloaded(path) is None
    assert [entry.name for entry in path.parent.iterdir()] == ["estop.json"]


def test_of_many_changes_the_last_one_is_stored(path: Path, latch: EStopLatch) -> None:
    for number in range(100):
        latch.keep(None if number % 2 else f"press {number}")
    latch.keep("the last")
    latch.close()
    assert reloaded(path) == "the last"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00" * 100,
        b"\xff\xfe",
        b"{",
        b"null",
        b"[]",
        b"{}",
        b"[" * 100_000,
        b'{"schema": 1}',
        b'{"schema": 1, "latched": 0}',
        b'{"schema": 1, "latched": "false"}',
        b'{"schema": 1, "latched": null}',
        b'{"schema": 2, "latched": false}',
        b'{"latched": false}',
    ],
)
def test_a_file_that_is_not_understood_counts_as_latched(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    reason = reloaded(path)
    assert reason is not None
    assert str(path) in reason
    assert "counts as pressed" in reason


def test_a_file_that_cannot_be_read_counts_as_latched(path: Path) -> None:
    path.mkdir()
    assert "counts as pressed" in (reloaded(path) or "")


def test_a_corrupt_latch_stays_latched_until_reset(path: Path) -> None:
    path.write_text("garbage")
    latch = EStopLatch(path, FakeClock())
    latch.keep(latch.load())
    latch.keep(None)
    latch.close()
    assert reloaded(path) is None


def test_a_failing_disk_is_tried_again_and_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(latch_module, "_RETRY_S", 0.02)
    path = tmp_path / "missing" / "estop.json"
    latch = EStopLatch(path, FakeClock())
    latch.keep("pressed")
    for _ in range(500):
        if latch.problem:
            break
        time.sleep(0.01)
    assert "cannot be stored" in latch.problem
    path.parent.mkdir()
    for _ in range(500):
        if not latch.problem:
            break
        time.sleep(0.01)
    latch.close()
    assert reloaded(path) == "pressed"
    assert caplog.text.count("cannot be stored") == 1


def test_killed_at_any_moment_the_file_is_old_or_new_never_torn(path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from vlad.clock import SystemClock\n"
        "from vlad.latch import EStopLatch\n"
        "latch = EStopLatch(Path(sys.argv[1]), SystemClock()); latch.keep('first ' + 'x' * 5000)\n"
        "number = 0\n"
        "print('ready', flush=True)\n"
        "while True:\n"
        "    number += 1; latch.keep(f'press {number} ' + 'y' * 5000)\n"
    )
    for _ in range(3):
        process = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        for _ in range(500):
            if path.exists():
                break
            time.sleep(0.01)
        process.kill()
        process.communicate()
        assert json.loads(path.read_text())["latched"] is True
