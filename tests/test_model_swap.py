"""`vladctl model activate` and `rollback` on a daemon whose robot moves."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from tests.test_daemon import CAMERA, FEED, UNLOCKED, await_command, await_events, await_status
from tools.benchmarks.rig import rig, write_policy
from tools.benchmarks.torch_policy import write_torch_policy
from vlad.driver import CommandReceiver
from vlad.messages import CommandMode

NOTE_THREADS = """
import os, threading
start, notes_file = threading.Thread.start, os.environ.get("NOTE_THREADS", os.devnull)
def noted(thread):
    at_work = " by the loop" if threading.current_thread() is threading.main_thread() else ""
    with open(notes_file, "a") as notes:
        notes.write(f"{thread.name}{at_work}\\n")
    start(thread)
threading.Thread.start = noted
"""
SLOW, FAST = (0.05, 0.0), (0.1, 0.0)
CATCHING_UP = 0.75 * (FAST[0] - SLOW[0])
"""What `blend` adds at most, to make up for the way that the robot went while a chunk was made."""


def write_version(made, version, twist):
    """The bundle bench/VERSION among the installed models, which drives ahead at twist[0] m/s."""
    folder = made.folder / "state" / "models" / "bench" / version
    folder.parent.mkdir(parents=True, exist_ok=True)
    return write_policy(folder, "camera", 32, rounds=0, twist=twist, version=version)


@pytest.fixture
def driving():
    """A daemon whose policy drives slowly ahead, and a faster bundle beside it."""
    with rig(CAMERA, realtime=UNLOCKED) as made:
        made.velocity = (FAST[0], 1.0)
        made.policy["bundle"] = str(write_version(made, "1", SLOW))
        made.other = write_version(made, "2", FAST)
        made.start_daemon("vlad", "--config", made.write_settings())
        made.feed(FEED)
        with CommandReceiver(made.commands) as made.motor:
            made.arm()
            await_command(made, CommandMode.RUN)
            yield made


def vladctl(made, *words):
    command = [sys.executable, "-m", "vlad.ctl", "--run-dir", made.run_dir, *words]
    environment = {**os.environ, "COLUMNS": "200"}
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)


def await_speed(made, speed, least=0.0):
    """Until the motors are told this speed; on the way there never to go slower than `least`, nor faster than
    the robot may.
    """
    while True:
        command = await_command(made, CommandMode.RUN)
        if command.values[0] == pytest.approx(speed, rel=1e-3):
            return
        assert least - 1e-3 <= command.values[0] <= FAST[0] + 1e-3


def test_once_it_is_ready_its_loop_starts_no_thread(tmp_path, monkeypatch):
    """To start one is to wait until it runs, and that takes long where the CPUs are busy."""
    (tmp_path / "sitecustomize.py").write_text(NOTE_THREADS)
    started = tmp_path / "started"
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("NOTE_THREADS", str(started))
    with rig(CAMERA, realtime=UNLOCKED) as made:
        made.policy["bundle"] = str(write_version(made, "1", SLOW))
        write_version(made, "2", FAST)
        made.start_daemon("vlad", "--config", made.write_settings())
        monkeypatch.delenv("NOTE_THREADS")
        ready = len(started.read_text().splitlines())
        made.feed(FEED)
        with CommandReceiver(made.commands) as made.motor:
            made.arm()
            await_command(made, CommandMode.RUN)
            assert made.call("activate", name="bench", version="2")["ok"]
            assert made.call("rollback")["ok"]
            looks = ["events", "models", "recordings", "maintenance", "status", "metrics", "reload"]
            with ThreadPoolExecutor(len(looks)) as operators:
                list(operators.map(made.call, looks))
        lines = started.read_text().splitlines()
    assert any(line.endswith(" the loop") for line in lines[:ready])
    assert [line for line in lines[ready:] if line.endswith(" the loop")] == []


def nice_of_threads(status):
    """By thread number."""
    return {int(entry.name): os.getpriority(os.PRIO_PROCESS, int(entry.name))
            for entry in Path(f"/proc/{status['pid']}/task").iterdir()}  # fmt: skip


def test_the_thread_of_a_new_bundle_is_favoured_like_those_that_were_there(driving):
    """One that holds Python's lock and gets no CPU would keep the safety tick waiting."""
    status = driving.call("status")
    before = nice_of_threads(status)
    assert driving.call("activate", name="bench", version="2")["ok"]
    new = [nice for thread, nice in nice_of_threads(status).items() if thread not in before]
    favoured = status["realtime"]["threads"] == "applied"
    assert favoured == (status["realtime"]["fifo"] == "applied")
    assert (-10 in before.values()) == favoured
    assert set(new) == {-10 if favoured else 0}


