"""Ingest through real sockets: the newest good sample of each signal, everything bad counted."""

import asyncio
import logging
import os
import socket
import stat
import time

import msgpack
import numpy as np
import pytest
import uvloop
import zmq
import zmq.auth

from vlad.clock import NS_PER_S, FakeClock, SystemClock
from vlad.config import Settings
from vlad.curve import ClientKeys, KeyFileError
from vlad.driver import SensorPublisher
from vlad.ingest import Ingest, TopicCounters
from vlad.messages import EStop, Image, Instruction, JointState, Sample, Twist
from vlad.wire import encode_sample
from vlad.wire.fields import BadMessage

SIGNALS = {
    "camera": {"type": "image"},
    "joints": {"type": "joint_state"},
    "estop": {"type": "estop"},
    "instruction": {"type": "instruction"},
}
JOINTS = JointState(("a", "b"), position=np.array([1, 2], np.float32))
TIMEOUT_S = 10.0


def settings_of(tmp_path, **wire):
    return Settings.model_validate(
        {
            "robot": {"limits": "none.toml"},
            "paths": {"run_dir": tmp_path},
            "signals": SIGNALS,
            "wire": wire,
        }
    )


async def until(what, timeout_s=TIMEOUT_S):
    end_s = time.monotonic() + timeout_s
    while not what():
        assert time.monotonic() < end_s, "it did not come to pass"
        await asyncio.sleep(0.005)


class Bench:
    """An Ingest on a real socket, and a plain PUB socket to throw things at it."""

    def __init__(self, tmp_path, **wire):
        self.context = zmq.Context()
        self.samples = []
        self.clock = SystemClock()
        self.ingest = Ingest(self.context, settings_of(tmp_path, **wire), self.clock, self.samples.append)
        self.endpoint = f"ipc://{tmp_path}/sensors.sock"
        self.raw = self.context.socket(zmq.PUB)
        self.raw.linger = 0
        self.raw.connect(self.endpoint)
        self.seq = 0

    async def connected(self):
        """Start, and wait until messages of the plain socket arrive."""
        self.ingest.start()
        await until(lambda: self.send([b"hello"]) or self.ingest.unknown)
        await asyncio.sleep(0.05)
        self.ingest.unknown.clear()
        return self

    def send(self, frames):
        self.raw.getsockopt(zmq.EVENTS)
        self.raw.send_multipart(frames, zmq.NOBLOCK)

    def send_good(self, topic="joints", data=JOINTS):
        self.seq += 1
        self.send(encode_sample(topic, self.seq, self.clock.now_ns(), data))

    async def bad(self, topic, reason, count=1):
        await until(lambda: self.ingest.counters[topic].bad[reason] == count)

    def close(self):
        self.raw.close()
        self.ingest.close()
        self.context.destroy(linger=0)


@pytest.fixture
async def bench(tmp_path):
    made = Bench(tmp_path)
    yield await made.connected()
    made.close()


async def test_the_newest_sample_of_each_signal_is_in_its_slot(bench):
    for _ in range(3):
        bench.send_good()
        bench.send_good("estop", EStop(True))
    await until(lambda: len(bench.samples) == 6)
    slot = bench.ingest.latest["joints"]
    assert slot.peek().seq == bench.samples[-2].seq
    assert slot.peek().data.position.tolist() == [1, 2]
    assert bench.ingest.latest["estop"].peek() is bench.samples[-1]
    assert slot.dropped == 2
    assert bench.ingest.latest["camera"].peek() is None
    assert bench.ingest.counters["joints"].received == 3


async def bursts(tmp_path):
    """Five bursts, each read to its end before the next begins."""
    bench = await Bench(tmp_path).connected()
    publisher = SensorPublisher(bench.endpoint, "estop", "estop", context=bench.context)
    await until(lambda: publisher.publish(EStop(False)) or bench.samples)
    for _ in range(5):
        sent = publisher.seq
        for _ in range(60):
            publisher.publish(EStop(False))
        await until(lambda sent=sent: bench.ingest.latest["estop"].peek().seq >= sent + 59)
    publisher.close()
    bench.close()


