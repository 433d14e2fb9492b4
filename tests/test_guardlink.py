"""The daemon's ear for the guard: over a real socket, its time in the test's hands."""

import asyncio
import time

import msgpack
import pytest
import zmq

from vlad.clock import FakeClock
from vlad.guard.frames import report, stop_command
from vlad.guardlink import GuardLink


class Ear:
    """A guard's socket, and a daemon's ear that is connected to it."""

    def __init__(self, folder):
        self.context = zmq.Context()
        self.clock = FakeClock()
        self.guard = self.context.socket(zmq.XPUB)
        self.guard.bind(f"ipc://{folder}/guard.sock")
        self.stops = []
        self.link = GuardLink(
            self.context, folder, self.clock, lambda: self.stops.append(self.clock.now_ns())
        )
        assert self.guard.poll(10_000)
        assert self.guard.recv() == b"\x01guard"

    def say(self, state, reason="", age_ns=0):
        self.send(report(1, self.clock.now_ns() - age_ns, state, reason))

    def send(self, frames):
        self.guard.getsockopt(zmq.EVENTS)
        self.guard.send_multipart(frames)

    def await_report(self, what):
        end_s = time.monotonic() + 10
        while not what(self.link.newest()) and time.monotonic() < end_s:
            time.sleep(0.001)
        assert what(self.link.newest())
        return self.link.newest()

    def close(self):
        self.link.close()
        self.context.destroy(linger=0)


@pytest.fixture
def ear(tmp_path):
    made = Ear(tmp_path)
    yield made
    made.close()


def test_the_newest_report_is_had_with_its_own_stamp(ear):
    assert ear.link.newest() is None
    said_ns = ear.clock.now_ns()
    ear.say("watching")
    ear.say("stopping", "no heartbeat", age_ns=3)
    ear.clock.advance(0.05)
    heard = ear.await_report(lambda heard: heard and heard.state == "stopping")
    assert (heard.stamp_ns, heard.reason) == (said_ns - 3, "no heartbeat")


def test_each_beginning_of_a_stop_is_told_once(ear):
    for state in ("watching", "stopping", "stopping", "estop", "estop", "watching", "stopping"):
        ear.say(state, state)
    ear.say("watching", "the end")
    ear.clock.advance(0.05)
    ear.await_report(lambda heard: heard and heard.reason == "the end")
    assert len(ear.stops) == 3


def test_a_report_that_is_overdue_is_looked_for_without_a_turn_of_the_loop(ear):
    ear.say("watching", "first")
    ear.await_report(lambda heard: heard)
    ear.say("watching", "second")
    time.sleep(0.1)  # lets the message come in; that nobody reads it is what is tested
    ear.clock.advance(0.02)
    assert ear.link.newest().reason == "first"
    ear.clock.advance(0.02)
    assert ear.link.newest().reason == "second"


def test_commands_for_the_motors_are_not_for_the_daemon(ear):
    ear.send(stop_command(1, ear.clock.now_ns(), "stop1"))
    ear.say("watching")
    ear.await_report(lambda heard: heard)
    assert ear.link.bad == 0


GOOD = {"v": 1, "seq": 1, "stamp_ns": 2, "state": "watching", "reason": ""}


def test_what_is_no_report_is_counted_and_changes_nothing(ear):
    ear.say("watching", "good")
    ear.clock.advance(0.05)
    bad = [
        [b"guard"],
        [b"guardian", msgpack.packb(GOOD)],
        [b"guard", b"\xc1"],
        [b"guard", b"\xda\xff"],
        [b"guard", msgpack.packb([1])],
        [b"guard", msgpack.packb(GOOD | {"v": 2})],
        [b"guard", msgpack.packb(GOOD | {"stamp_ns": "now"})],
        [b"guard", msgpack.packb(GOOD | {"stamp_ns": -1})],
        [b"guard", msgpack.packb(GOOD | {"stamp_ns": ear.clock.now_ns() + 1})],
        [b"guard", msgpack.packb(GOOD | {"state": "asleep"})],
        [b"guard", msgpack.packb(GOOD | {"state": ["stopping"]})],
        [b"guard", msgpack.packb(GOOD | {"reason": 3})],
    ]
    for frames in bad:
        ear.send(frames)
    end_s = time.monotonic() + 10
    while ear.link.bad < len(bad) and time.monotonic() < end_s:
        assert ear.link.newest() is None or ear.link.newest().reason == "good"
    assert ear.link.bad == len(bad)


def test_a_flood_is_read_in_portions(ear):
    for _ in range(60):
        ear.say("watching")
    for number in range(4):
        ear.say("watching", str(number))
    ear.clock.advance(0.05)
    ear.await_report(lambda heard: heard and heard.reason == "3")


async def test_on_the_loop_a_stop_is_told_at_once(tmp_path):
    ear = Ear(tmp_path)
    ear.link.start()
    ear.say("estop", "pressed")
    end_s = time.monotonic() + 10
    while not ear.stops and time.monotonic() < end_s:
        await asyncio.sleep(0.005)
    assert len(ear.stops) == 1
    ear.close()
