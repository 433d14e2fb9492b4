"""The feed through real sockets: who subscribes gets what came in and what was judged, and nobody waits."""

from __future__ import annotations

import asyncio
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
import zmq

from vlad.clock import SystemClock, Tick
from vlad.config import Settings
from vlad.driver import SensorPublisher
from vlad.feed import FaultSeen, Feed, FeedReader, Item, Turn
from vlad.ingest import Ingest
from vlad.messages import (
    Chunk,
    Command,
    CommandMode,
    EStop,
    Image,
    Instruction,
    JointState,
    Kind,
    Level,
    Mode,
    Sample,
)
from vlad.safety.faults import active
from vlad.safety.kernel import Verdict
from vlad.safety.ladder import Transition
from vlad.safety.reaction import Finding, Reaction
from vlad.wire import encode_sample

TYPES = {"camera": "image", "left": "image", "joints": "joint_state", "instruction": "instruction"}
TICK = Tick(0, 2_000_000, 1, False)
NUMBERS = np.array([0.5, -1.5], np.float32)
FAULT = active(Finding("signal_stale", "camera", "0.6 s old"), 1)
VERDICT = Verdict(
    Mode.STOPPING, Level.DANGER, (FAULT,), CommandMode.HOLD, Kind.TWIST, ("x", "y"), NUMBERS, 4,
    (Transition(Mode.ACTIVE, Mode.STOPPING, "signal_stale: camera"),), None,
)  # fmt: skip
IMAGE = Image("rgb8", np.zeros((4, 4, 3), np.uint8))
SENT = Command(5, 10, 60, CommandMode.RUN, Kind.TWIST, ("x", "y"), NUMBERS, 4)
_PATIENCE_S = 20.0


class Pair:
    """The daemon's side, and readers in this same process."""

    def __init__(self, folder: Path, picture_hz: float = 1000) -> None:
        self.folder = folder
        self.clock = SystemClock()
        self.feed = Feed(folder, TYPES, picture_hz, self.clock)
        self.readers: list[FeedReader] = []
        self.seq = 0

    def read(self, *topics: str) -> FeedReader:
        reader = FeedReader(self.folder, topics or ("",))
        self.readers.append(reader)
        return reader

    def turn(self) -> None:
        self.feed.turn(TICK, VERDICT, SENT, "go")

    def turns(self, count: int = 10) -> None:
        for _ in range(count):
            self.turn()

    def send(self, topic: str, data: Any) -> list[bytes | memoryview]:
        self.seq += 1
        now_ns = self.clock.now_ns()
        frames = encode_sample(topic, self.seq, now_ns, data, "base")
        self.feed.sensor(Sample(topic, self.seq, now_ns, now_ns + 5, "base", data), frames)
        return frames

    def until(self, reader: FeedReader, what: Callable[[list[Item]], Any]) -> list[Item]:
        """Turns of the tick, until what was read satisfies."""
        items: list[Item] = []
        end_s = time.monotonic() + _PATIENCE_S
        while not what(items):
            assert time.monotonic() < end_s, items[-3:]
            self.turn()
            reader.wait(0.01)
            items += reader.read()
        return items

    def close(self) -> None:
        for reader in self.readers:
            reader.close()
        self.feed.close()


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    made = Pair(tmp_path)
    yield made
    made.close()


def joined(pair: Pair) -> FeedReader:
    """A reader of everything that the feed knows of."""
    reader = pair.read()
    pair.until(reader, lambda items: items and pair.feed.shown)
    while reader.wait(0.1):
        reader.read()
    return reader


def shown(item: Item) -> int:
    return item.shown if isinstance(item, Turn) else 0


def noted(pair: Pair) -> tuple[list[Any], list[Any]]:
    """The rows and the pictures that wait for the next turn."""
    return pair.feed._rows, pair.feed._pictures


def samples(items: list[Item]) -> list[Sample]:
    return [item for item in items if isinstance(item, Sample)]


def test_a_turn_of_the_tick_arrives_with_all_that_was_judged_and_sent(pair: Pair) -> None:
    reader = pair.read("")
    (*_, turn) = pair.until(reader, lambda items: items)
    assert isinstance(turn, Turn)
    assert (turn.mode, turn.level, turn.task) == (Mode.STOPPING, Level.DANGER, "go")
    assert (turn.early, turn.missed, turn.late_ns) == (False, 1, 2_000_000)
    assert turn.faults == (
        FaultSeen("signal_stale", "camera", "0.6 s old", Level.DANGER, FAULT.fault.reaction),
    )
    assert Reaction(turn.faults[0].reaction) is FAULT.fault.reaction
    assert turn.stop == "signal_stale: camera"
    assert turn.command is not None
    assert turn.command.values.tolist() == [0.5, -1.5]
    assert (turn.command.seq, turn.command.mode, turn.command.names) == (5, CommandMode.RUN, ("x", "y"))
    assert turn.now_ns <= time.monotonic_ns()