def test_a_burst_is_read_to_its_end_though_the_socket_signals_only_once(tmp_path):
    asyncio.run(bursts(tmp_path))


def test_a_burst_is_read_to_its_end_under_uvloop_too(tmp_path):
    uvloop.run(bursts(tmp_path))


async def test_while_nobody_listens_messages_wait_until_they_are_asked_for(bench):
    await bench.connected()
    bench.ingest.listen(at_once=False)
    bench.send_good()
    await until(lambda: bench.ingest._socket.getsockopt(zmq.EVENTS) & zmq.POLLIN)
    await asyncio.sleep(0.02)
    assert bench.samples == []
    bench.ingest.catch_up()
    assert [sample.topic for sample in bench.samples] == ["joints"]


async def test_what_came_while_nobody_listened_is_read_when_somebody_does(bench):
    await bench.connected()
    bench.ingest.listen(at_once=False)
    bench.send_good()
    await until(lambda: bench.ingest._socket.getsockopt(zmq.EVENTS) & zmq.POLLIN)
    bench.ingest.listen(at_once=True)
    assert len(bench.samples) == 1
    bench.send_good()
    await until(lambda: len(bench.samples) == 2)


async def test_the_loop_gets_its_turn_while_a_flood_is_read(bench):
    for _ in range(400):
        bench.send_good()
    turns = 0
    while bench.ingest.counters["joints"].received < 300:
        await asyncio.sleep(0)
        turns += 1
        assert turns < 1_000_000
    assert turns > 2


async def test_a_machine_too_slow_for_a_portion_still_reads_message_by_message(bench):
    class Slow(SystemClock):
        """On which each look at the clock takes longer than a portion may."""

        behind_ns = 0

        def now_ns(self):
            self.behind_ns += 1_000_000
            return super().now_ns() + self.behind_ns

    bench.ingest._clock = Slow()
    for _ in range(3):
        bench.send_good()
    await until(lambda: len(bench.samples) == 3)


async def test_an_image_stays_in_the_received_frame(bench):
    pixels = np.random.default_rng(0).integers(0, 255, (480, 640, 3), np.uint8)
    bench.send_good("camera", Image("rgb8", pixels))
    await until(lambda: bench.samples)
    received = bench.samples[0].data.pixels
    assert np.array_equal(received, pixels)
    assert not received.flags.owndata
    assert not received.flags.writeable


async def test_each_kind_of_bad_message_is_counted_and_the_newest_good_sample_stays(bench):
    bench.send_good()
    await until(lambda: bench.samples)
    good = bench.ingest.latest["joints"].peek()
    bad = {
        "malformed": [b"joints", b"\xc1"],
        "size": [*encode_sample("joints", 9, bench.clock.now_ns(), JOINTS)[:2], b"\x00" * 7],
        "wrong_type": encode_sample("joints", 9, bench.clock.now_ns(), Twist((0.0,) * 3, (0.0,) * 3)),
        "seq": encode_sample("joints", good.seq, bench.clock.now_ns(), JOINTS),
        "stamp_old": encode_sample("joints", 9, good.stamp_ns - 1, JOINTS),
        "stamp_future": encode_sample("joints", 9, bench.clock.now_ns() + NS_PER_S, JOINTS),
        "non_finite": encode_sample(
            "joints", 9, bench.clock.now_ns(), JointState(("a",), position=np.array([np.nan], np.float32))
        ),
        "version": [b"joints", msgpack.packb({"v": 3}), b""],
    }
    for frames in bad.values():
        bench.send(frames)
    for reason in bad:
        await bench.bad("joints", reason)
    assert bench.ingest.latest["joints"].peek() is good
    assert len(bench.samples) == 1
    bench.seq = 100
    bench.send_good()
    await until(lambda: len(bench.samples) == 2)


async def test_a_message_over_the_limit_is_counted_not_taken(tmp_path):
    bench = Bench(tmp_path, max_message_bytes=100_000)
    await bench.connected()
    bench.send_good("camera", Image("mono8", np.zeros((400, 300), np.uint8)))
    await bench.bad("camera", "too_large")
    bench.send_good("camera", Image("mono8", np.zeros((400, 200), np.uint8)))
    await until(lambda: bench.samples)
    bench.close()


