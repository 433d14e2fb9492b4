"""The guard as a process, with real sockets: a stand-in plays the daemon, the drivers' kit is real."""

import contextlib
import os
import pty
import signal
import socket
import subprocess
import sys
import threading
import time

import msgpack
import psutil
import pytest
import zmq

from vlad.driver import CommandReceiver, SensorPublisher
from vlad.messages import CommandMode, EStop, Heartbeat, Level, Mode
from vlad.policy.toml import write_toml
from vlad.wire import decode_command, encode_heartbeat

_LIBRARIES = {"numpy", "msgpack", "pydantic", "uvloop", "asyncio"}
_PATIENCE_S = 10.0
_SILENCE_MS = 500
"""Not 50: the stand-in is a thread among many processes, and is late at times."""


class Rig:
    """A guard, and a daemon that is nothing but its heartbeat."""

    def __init__(self, folder):
        self.folder = folder
        self.run_dir = folder / "run"
        self.run_dir.mkdir()
        self.settings = folder / "vlad.toml"
        self.configure()
        self.context = zmq.Context()
        # Else what is left for a guard that was killed may keep the context from ending for ever.
        self.context.linger = 0
        self.voice = self.context.socket(zmq.SUB)
        self.voice.subscribe(b"")
        self.voice.connect(f"ipc://{self.run_dir}/guard.sock")
        self.mode = Mode.ACTIVE
        self.level = Level.SAFE
        self.seq = 0
        self._beating = threading.Event()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._beat)
        self._thread.start()
        self.processes = []

    def configure(self, **guard):
        values = {
            "paths": {"run_dir": str(self.run_dir)},
            "realtime": {"fifo_priority": 0, "lock_memory": False},
            "guard": {"silence_ms": _SILENCE_MS} | guard,
        }
        self.settings.write_text(write_toml(values))

    def start(self):
        command = [sys.executable, "-m", "vlad.guard", "--config", self.settings]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        self.processes.append(process)
        return process

    def beat(self):
        self._beating.set()

    def fall_silent(self):
        self._beating.clear()

    def report(self, state, reason=""):
        """The next report with this state and, somewhere in it, this reason."""
        report, end_s = None, time.monotonic() + _PATIENCE_S
        while time.monotonic() < end_s:
            if self.voice.poll(100):
                topic, header, *_ = self.voice.recv_multipart()
                if topic == b"guard":
                    report = msgpack.unpackb(header)
                    if report["state"] == state and reason in report["reason"]:
                        return report
        pytest.fail(f"no report {state} {reason!r}; the last one was {report}")

    def hear_well(self):
        """Wait until it has heard the daemon and finds nothing wrong."""
        end_s = time.monotonic() + _PATIENCE_S
        while self.report("watching")["reason"]:
            assert time.monotonic() < end_s

    def close(self):
        for process in self.processes:
            process.kill()
            process.wait()
            process.stderr.close()
        self._ending.set()
        self._thread.join()
        self.context.destroy(linger=0)

    def _beat(self):
        with self.context.socket(zmq.PUB) as safety:
            safety.bind(f"ipc://{self.run_dir}/commands.sock")
            while not self._ending.wait(0.01):
                if self._beating.is_set():
                    self.seq += 1
                    beat = Heartbeat(self.seq, time.monotonic_ns(), self.mode, self.level, ())
                    safety.getsockopt(zmq.EVENTS)
                    safety.send_multipart(encode_heartbeat(beat))


@pytest.fixture
def rig(tmp_path):
    made = Rig(tmp_path)
    yield made
    made.close()


def test_it_needs_none_of_the_daemons_libraries():
    code = "import sys, vlad.guard.__main__; print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "zmq" in done.stdout.split()
    assert not _LIBRARIES & set(done.stdout.split())


def test_it_is_small(rig):
    process = rig.start()
    rig.beat()
    rig.report("watching")
    assert psutil.Process(process.pid).memory_info().rss < 30e6


def test_it_watches_stops_at_silence_and_watches_again(rig):
    rig.start()
    rig.report("watching", "no daemon yet")
    rig.beat()
    rig.hear_well()
    rig.fall_silent()
    rig.report("stopping", "no heartbeat for 5")
    with CommandReceiver(f"ipc://{rig.run_dir}/commands.sock") as motor:
        end_s = time.monotonic() + _PATIENCE_S
        while motor.receive(timeout_s=0.1).mode is CommandMode.STOP1 and motor.reason != "guard":
            assert time.monotonic() < end_s
        assert motor.reason == "guard"
        rig.mode = Mode.STOPPED
        rig.beat()
        rig.report("watching")


def test_its_stops_come_every_10_ms_under_a_sequence_of_their_own(rig):
    rig.start()
    rig.beat()
    rig.hear_well()
    rig.fall_silent()
    stops = []
    while len(stops) < 20:
        frames = rig.voice.recv_multipart()
        if frames[0] == b"command":
            stops.append(decode_command(frames))
    assert [stop.seq for stop in stops] == list(range(1, 21))
    spread_ms = (stops[-1].stamp_ns - stops[0].stamp_ns) / 1e6
    assert 180 < spread_ms < 1_000
    assert {stop.mode for stop in stops} == {CommandMode.STOP1}


def test_the_daemon_may_come_first_and_may_be_started_anew(rig):
    rig.beat()
    rig.start()
    rig.hear_well()
    rig.fall_silent()
    rig.report("stopping")
    rig.seq, rig.mode = 0, Mode.DISARMED
    rig.beat()
    rig.report("watching")


