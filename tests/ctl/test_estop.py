"""vladctl estop reaches the guard when the daemon is hung or dead, and says who confirmed it."""

import json
import socket
import subprocess
import sys
import time

import msgpack
import pytest
import zmq

from tests.ctl.conftest import Vladctl
from tests.fake_daemon import Served
from vlad.ctl.guard import press_guard
from vlad.messages import Heartbeat, Level, Mode
from vlad.wire import encode_heartbeat


class Guard:
    """A real guard, and an ear for what it says."""

    def __init__(self, run_dir):
        settings = run_dir / "vlad.toml"
        settings.write_text("[realtime]\nfifo_priority = 0\nlock_memory = false\n")
        self.context = zmq.Context()
        self.context.linger = 0
        self.ear = self.context.socket(zmq.SUB)
        self.ear.rcvtimeo = 10_000
        self.ear.subscribe(b"guard")
        self.ear.connect(f"ipc://{run_dir}/guard.sock")
        command = [sys.executable, "-m", "vlad.guard", "--config", settings, "--run-dir", run_dir]
        self.process = subprocess.Popen(command)
        self.state()

    def state(self):
        """What it says now."""
        while self.ear.poll(0):
            self.ear.recv_multipart()
        return msgpack.unpackb(self.ear.recv_multipart()[1])["state"]

    def close(self):
        self.process.terminate()
        self.process.wait()
        self.context.destroy(linger=0)


@pytest.fixture
def guard(tmp_path):
    made = Guard(tmp_path)
    yield made
    made.close()


@pytest.fixture
def hung(tmp_path):
    """A daemon that takes connections and never answers."""
    with socket.socket(socket.AF_UNIX) as control:
        control.bind(str(tmp_path / "control.sock"))
        control.listen()
        yield


def test_a_daemon_that_answers_needs_no_guard(daemon: Served, guard: Guard, vladctl: Vladctl) -> None:
    done = vladctl("estop")
    assert done.returncode == 0
    assert "confirmed by vlad" in done.stdout
    assert guard.state() == "watching"
    assert json.loads(vladctl("estop", "--json").stdout)["confirmed_by"] == ["vlad"]


@pytest.mark.usefixtures("hung")
def test_the_guard_stops_a_robot_whose_daemon_is_hung(guard: Guard, vladctl: Vladctl) -> None:
    done = vladctl("estop")
    assert done.returncode == 0
    assert "confirmed by guard" in done.stdout
    assert "does not answer within" in done.stdout
    assert guard.state() == "estop"


def test_the_guard_stops_a_robot_whose_daemon_is_dead(guard: Guard, vladctl: Vladctl) -> None:
    answer = json.loads(vladctl("estop", "--json").stdout)
    assert answer["ok"]
    assert answer["confirmed_by"] == ["guard"]
    assert "is not running" in answer["trouble"]
    assert guard.state() == "estop"


def test_the_button_is_released_again(tmp_path, guard: Guard) -> None:
    assert press_guard(tmp_path)
    with guard.context.socket(zmq.PUB) as safety:
        safety.bind(f"ipc://{tmp_path}/commands.sock")
        seq, end_s = 0, time.monotonic() + 10
        while guard.state() != "watching" and time.monotonic() < end_s:
            for _ in range(5):
                seq += 1
                beat = Heartbeat(seq, time.monotonic_ns(), Mode.DISARMED, Level.SAFE, ())
                safety.getsockopt(zmq.EVENTS)
                safety.send_multipart(encode_heartbeat(beat))
                time.sleep(0.01)
        assert guard.state() in ("watching", "stopping")


def test_a_guard_that_does_not_answer_confirms_nothing(tmp_path, vladctl: Vladctl) -> None:
    with zmq.Context() as context, context.socket(zmq.SUB) as deaf:
        deaf.bind(f"ipc://{tmp_path}/guard-estop.sock")
        done = vladctl("estop")
    assert done.returncode == 3
    assert "THE ROBOT WAS NOT STOPPED BY THIS COMMAND" in done.stderr


def test_a_daemon_that_fails_to_do_it_is_told(daemon: Served, vladctl: Vladctl) -> None:
    daemon.actions.estop = None
    done = vladctl("estop")
    assert done.returncode == 3
    assert "THE ROBOT WAS NOT STOPPED BY THIS COMMAND" in done.stderr