def test_another_bundle_takes_over_while_the_robot_moves_and_goes_back(driving):
    await_speed(driving, SLOW[0])
    done = vladctl(driving, "model", "activate", "bench", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "bench/2 drives; tried on 1" in done.stdout
    await_speed(driving, FAST[0], least=SLOW[0])
    status = driving.call("status")
    assert (status["policy"]["bundle"], status["policy"]["version"]) == ("bench", "2")
    done = vladctl(driving, "model", "rollback")
    assert "bench/1 drives" in done.stdout
    await_speed(driving, SLOW[0], least=SLOW[0] - CATCHING_UP)
    events = driving.call("events", limit=100, kinds=["mode", "model"])
    assert [event["kind"] for event in events].count("model") == 2
    assert not [event for event in events if "stopping" in event["text"]]


def test_a_model_of_torch_s_takes_over_while_the_robot_moves_and_what_ends_its_process_stops_the_robot(
    driving,
):
    await_speed(driving, SLOW[0])
    write_torch_policy(driving.folder / "state" / "models" / "bench" / "3", "camera", 32, 0, FAST, "3")
    done = vladctl(driving, "model", "activate", "bench", "3")
    assert "bench/3 drives; tried on 1" in done.stdout, done.stdout + done.stderr
    await_speed(driving, FAST[0], least=SLOW[0])
    status = driving.call("status")
    assert status["policy"]["device"] == "cpu, in a process of its own"
    children = psutil.Process(status["pid"]).children()
    (process,) = [child for child in children if "vlad.policy.backends.apart" in child.cmdline()]
    process.kill()
    await_command(driving, CommandMode.HOLD, CommandMode.STOP1)
    (lost,) = await_events(driving, lambda event: event["text"].startswith("policy_lost: policy"))
    assert "the process that runs it ended by SIGKILL" in lost["text"]
    await_status(driving, lambda status: not status["policy"]["error"], timeout_s=30)


def test_a_refused_bundle_is_told_with_its_reasons_and_the_robot_drives_on(driving):
    await_speed(driving, SLOW[0])
    (driving.other / "model.onnx").write_bytes(b"changed")
    done = vladctl(driving, "model", "activate", "bench", "2", "--json")
    assert done.returncode == 1
    (reason,) = json.loads(done.stdout)["reasons"]
    assert "was changed" in reason
    done = vladctl(driving, "model", "rollback")
    assert "no other bundle drove before this one" in done.stdout
    await_speed(driving, SLOW[0])
    assert driving.call("status")["policy"]["version"] == "1"


def test_what_was_chosen_drives_after_a_restart(driving):
    driving.call("disarm")
    await_status(driving, lambda status: status["mode"] == "disarmed")
    assert vladctl(driving, "model", "activate", "bench", "2").returncode == 0
    driving.stop(0)
    (driving.folder / "notify").unlink()
    driving.start_daemon("vlad", "--config", driving.folder / "vlad.toml")
    assert driving.call("status")["policy"]["version"] == "2"
    shown = vladctl(driving, "model", "list").stdout
    assert [line.split()[:3] for line in shown.splitlines()] == [
        ["bench", "1", "installed"], ["bench", "2", "running"],
    ]  # fmt: skip


def test_a_bundle_is_shown_and_measured(driving):
    shown = vladctl(driving, "model", "show", "bench", "2").stdout
    assert "input image" in shown
    assert str(driving.other) in shown
    measured = json.loads(vladctl(driving, "model", "bench", "bench", "2", "--runs", "20", "--json").stdout)
    assert measured["runs"] == 20
    assert 0 < measured["p50_ms"] <= measured["p99_ms"]
