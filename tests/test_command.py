"""The command writer through a real socket: numbered, stamped, and never a number that is not finite."""

import logging
import os
import stat
import subprocess
import sys
import time

import numpy as np
import pytest
import zmq

from vlad.clock import FakeClock
from vlad.command import CommandWriter
from vlad.config import Settings
from vlad.driver import CommandReceiver
from vlad.messages import CommandMode, Kind, Level, Mode, Request
from vlad.wire import decode_command, decode_heartbeat

TWIST = (Kind.TWIST, ("linear_x", "angular_z"))
VALUES = np.array([0.5, -1.0], np.float32)


class Bench:
    """A CommandWriter on a real socket, and who listens to it."""

    def __init__(self, tmp_path):
        self.context = zmq.Context()
        self.clock = FakeClock()
        settings = Settings.model_validate(
            {
                "robot": {"limits": "none.toml"},
                "paths": {"run_dir": tmp_path},
                "signals": {},
                "safety": {"command_ttl_ms": 40},
            }
        )
        self.writer = CommandWriter(self.context, settings, self.clock)
        self.path = tmp_path / "commands.sock"
        self.listener = self.context.socket(zmq.SUB)
        self.listener.subscribe(b"")
        self.listener.connect(f"ipc://{self.path}")
        end_s = time.monotonic() + 10
        while not self.listener.poll(5):
            self.writer.heartbeat(Mode.BOOT, Level.SAFE, ())
            assert time.monotonic() < end_s
        while self.listener.poll(50):
            self.listener.recv_multipart()

    def run(self, values=VALUES, mode=CommandMode.RUN):
        return self.writer.send(mode, *TWIST, values, 7, self.clock.now_ns())

    def heard(self):
        assert self.listener.poll(10_000)
        return decode_command(self.listener.recv_multipart())


@pytest.fixture
def bench(tmp_path):
    made = Bench(tmp_path)
    yield made
    made.writer.close()
    made.context.destroy(linger=0)


def test_commands_are_numbered_and_stamped_and_carry_their_expiry(bench):
    for seq in (1, 2, 3):
        bench.clock.advance(0.01)
        sent, heard = bench.run(), bench.heard()
        assert (heard.seq, heard.stamp_ns, heard.ttl_ms) == (seq, bench.clock.now_ns(), 40)
        assert (heard.mode, heard.kind, heard.names) == (CommandMode.RUN, *TWIST)
        assert heard.values.tolist() == [0.5, -1.0]
        assert heard.source_stamp_ns == 7
        assert bench.writer.last is sent
    assert bench.writer.sent == 3


@pytest.mark.parametrize(
    "values",
    [
        np.array([np.nan, 0], np.float32),
        np.array([0, np.inf], np.float32),
        np.array([0], np.float32),
        np.array([[0, 0]], np.float32),
        np.empty(0, np.float32),
    ],
)
def test_what_must_not_reach_a_motor_becomes_stop0_for_good(bench, values, caplog):
    with caplog.at_level(logging.CRITICAL, "vlad.command"):
        assert bench.run(values).mode is CommandMode.STOP0
    heard = bench.heard()
    assert heard.mode is CommandMode.STOP0
    assert len(heard.values) == 0
    assert bench.writer.fault in caplog.text
    assert bench.writer.fault
    bench.run()
    assert bench.heard().mode is CommandMode.STOP0, "a writer that was lied to once moves nothing any more"


def test_a_stop_needs_no_values(bench):
    assert bench.writer.stop(CommandMode.STOP1).mode is CommandMode.STOP1
    bench.run()
    stop = bench.writer.stop(CommandMode.STOP0)
    assert [bench.heard().mode for _ in range(3)] == ["stop1", "run", "stop0"]
    assert (stop.kind, stop.names, len(stop.values)) == (*TWIST, 0)
    assert not bench.writer.fault


