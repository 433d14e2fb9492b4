"""The black box of a real daemon: what a stop, a caution, a mark and SIGKILL leave on the disk."""

from __future__ import annotations

import os
import random
import subprocess
import time
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
import pytest

from tests.record.recordings import Rows, metadata, read
from tools.benchmarks.rig import Rig, rig, write_policy
from vlad.driver import CommandReceiver

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
    made.record = {**SHORT, **record}
    settings = made.write_settings()
    settings.write_text(settings.read_text() + "[computer]\ncpu = 1.0\nmemory = 1.0\ndisk = 1.0\n")
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
    assert modes[-2:] == ["stopping", "disarmed"], [row["message"] for row in rows["vlad/events"]]
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
    until(lambda: endless(moving.call("status")["record"]))
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


def endless(record: dict[str, Any]) -> bool:
    return record["state"] == "recording" and record["ends_in_s"] is None


# the recorder is a process of its own ---------------------------------------------------------------------


def recorder(made: Rig) -> psutil.Process:
    """The daemon's recorder, once it runs."""

    def found() -> list[psutil.Process]:
        return [child for child in made.daemon.children() if "vlad.record" in child.cmdline()]

    (process,) = until(found)
    return process


def drives(made: Rig) -> bool:
    status = made.call("status")
    return status["mode"] in ("active", "degraded") and status["commands"]["mode"] == "run"


def restarted(made: Rig) -> None:
    """Start the daemon anew where one was killed."""
    (made.folder / "notify").unlink()
    made.start_daemon("vlad", "--config", made.folder / "vlad.toml")


def test_it_is_nicer_than_the_daemon_and_the_first_to_go_when_memory_runs_out(moving: Rig) -> None:
    process = recorder(moving)
    assert process.nice() == 10
    assert Path(f"/proc/{process.pid}/oom_score_adj").read_text() == "500\n"


def test_a_killed_recorder_is_started_anew_and_mends_its_file_while_the_robot_goes_on(moving: Rig) -> None:
    moving.call("record", what="start")
    part = Path(until(lambda: moving.call("status")["record"]["file"]))
    time.sleep(2)
    killed_ns = time.time_ns()
    recorder(moving).kill()
    repaired = part.with_name(part.name.removesuffix(".mcap.part") + "_repaired.mcap")
    until(repaired.exists)
    assert killed_ns - read(repaired)["vlad/tick"][-1]["log_ns"] < 1e9
    until(lambda: moving.call("status")["record"]["state"] == "recording")
    assert moving.call("status")["record"]["problem"] == ""
    assert drives(moving), "the robot does not notice"
    failed = [event for event in moving.call("events", limit=100) if event["kind"] == "part_failed"]
    assert ["the recorder ended with status -9" in event["text"] for event in failed] == [True]


def test_of_a_daemon_that_is_killed_the_recorder_keeps_what_led_to_it(moving: Rig) -> None:
    process = recorder(moving)
    until(lambda: moving.call("status")["record"]["held_s"] > 2)
    until(lambda: moving.call("status")["record"]["state"] == "waiting")
    killed_ns = time.time_ns()
    moving.daemon.kill()
    moving.daemon.wait()
    process.wait(timeout=20)
    (path,) = recordings(moving, "*_crash_*.mcap")
    rows = read(path)
    assert killed_ns - rows["vlad/tick"][-1]["log_ns"] < 0.5e9
    assert span_s(rows, "vlad/tick") > 2
    assert rows["camera"]
    assert recordings(moving, "*.part") == []


def test_a_daemon_that_is_started_at_once_lets_the_old_recorder_finish(moving: Rig) -> None:
    moving.call("record", what="start")
    until(lambda: moving.call("status")["record"]["file"])
    time.sleep(1)
    moving.daemon.kill()
    moving.daemon.wait()
    restarted(moving)
    until(lambda: recordings(moving) and not recordings(moving, "*.part"))
    until(lambda: moving.call("status")["record"]["state"] == "waiting")
    # A computer that is busy is worth a recording of its own.
    assert {path.name.split("_")[1] for path in recordings(moving)} - {"caution"} == {"start"}
    assert moving.call("status")["record"]["problem"] == ""


@pytest.mark.slow
def test_after_a_power_cut_it_opens_after_repair_and_has_all_but_the_last_second() -> None:
    with rig(SIGNALS, realtime={"lock_memory": False}) as made:
        start(made, mode="continuous")
        made.feed(FEED)
        for _ in range(3):
            until(lambda: made.call("status")["record"]["file"])
            time.sleep(random.uniform(1.5, 3))
            part = Path(made.call("status")["record"]["file"])
            writing = recorder(made)
            killed_ns = time.time_ns()
            for process in (writing, made.daemon):
                process.kill()
            made.daemon.wait()
            restarted(made)
            repaired = part.with_name(part.name.removesuffix(".mcap.part") + "_repaired.mcap")
            until(repaired.exists)
            rows = read(repaired)
            for topic in ("vlad/tick", "joints"):
                assert killed_ns - rows[topic][-1]["log_ns"] < 1e9, topic
        assert len(recordings(made, "*_repaired.mcap")) == 3


# the disk -------------------------------------------------------------------------------------------------


@pytest.fixture
def disk() -> Iterator[tuple[Rig, Path]]:
    """A rig whose recordings go to a disk of 5 MB of their own."""
    with rig(SIGNALS, realtime={"lock_memory": False}) as made:
        folder = made.folder / "state" / "recordings"
        folder.mkdir(parents=True)
        words = ["mount", "-t", "tmpfs", "-o", "size=5m", "tmpfs", str(folder)]
        if os.geteuid() != 0 or subprocess.run(words, capture_output=True, check=False).returncode:
            pytest.skip("mounting a small disk is not permitted here")
        try:
            yield made, folder
        finally:
            made.stop(0)
            subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_ends_the_recording_with_an_alert_and_the_robot_goes_on(disk: tuple[Rig, Path]) -> None:
    made, _ = disk
    start(made, mode="continuous")
    made.feed(["camera:image:30:320x240", *FEED[1:]])
    with CommandReceiver(made.commands):
        made.arm()
        until(lambda: drives(made))
        until(lambda: made.call("status")["record"]["problem"], 60)
        status = made.call("status")
        assert status["record"]["state"] == "failed"
        assert "No space left" in status["record"]["problem"] or "MB are free" in status["record"]["problem"]
        time.sleep(1)
        assert drives(made)
        told = [event for event in made.call("events", limit=200) if event["kind"] == "record"]
        assert [event["level"] for event in told].count("WARNING") == 1
        whole = recordings(made)
        assert whole
        assert all(read(path)["vlad/tick"] for path in whole)
        for path in [*whole, *recordings(made, "*.part")]:
            path.unlink()
        until(lambda: made.call("status")["record"]["problem"] == "", 30)
        assert drives(made)


def test_a_disk_that_cannot_be_written_is_an_alert_and_the_robot_goes_on(disk: tuple[Rig, Path]) -> None:
    made, folder = disk
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
    start(made)
    made.feed(FEED)
    with CommandReceiver(made.commands):
        made.arm()
        until(lambda: drives(made))
        made.call("record", what="mark", note="x")
        problem = until(lambda: made.call("status")["record"]["problem"])
        assert "Read-only file system" in problem
        time.sleep(1)
        assert drives(made)
        subprocess.run(["mount", "-o", "remount,rw", str(folder)], check=True)
        until(lambda: made.call("status")["record"]["problem"] == "", 30)