async def test_messages_of_many_frames_are_refused(bench):
    bench.send([b"joints"] * 50)
    await bench.bad("joints", "malformed")


async def test_unknown_topics_are_counted_by_reason_in_bounded_memory(bench):
    for number in range(100):
        bench.send([f"nobody{number}".encode(), b"", b"x" * 100])
    bench.send([b"\xff\xff", b""])
    await until(lambda: bench.ingest.unknown.total() >= 80)
    assert set(bench.ingest.unknown) <= {"unknown_topic", "malformed"}


async def test_refusals_are_counted_and_among_them_stamps_that_cannot_be(bench):
    await bench.connected()
    now_ns = bench.clock.now_ns()
    for seq, stamp_ns in ((1, now_ns + NS_PER_S), (2, now_ns - 60 * NS_PER_S), (3, now_ns), (4, now_ns - 1)):
        bench.send(encode_sample("joints", seq, stamp_ns, JOINTS))
    bench.send([b"joints", b"rubbish"])
    counters = bench.ingest.counters["joints"]
    await until(lambda: counters.received == 1 and counters.refused == 4)
    assert counters.off_clock == 3
    assert counters.refused == sum(counters.bad.values())


async def test_a_bad_message_is_logged_once_a_second_for_its_topic_and_reason(bench, caplog):
    with caplog.at_level(logging.WARNING, "vlad.ingest"):
        for _ in range(20):
            bench.send([b"joints", b"\xc1"])
        bench.send([b"estop", b"\xc1"])
        await bench.bad("joints", "malformed", 20)
        await bench.bad("estop", "malformed")
    lines = [line for line in caplog.messages if "signal joints" in line]
    assert 1 <= len(lines) <= 2
    assert "malformed" in lines[0]
    assert any("signal estop" in line for line in caplog.messages)


async def test_a_sample_made_inside_is_delivered_like_any_other(bench):
    sample = Sample("instruction", 0, 5, 5, "", Instruction("go to the red ball"))
    bench.ingest.put(sample)
    assert bench.samples == [sample]
    assert bench.ingest.latest["instruction"].peek() is sample
    assert bench.ingest.counters["instruction"].received == 1


async def test_the_socket_is_for_its_user_and_group_only(bench):
    path = bench.endpoint.removeprefix("ipc://")
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o660


async def test_a_run_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(OSError, match=r"cannot bind ipc://.*sensors\.sock"):
        Bench(tmp_path / "missing")


async def test_nothing_is_delivered_after_close(bench):
    bench.ingest.close()
    bench.send_good()
    await asyncio.sleep(0.05)
    assert bench.samples == []


# over TCP -------------------------------------------------------------------------------------------------


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def keys(tmp_path):
    """Key files: the daemon's, those of an allowed driver, and those of a stranger."""
    for folder in ("clients", "private"):
        (tmp_path / folder).mkdir()
    made = {}
    for name in ("daemon", "arm", "stranger"):
        public, secret = zmq.auth.create_certificates(tmp_path / "private", name)
        made[name] = (public, secret)
    os.replace(made["arm"][0], tmp_path / "clients" / "arm.key")
    return tmp_path / "private"


@pytest.fixture
async def remote(tmp_path, keys):
    made = Bench(
        tmp_path,
        sensors_tcp=f"tcp://127.0.0.1:{free_port()}",
        curve_server_secret=keys / "daemon.key_secret",
        curve_clients=tmp_path / "clients",
    )
    made.tcp = made.ingest._socket.last_endpoint.decode().rstrip("\0")
    yield await made.connected()
    made.close()


async def reaches(bench, endpoint, curve, timeout_s):
    """Whether the samples of a publisher with these keys arrive within the time."""
    end_s = time.monotonic() + timeout_s
    with SensorPublisher(endpoint, "estop", "estop", curve=curve, context=bench.context) as publisher:
        while not bench.samples and time.monotonic() < end_s:
            publisher.publish(EStop(True))
            await asyncio.sleep(0.01)
    return bool(bench.samples)


