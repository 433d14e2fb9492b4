"""The black box of a real daemon: what a stop, a caution, a mark and SIGKILL leave on the disk."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.record.recordings import Rows, metadata, read
from tools.benchmarks.rig import Rig, rig, write_policy
from vlad.clock import FakeClock
from vlad.config import Settings
from vlad.driver import CommandReceiver
from vlad.record.blackbox import BlackBox
from vlad.record.events import EventLog

SIGNALS: dict[str, dict[str, Any]] = {
    "camera": {"type": "image", "max_age_s": 1.0},
    "joints": {"type": "joint_state", "required": False},
    "laser": {"type": "laser_scan", "required": False},
}
FEED = ["camera:image:30:64x48", "joints:joint_state:100", "laser:laser_scan:10"]
SHORT = {"mode": "triggered", "before_s": 3.0, "after_s": 1.0, "free_mb": 0}


def start(made: Rig, **record: Any) -> None:
    """A daemon with a policy, and all sensors."""
    made.policy["bundle"] = str(write_policy(made.folder / "models" / "bench", "camera", 32, rounds=0))
    settings = made.write_settings()
    lines = [f"{key} = {value!r}".replace("'", '"') for key, value in {**SHORT, **record}.items()]
    used_up = "[computer]\ncpu = 1.0\nmemory = 1.0\ndisk = 1.0\n"
    settings.write_text(settings.read_text() + "\n".join(["\n[record]", *lines, used_up]))
    made.start_daemon("vlad", "--config", settings)


@pytest.fixture
def moving() -> Iterator[Rig]:
    with rig(SIGNALS, realtime={"lock_memory": False}) as made:
        start(made)
        made.feed(FEED)
        with CommandReceiver(made.commands):
            made.arm()
            until(lambda: made.call("status")["commands"]["mode"] == "run")
            time.sleep(3)
            yield made


def until(what: Callable[[], Any], timeout_s: float = 20.0) -> Any:
    end_s = time.monotonic() + timeout_s
    while time.monotonic() < end_s:
        if found := what():
            return found
        time.sleep(0.05)
    raise TimeoutError(f"not seen within {timeout_s} s")


def recordings(made: Rig, pattern: str = "*.mcap") -> list[Path]:
    return sorted((made.folder / "state" / "recordings").glob(pattern))


def of_kind(made: Rig, kind: str) -> Path:
    """The newest recording in which this happened; other causes may have begun it."""

    def found() -> list[Path]:
        causes = ((path, metadata(path)["causes"].values()) for path in recordings(made))
        return [path for path, said in causes if any(cause.startswith(f"{kind} ") for cause in said)]

    try:
        return until(found)[-1]
    except TimeoutError:
        said = [event["text"] for event in made.call("events", limit=50)]
        pytest.fail(f"no {kind} in {recordings(made)}: {made.call('status')['record']}, {said}")


def span_s(rows: Rows, topic: str) -> float:
    return float(rows[topic][-1]["log_ns"] - rows[topic][0]["log_ns"]) / 1e9


def test_a_stop_leaves_a_recording_of_everything_around_it(moving: Rig) -> None:
    moving.call("disarm")
    path = of_kind(moving, "stop")
    rows = read(path)
    assert set(rows) >= {
        "camera",
        "joints",
        "laser",
        "vlad/tick",
        "vlad/command",
        "vlad/chunk",
        "vlad/events",
    }
    for topic in ("camera", "joints", "laser", "vlad/tick", "vlad/command"):
        assert span_s(rows, topic) > 3, topic
    modes = [mode for mode, _ in groupby(row["mode"] for row in rows["vlad/tick"])]
    assert modes[-2:] == ["stopping", "disarmed"]
    assert {row["mode"] for row in rows["vlad/command"]} >= {"run", "hold"}
    assert any("disarm" in row["message"] for row in rows["vlad/events"])
    assert len(rows["joints"]) > 200
    picture = cv2.imdecode(np.frombuffer(rows["camera"][0]["data"], np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (48, 64, 3)
    assert len(rows["camera"]) < 0.5 * 30 * span_s(rows, "camera"), "ten pictures a second are enough"
    assert "stop disarm: by" in str(metadata(path)["causes"])


def test_a_camera_that_fails_leaves_its_last_picture_and_the_fault(moving: Rig) -> None:
    moving.processes[1].kill()
    rows = read(of_kind(moving, "fault"))
    faults = {fault["id"] for row in rows["vlad/tick"] for fault in row["faults"]}
    assert "signal_stale" in faults
    assert rows["camera"][-1]["log_ns"] < rows["vlad/tick"][-1]["log_ns"]


def test_while_the_level_is_caution_everything_is_recorded(moving: Rig) -> None:
    before = moving.call("status")["record"]
    assert before["state"] in ("waiting", "recording")
    faulty = moving.start("tools.benchmarks.feed", moving.sensors, "laser:joint_state:20")
    until(lambda: moving.call("status")["level"] != "SAFE")
    causes = until(lambda: moving.call("status")["record"]["causes"])
    assert any("caution" in cause for cause in causes), causes
    time.sleep(2.5)
    assert moving.call("status")["record"]["state"] == "recording", "longer than after_s: until it is safe"
    moving.processes[faulty].kill()
    path = of_kind(moving, "caution")
    levels = [row["level"] for row in read(path)["vlad/tick"]]
    assert max(levels) >= 1
    assert levels[-1] == 0


def test_operators_mark_begin_and_end_recordings(moving: Rig) -> None:
    until(lambda: moving.call("status")["record"]["state"] == "waiting")
    assert moving.call("record", what="mark", note="it wobbles")["ok"]
    assert "mark it wobbles" in metadata(of_kind(moving, "mark"))["causes"].values()
    moving.call("record", what="start")
    until(lambda: moving.call("status")["record"]["state"] == "recording")
    assert moving.call("status")["record"]["ends_in_s"] is None
    time.sleep(2)
    moving.call("record", what="stop")
    assert span_s(read(of_kind(moving, "start")), "vlad/tick") > 4
    listed = moving.call("recordings")
    assert [row["file"] for row in listed] == [str(path) for path in recordings(moving)]
    assert "record" in {event["kind"] for event in moving.call("events", limit=100)}


def test_the_end_of_the_daemon_finishes_what_is_being_recorded(moving: Rig) -> None:
    moving.call("record", what="start")
    until(lambda: moving.call("status")["record"]["file"])
    moving.stop(0)
    assert moving.processes[0].returncode == 0
    assert recordings(moving, "*.part") == []
    assert read(recordings(moving)[-1])["vlad/tick"]


@pytest.mark.slow
def test_killed_at_random_it_opens_after_repair_and_has_all_but_the_last_second() -> None:
    with rig(SIGNALS, realtime={"lock_memory": False}) as made:
        start(made, mode="continuous")
        made.feed(FEED)
        for _ in range(3):
            until(lambda: made.call("status")["record"]["file"])
            time.sleep(random.uniform(1.5, 3))
            part = Path(made.call("status")["record"]["file"])
            killed_ns = time.time_ns()
            made.daemon.kill()
            made.daemon.wait()
            (made.folder / "notify").unlink()
            made.start_daemon("vlad", "--config", made.folder / "vlad.toml")
            repaired = part.with_name(part.name.removesuffix(".mcap.part") + "_repaired.mcap")
            until(repaired.exists)
            rows = read(repaired)
            for topic in ("vlad/tick", "joints"):
                assert killed_ns - rows[topic][-1]["log_ns"] < 1e9, topic
        assert len(recordings(made, "*_repaired.mcap")) == 3


def settings(folder: Path, **record: Any) -> Settings:
    return Settings.model_validate(
        {
            "robot": {"limits": folder / "robot.toml"},
            "paths": {"run_dir": folder, "state_dir": folder},
            "realtime": {"fifo_priority": 0},
            "signals": {"camera": {"type": "image"}},
            "record": record,
        }
    )


async def test_an_error_in_a_thread_ends_the_part_with_that_error_and_it_can_be_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = FakeClock()
    events = EventLog(tmp_path / "vlad.db", clock)
    box = BlackBox(settings(tmp_path), "test", clock, events)

    def fails() -> None:
        raise ZeroDivisionError("a mistake")

    with monkeypatch.context() as patch:
        patch.setattr(box._encoder, "turn", fails)
        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                await box.run()
    events.close()