def test_the_heartbeat_tells_mode_level_and_faults(bench):
    sent = bench.writer.heartbeat(Mode.DEGRADED, Level.WARNING, ("camera_stale",))
    assert bench.listener.poll(10_000)
    assert decode_heartbeat(bench.listener.recv_multipart()) == sent
    assert bench.writer.heartbeat(Mode.ACTIVE, Level.SAFE, ()).seq == sent.seq + 1


def test_the_heartbeat_carries_what_is_asked_of_the_robots_controller(bench):
    asked = (Request.BALANCE, Request.CANCEL_ACTION)
    bench.writer.heartbeat(Mode.ESTOP, Level.EMERGENCY, ("estop",), asked)
    assert bench.listener.poll(10_000)
    assert decode_heartbeat(bench.listener.recv_multipart()).requests == asked


def listeners(bench, expected):
    end_s = time.monotonic() + 10
    while bench.writer.listeners != expected:
        assert time.monotonic() < end_s, bench.writer.listeners
        bench.run()
        time.sleep(0.005)
    return True


def subscriber(bench, *topics):
    socket = bench.context.socket(zmq.SUB)
    for topic in topics:
        socket.subscribe(topic)
    socket.connect(f"ipc://{bench.path}")
    return socket


def test_drivers_are_counted_as_they_come_and_go(bench):
    assert bench.writer.listeners == 0
    with CommandReceiver(f"ipc://{bench.path}", *TWIST, clock=bench.clock) as first:
        assert listeners(bench, 1)
        second = subscriber(bench, b"command")
        assert listeners(bench, 2)
        second.close(linger=0)
        assert listeners(bench, 1)
        assert first.receive().mode is CommandMode.RUN
    assert listeners(bench, 0)


def test_a_driver_whose_process_was_killed_is_not_counted(bench):
    words = "import sys, time, zmq; s = zmq.Context().socket(zmq.SUB); s.subscribe(b'command')\n"
    words += "s.connect(sys.argv[1]); time.sleep(60)"
    driver = subprocess.Popen([sys.executable, "-c", words, f"ipc://{bench.path}"])
    assert listeners(bench, 1)
    driver.kill()
    driver.wait()
    assert listeners(bench, 0)


def test_who_only_observes_is_no_driver(bench):
    observers = [subscriber(bench, b"safety"), subscriber(bench, b""), subscriber(bench, b"com")]
    driver = subscriber(bench, b"command")
    assert listeners(bench, 1)
    for _ in range(20):
        bench.run()
        time.sleep(0.005)
    assert bench.writer.listeners == 1
    for socket in (*observers, driver):
        socket.close(linger=0)


def test_who_subscribes_and_leaves_all_the_time_holds_up_nothing(bench):
    restless = subscriber(bench)
    for _ in range(500):
        restless.subscribe(b"command")
        restless.unsubscribe(b"command")
    time.sleep(0.1)
    for _ in range(3):
        bench.run()
    assert 0 <= bench.writer.listeners <= 1
    assert listeners(bench, 0)
    restless.close(linger=0)


def test_nobody_listening_holds_up_nothing(tmp_path):
    context = zmq.Context()
    settings = Settings.model_validate(
        {"robot": {"limits": "none.toml"}, "paths": {"run_dir": tmp_path}, "signals": {}}
    )
    writer = CommandWriter(context, settings, FakeClock())
    deaf = context.socket(zmq.SUB)
    deaf.subscribe(b"")
    deaf.rcvhwm = 1
    deaf.connect(f"ipc://{tmp_path}/commands.sock")
    for _ in range(5000):
        writer.send(CommandMode.RUN, *TWIST, VALUES, 7, 1)
    assert writer.sent == 5000
    writer.close()
    context.destroy(linger=0)


def test_the_socket_is_for_its_user_and_group_only(bench):
    assert stat.S_IMODE(os.stat(bench.path).st_mode) == 0o660