def test_chunks_and_events_arrive_as_they_were(pair: Pair) -> None:
    reader = joined(pair)
    made = Chunk(1, 2, 3, 50_000_000, Kind.TWIST, ("x", "y"), NUMBERS.reshape(1, 2), "go", 1, 0.25)
    event = {"id": 7, "monotonic_ns": 1, "kind": "fault", "level": "DANGER", "text": "what", "data": {}}
    pair.feed.chunk(made)
    pair.feed.event(event)
    items = pair.until(reader, lambda items: event in [item for item in items if isinstance(item, dict)])
    (chunk,) = [item for item in items if isinstance(item, Chunk)]
    assert chunk.actions.tolist() == [[0.5, -1.5]]
    assert (chunk.seq, chunk.names, chunk.instruction, chunk.collision) == (1, ("x", "y"), "go", 0.25)
    assert chunk.uncertainty is None


def test_a_sample_arrives_as_it_was_received(pair: Pair) -> None:
    reader = joined(pair)
    pair.send("joints", JointState(("a", "b"), position=NUMBERS))
    pixels = np.arange(48 * 64 * 3, dtype=np.uint8).reshape(48, 64, 3)
    pair.send("camera", Image("rgb8", pixels))
    items = pair.until(reader, lambda items: len(samples(items)) == 2)
    joints, picture = samples(items)
    assert isinstance(joints.data, JointState)
    assert joints.data.position is not None
    assert joints.data.position.tolist() == [0.5, -1.5]
    assert (joints.topic, joints.seq, joints.frame_id) == ("joints", 1, "base")
    assert joints.received_ns == joints.stamp_ns + 5
    assert isinstance(picture.data, Image)
    assert (picture.data.pixels == pixels).all()
    assert reader.bad == 0


def test_nothing_is_noted_for_nobody_nor_after_the_last_one_left(pair: Pair) -> None:
    pair.turns(20)
    pair.send("joints", JointState(("a",), position=NUMBERS[:1]))
    pair.send("camera", IMAGE)
    pair.feed.event({"id": 1})
    assert noted(pair) == ([], [])
    reader = joined(pair)
    reader.close()
    end_s = time.monotonic() + _PATIENCE_S
    while pair.feed.wanted or pair.feed.shown:
        assert time.monotonic() < end_s
        pair.turn()
    pair.send("joints", JointState(("a",), position=NUMBERS[:1]))
    pair.send("camera", IMAGE)
    assert noted(pair) == ([], [])


def test_who_looks_at_one_camera_costs_nothing_else(pair: Pair) -> None:
    reader = pair.read("sensor/camera")
    end_s = time.monotonic() + _PATIENCE_S
    while not pair.feed.shown:
        assert time.monotonic() < end_s
        pair.turn()
    assert pair.feed.shown == {"camera"}
    assert not pair.feed.wanted
    pair.send("joints", JointState(("a",), position=NUMBERS[:1]))
    for topic in ("left", "camera", "left"):
        pair.send(topic, IMAGE)
    assert [len(waiting) for waiting in noted(pair)] == [0, 1]
    assert [sample.topic for sample in samples(pair.until(reader, samples))] == ["camera"]


def test_who_comes_later_gets_what_comes_later_and_the_first_is_not_disturbed(pair: Pair) -> None:
    first = joined(pair)
    second = joined(pair)
    second.close()
    pair.turns(20)
    while first.read():
        pass
    pair.send("joints", JointState(("a",), position=NUMBERS[:1]))
    assert samples(pair.until(first, samples))


def test_what_waits_is_decoded_only_as_it_is_taken(pair: Pair) -> None:
    reader = joined(pair)
    for _ in range(500):
        pair.send("joints", JointState(("a",), position=NUMBERS[:1]))
    pair.turns(2)
    assert reader.wait(_PATIENCE_S)
    before, items = reader.rows, reader.items()
    taken = [next(items)]
    assert reader.rows - before <= 1
    taken += items
    pair.until(reader, lambda later: len(samples(taken + later)) == 500)


def test_of_each_camera_so_many_pictures_a_second_are_sent(tmp_path: Path) -> None:
    pair = Pair(tmp_path, picture_hz=10)
    try:
        reader = joined(pair)
        for k in range(61):  # two seconds of 30 Hz
            for topic in ("camera", "left"):
                sample = Sample(topic, k, k * 33_333_333, k * 33_333_333, "", IMAGE)
                pair.feed.sensor(sample, encode_sample(topic, k, k * 33_333_333, IMAGE))
            pair.turn()
            reader.read()
        pair.turn()
        (*_, turn) = pair.until(reader, lambda items: any(shown(item) >= 40 for item in items))
        assert shown(turn) <= 42
    finally:
        pair.close()


def test_who_does_not_read_loses_pictures_and_holds_nobody_up(pair: Pair) -> None:
    reader, hung = joined(pair), joined(pair)
    image = Image("rgb8", np.zeros((480, 640, 3), np.uint8))
    seen = 0
    for _ in range(60):
        pair.send("camera", image)
        pair.turn()
        while reader.wait(0.02):
            seen += len(samples(reader.read()))
    assert seen == 60
    found = 0
    while hung.wait(0.2):
        found += len(samples(hung.read()))
    assert 0 < found < 20, "a few wait for it in the queues, as many as are bounded"