async def test_over_tcp_the_right_key_is_let_in(remote, keys):
    curve = ClientKeys.load(keys / "arm.key_secret", keys / "daemon.key")
    assert await reaches(remote, remote.tcp, curve, TIMEOUT_S)
    sample = remote.samples[0]
    assert abs(sample.received_ns - sample.stamp_ns) < 5 * NS_PER_S


async def test_over_tcp_nothing_gets_through_without_an_allowed_key(remote, keys):
    stranger = ClientKeys.load(keys / "stranger.key_secret", keys / "daemon.key")
    assert not await reaches(remote, remote.tcp, stranger, 0.5)
    assert not await reaches(remote, remote.tcp, None, 0.5)
    assert await reaches(remote, remote.endpoint, None, TIMEOUT_S), "the local socket needs no key"


async def test_a_key_file_that_is_not_there_is_named(tmp_path, keys):
    with pytest.raises(KeyFileError, match="nokey"):
        Bench(
            tmp_path,
            sensors_tcp=f"tcp://127.0.0.1:{free_port()}",
            curve_server_secret=tmp_path / "nokey",
            curve_clients=tmp_path / "clients",
        )
    with pytest.raises(KeyFileError, match="holds no secret key"):
        ClientKeys.load(keys / "daemon.key", keys / "daemon.key")


# counters: no sockets -------------------------------------------------------------------------------------


class Feed:
    """Admits samples to a TopicCounters on a fake clock."""

    def __init__(self):
        self.clock = FakeClock()
        self.counters = TopicCounters()

    def admit(self, seq, stamp_ns=None):
        now_ns = self.clock.now_ns()
        stamp_ns = now_ns if stamp_ns is None else stamp_ns
        self.counters.admit(Sample("t", seq, stamp_ns, now_ns, "", EStop(False)))

    def refused(self, seq, stamp_ns=None):
        with pytest.raises(BadMessage) as caught:
            self.admit(seq, stamp_ns)
        return caught.value.reason


def test_missing_numbers_are_counted_as_gaps():
    feed = Feed()
    for seq in (7, 8, 11, 12, 20):
        feed.admit(seq)
    assert feed.counters.gaps == 2 + 7


def test_a_number_that_repeats_or_goes_back_is_refused():
    feed = Feed()
    feed.admit(500)
    feed.clock.advance(0.1)
    assert feed.refused(500) == "seq"
    assert feed.refused(499) == "seq"
    feed.admit(501)


def test_a_stamp_that_goes_back_is_refused():
    feed = Feed()
    feed.admit(1)
    assert feed.refused(2, feed.clock.now_ns() - 1) == "stamp_old"
    feed.admit(3)


def test_a_driver_that_starts_anew_is_believed_at_once():
    feed = Feed()
    feed.admit(5000)
    feed.clock.advance(0.3)
    feed.admit(3)
    feed.admit(4)
    assert feed.counters.gaps == 0


def test_a_driver_that_never_counts_is_refused():
    feed = Feed()
    feed.admit(0)
    for _ in range(9):
        feed.clock.advance(0.1)
        assert feed.refused(0) == "seq"


def test_after_a_second_of_silence_any_number_is_believed_with_a_newer_stamp():
    feed = Feed()
    feed.admit(5000)
    stamp_ns = feed.clock.now_ns()
    feed.clock.advance(1.1)
    assert feed.refused(4000, stamp_ns) == "seq"
    feed.admit(4000)


@pytest.mark.parametrize("rate_hz", [1, 10, 100, 1000])
def test_the_rate_is_that_of_the_last_second(rate_hz):
    feed = Feed()
    for seq in range(5 * rate_hz):
        feed.admit(seq)
        feed.clock.advance(1 / rate_hz)
    assert feed.counters.rate_hz(feed.clock.now_ns()) == pytest.approx(rate_hz, rel=0.05)
    feed.clock.advance(60)
    assert feed.counters.rate_hz(feed.clock.now_ns()) < 0.1