def test_a_heartbeat_that_contradicts_itself_stops_the_robot(rig):
    rig.start()
    rig.beat()
    rig.report("watching")
    rig.level = Level.DANGER
    rig.report("stopping", "names no fault")


def test_its_own_estop_input_latches_until_it_is_released_and_the_daemon_rests(rig):
    rig.start()
    rig.beat()
    rig.report("watching")
    with contextlib.ExitStack() as closing:
        endpoint = f"ipc://{rig.run_dir}/guard-estop.sock"
        left, right = (
            closing.enter_context(SensorPublisher(endpoint, topic, "estop")) for topic in ("left", "right")
        )
        state, end_s = "", time.monotonic() + _PATIENCE_S
        while state != "estop" and time.monotonic() < end_s:
            left.publish(EStop(True))
            right.publish(EStop(False))
            time.sleep(0.02)
            while rig.voice.poll(0):
                topic, header, *_ = rig.voice.recv_multipart()
                state = msgpack.unpackb(header)["state"] if topic == b"guard" else state
        assert rig.report("estop", "button 'left' pressed")
        rig.mode, rig.level = Mode.ESTOP, Level.EMERGENCY
        time.sleep(0.2)
        rig.report("estop")
        left.publish(EStop(False))
        rig.report("watching")


@pytest.mark.parametrize("kind", ["file", "terminal"])
def test_the_relay_says_run_only_under_a_daemon_that_is_well(rig, kind):
    ours = theirs = -1
    if kind == "file":
        line = rig.folder / "line"
        line.touch()
    else:
        ours, theirs = pty.openpty()
        line = os.ttyname(theirs)
    words = ""

    def read():
        nonlocal words
        if kind == "file":
            words = line.read_text()
        elif ours >= 0:
            os.set_blocking(ours, False)
            with contextlib.suppress(BlockingIOError):
                words = os.read(ours, 100).decode()[-1:]
        return words

    def await_word(word):
        end_s = time.monotonic() + _PATIENCE_S
        while read() != word and time.monotonic() < end_s:
            time.sleep(0.01)
        assert words == word

    rig.configure(relay=str(line))
    process = rig.start()
    await_word("0")
    rig.beat()
    await_word("1")
    rig.fall_silent()
    await_word("0")
    rig.mode = Mode.STOPPED
    rig.beat()
    await_word("1")
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=10) == 0
    assert read() == "1"
    if kind == "terminal":
        os.close(ours)
        os.close(theirs)


def test_a_relay_that_fails_later_shows_in_the_report_and_in_the_log(rig):
    line = rig.folder / "line"
    os.mkfifo(line)
    ours = os.open(line, os.O_RDONLY | os.O_NONBLOCK)
    rig.configure(relay=str(line))
    process = rig.start()
    rig.report("watching")
    os.close(ours)
    rig.beat()
    rig.report("watching", f"the relay {line} cannot be written (Broken pipe)")
    process.terminate()
    assert "cannot be written" in process.stderr.read()


def test_a_relay_that_cannot_be_written_keeps_it_from_starting(rig):
    rig.configure(relay="none/line")
    process = rig.start()
    assert process.wait(timeout=10) == 2
    error = process.stderr.read()
    assert f"{rig.folder}/none/line: No such file or directory; make guard.relay writable" in error
    assert "Traceback" not in error


def test_bad_settings_keep_it_from_starting(rig):
    rig.configure(silence_ms=5, relais=1)
    process = rig.start()
    assert process.wait(timeout=10) == 2
    lines = process.stderr.read().splitlines()
    assert [line.split(": ")[:3] for line in lines] == [
        ["vlad-guard", str(rig.settings), "guard.silence_ms"],
        ["vlad-guard", str(rig.settings), "guard.relais"],
    ]


def test_a_second_guard_in_the_same_run_folder_gets_a_clear_error(rig):
    first = rig.start()
    rig.report("watching")
    second = rig.start()
    assert second.wait(timeout=10) == 3
    assert f"another vlad-guard (pid {first.pid}) runs here" in second.stderr.read()
    rig.report("watching")


def test_a_socket_that_cannot_be_bound_is_told(rig):
    (rig.run_dir / "guard.sock").mkdir()
    process = rig.start()
    assert process.wait(timeout=10) == 2
    error = process.stderr.read()
    assert f"cannot bind {rig.run_dir}/guard.sock" in error
    assert "Traceback" not in error


def test_garbage_on_its_estop_socket_is_refused_and_logged_once(rig):
    process = rig.start()
    rig.beat()
    rig.report("watching")
    with rig.context.socket(zmq.PUB) as stranger:
        stranger.connect(f"ipc://{rig.run_dir}/guard-estop.sock")
        for _ in range(30):
            stranger.getsockopt(zmq.EVENTS)
            stranger.send_multipart([b"left", b"\xff"])
            time.sleep(0.01)
    rig.report("watching")
    process.terminate()
    assert 1 <= process.stderr.read().count("refused a message") <= 2


def test_it_tells_systemd_how_it_is(rig):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(rig.folder / "notify"))
        systemd.settimeout(10)
        environment = {**os.environ, "NOTIFY_SOCKET": str(rig.folder / "notify"), "WATCHDOG_USEC": "100000"}
        process = subprocess.Popen(
            [sys.executable, "-m", "vlad.guard", "--config", rig.settings],
            env=environment,
            stderr=subprocess.PIPE,
        )
        rig.processes.append(process)
        heard = b""
        while b"READY=1" not in heard or b"WATCHDOG=1" not in heard:
            heard += systemd.recv(4096)
        process.terminate()
        while b"STOPPING=1" not in heard:
            heard += systemd.recv(4096)
        assert process.wait(timeout=10) == 0