def test_who_gets_all_of_it_can_tell_that_nothing_was_lost(pair: Pair) -> None:
    reader = joined(pair)
    for k in range(500):
        pair.send("joints", JointState(("a",), position=NUMBERS[:1]))
        if k % 5 == 0:
            pair.turn()
    items = pair.until(reader, lambda items: len(samples(items)) == 500)
    (first, begun), *_, (last, ended) = (
        (place, item) for place, item in enumerate(items) if isinstance(item, Turn)
    )
    assert ended.fed - begun.fed == last - first


def test_after_a_flood_the_rest_waits_for_the_next_turns_and_is_bounded(pair: Pair) -> None:
    reader = joined(pair)
    data = JointState(("a",), position=NUMBERS[:1])
    for _ in range(5_000):
        pair.send("joints", data)
    assert pair.feed.dropped == 5_000 - 4_096
    pair.turn()
    assert len(noted(pair)[0]) > 3_000
    items = pair.until(reader, lambda items: len(samples(items)) == 4_096)
    assert [sample.seq for sample in samples(items)] == list(range(1, 4_097))


def test_a_daemon_that_comes_back_is_found_again(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    reader = joined(pair)
    pair.feed.close()
    again = Pair(tmp_path)
    try:
        again.until(reader, lambda items: items)
    finally:
        again.close()
        reader.close()


def test_the_sockets_are_for_its_user_and_group(pair: Pair) -> None:
    for name in ("feed.sock", "pictures.sock"):
        assert stat.S_IMODE((pair.folder / name).stat().st_mode) == 0o660


def test_a_run_folder_that_cannot_hold_sockets_is_an_error_that_says_where(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"none/feed\.sock"):
        Feed(tmp_path / "none", TYPES, 10, SystemClock())


def test_what_makes_no_sense_is_counted_and_skipped(pair: Pair) -> None:
    reader = joined(pair)
    rows: list[Any] = [
        [b"tick", 1, 2], [b"chunk", b"x"], [b"event", "{"], [], 5, [b"other"], {}, None,
        [b"sensor", b"joints", 1], [b"sensor", b"joints", 1, b"\x80"], [b"sensor", b"joints", "x", b"\x80"],
    ]  # fmt: skip
    for row in rows:
        pair.feed._feed.socket.send_multipart([b"feed", msgpack.packb([row])])
    for frames in ([b"feed"], [b"feed", b"\xc1"], [b"feed", b"\x05"]):
        pair.feed._feed.socket.send_multipart(frames)
    pair.feed._show.socket.send_multipart([b"sensor/camera"])
    pair.until(reader, lambda items: reader.bad == len(rows) + 4)


# behind ingest ----------------------------------------------------------------------------------------------


async def test_what_ingest_accepts_is_fed_without_a_copy_and_what_it_refuses_is_not(tmp_path: Path) -> None:
    types = {**TYPES, "estop": "estop"}
    settings = Settings.model_validate(
        {
            "robot": {"limits": "none.toml"},
            "paths": {"run_dir": tmp_path},
            "signals": {topic: {"type": kind} for topic, kind in types.items()},
        }
    )
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    feed = Feed(tmp_path, types, 1000, SystemClock())
    heard: list[Sample] = []
    ingest = Ingest(context, settings, SystemClock(), heard.append, feed)
    ingest.start()
    reader = FeedReader(tmp_path)
    endpoint = f"ipc://{tmp_path}/sensors.sock"
    camera = SensorPublisher(endpoint, "camera", "image", context=context)
    wrong = SensorPublisher(endpoint, "joints", "estop", context=context)
    pixels = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    items: list[Item] = []
    try:
        async with asyncio.timeout(_PATIENCE_S):
            while len(samples(items)) < 5:
                camera.publish(Image("rgb8", pixels))
                wrong.publish(EStop(True))
                await asyncio.sleep(0.01)
                assert all(isinstance(frames[3], zmq.Frame) for frames in feed._pictures), "copied"
                feed.turn(TICK, VERDICT, SENT, "")
                items += reader.read()
            ingest.put(Sample("instruction", 0, 1, 1, "", Instruction("to the \ud800 ball")))
            while samples(items)[-1].topic != "instruction":
                feed.turn(TICK, VERDICT, SENT, "")
                await asyncio.sleep(0.01)
                items += reader.read()
    finally:
        reader.close()
        ingest.close()
        feed.close()
        context.destroy(linger=0)
    assert ingest.counters["joints"].refused > 0
    assert {sample.topic for sample in samples(items)} == {"camera", "instruction"}
    for sample in samples(items)[:-1]:
        assert isinstance(sample.data, Image)
        assert (sample.data.pixels == pixels).all()
    said = samples(items)[-1].data
    assert isinstance(said, Instruction)
    assert said.text == "to the ? ball"
