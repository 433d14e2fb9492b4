"""A motor driver obeys the guard before anything that vlad says."""

import time

import numpy as np
import pytest
import zmq

from vlad.clock import FakeClock
from vlad.driver import CommandReceiver
from vlad.guard.frames import stop_command
from vlad.guard.stops import worse
from vlad.messages import Command, CommandMode, Kind
from vlad.wire import encode_command

NAMES = ("linear_x", "angular_z")
RUN, HOLD, STOP1, STOP0 = CommandMode


class Voices:
    """vlad's and the guard's sockets, and a receiver that hears both."""

    def __init__(self, **receiver):
        self.context = zmq.Context()
        self.clock = FakeClock()
        self.vlad, self.guard = self.context.socket(zmq.PUB), self.context.socket(zmq.PUB)
        self.vlad.bind("inproc://commands")
        self.guard.bind("inproc://guard")
        self.receiver = CommandReceiver(
            "inproc://commands", clock=self.clock, context=self.context, guard="inproc://guard", **receiver
        )
        self.seq = 0
        for socket in (self.vlad, self.guard):
            while not socket.poll(0, zmq.POLLOUT):
                time.sleep(0.001)

    def command(self, mode=RUN, values=(0.5, 0.1)):
        self.seq += 1
        array = np.array(values, np.float32)
        command = Command(self.seq, self.clock.now_ns(), 60, mode, Kind.TWIST, NAMES, array, 1)
        self._send(self.vlad, encode_command(command))

    def stop(self, mode="stop1", age_s=0.0, seq=1):
        self._send(self.guard, stop_command(seq, self.clock.now_ns() - round(age_s * 1e9), mode))

    def receive(self, timeout_s=0.0):
        command = self.receiver.receive(timeout_s)
        return command.mode, self.receiver.reason, command.values.tolist()

    def _send(self, socket, frames):
        socket.getsockopt(zmq.EVENTS)
        socket.send_multipart(frames)


@pytest.fixture
def voices():
    made = Voices()
    yield made
    made.receiver.close()
    made.context.destroy(linger=0)


def test_a_stop_of_the_guard_goes_before_a_good_command(voices):
    voices.command()
    assert voices.receive()[:2] == (RUN, "")
    voices.stop()
    assert voices.receive() == (STOP1, "guard", [0.0, 0.0])
    voices.command()
    assert voices.receive() == (STOP1, "guard", [0.0, 0.0])


def test_it_lasts_until_it_runs_out(voices):
    voices.stop()
    voices.clock.advance(0.099)
    voices.command()
    assert voices.receive()[:2] == (STOP1, "guard")
    voices.clock.advance(0.002)
    assert voices.receive()[:2] == (RUN, "")


def test_waiting_ends_with_a_stop_of_the_guard(voices):
    voices.command()
    voices.receive()
    voices.stop()
    assert voices.receive(timeout_s=60)[1] == "guard"


def test_a_stop_that_is_old_says_nothing(voices):
    voices.command()
    voices.stop(age_s=0.11)
    assert voices.receive()[:2] == (RUN, "")


def test_an_older_stop_does_not_shorten_a_newer_one(voices):
    voices.stop()
    voices.stop(age_s=0.09)
    voices.receive()
    voices.clock.advance(0.05)
    assert voices.receive()[1] == "guard"


@pytest.mark.parametrize(
    ("vlad", "guard", "obeyed"),
    [
        (RUN, "stop1", STOP1), (HOLD, "stop1", STOP1), (STOP1, "stop1", STOP1), (STOP0, "stop1", STOP0),
        (RUN, "hold", HOLD), (HOLD, "hold", HOLD), (STOP1, "hold", STOP1), (STOP0, "hold", STOP0),
    ],
)  # fmt: skip
def test_the_severer_of_two_stops_is_obeyed(voices, vlad, guard, obeyed):
    voices.command(vlad)
    voices.stop(guard)
    assert voices.receive() == (obeyed, "guard", [0.0, 0.0])


def test_modes_are_ordered_by_what_they_leave_the_motors():
    assert worse(RUN, HOLD) is HOLD
    assert worse(STOP0, STOP1) is STOP0


def test_a_guard_speaks_for_a_driver_that_never_heard_vlad(voices):
    voices.stop()
    assert voices.receive() == (STOP1, "guard", [])


def test_what_is_no_stop_of_a_guard_is_counted_and_ignored(voices):
    voices.command()
    voices.stop("run")
    voices.stop(age_s=-1.0)
    frames = stop_command(1, voices.clock.now_ns(), "stop1")
    voices._send(voices.guard, [frames[0], frames[1][:-1] + b"\xff", b""])
    assert voices.receive()[:2] == (RUN, "")
    assert voices.receiver._guard.bad == 3


def test_after_the_guards_stop_vlads_own_reason_is_back(voices):
    voices.command()
    voices.stop()
    assert voices.receive()[1] == "guard"
    voices.clock.advance(0.11)
    assert voices.receive()[:2] == (STOP1, "silence")


@pytest.mark.parametrize(
    "endpoint", ["ipc:///run/x/other.sock", "tcp://127.0.0.1:7", "inproc://commands.sock"]
)
def test_other_endpoints_have_no_guard_beside_them(endpoint):
    with zmq.Context() as context, CommandReceiver(endpoint, context=context) as receiver:
        assert receiver._guard is None


def test_a_guard_is_found_beside_the_commands_socket(tmp_path):
    with zmq.Context() as context, context.socket(zmq.PUB) as guard:
        guard.linger = 0
        guard.bind(f"ipc://{tmp_path}/guard.sock")
        with CommandReceiver(f"ipc://{tmp_path}/commands.sock", context=context) as receiver:
            end_s = time.monotonic() + 10
            while receiver.reason != "guard" and time.monotonic() < end_s:
                guard.getsockopt(zmq.EVENTS)
                guard.send_multipart(stop_command(1, time.monotonic_ns(), "stop1"))
                receiver.receive(timeout_s=0.05)
            assert receiver.reason == "guard"
