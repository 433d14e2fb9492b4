"""tools/replay: an episode comes over the wire as recorded, on its schedule."""

from __future__ import annotations

import json
import queue
import threading
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import zmq

from tests.tools.lerobot_folders import INSTRUCTION, LENGTHS, brightness, make_v2, make_v3, motion
from tools.lerobot import replay
from tools.lerobot.dataset import Dataset, DatasetError
from tools.lerobot.replay import Pictures, Player
from vlad.clock import Clock, FakeClock, SystemClock
from vlad.messages import Image, Instruction, JointState, Sample
from vlad.wire import decode_sample

JOINTS = ("shoulder", "elbow", "wrist")


def pass_time(clock: Clock, seconds: float) -> None:
    """On the clock that the schedule is held by; and really, as sockets take time to connect and to send."""
    assert isinstance(clock, FakeClock)
    clock.advance(seconds)
    time.sleep(4 * seconds)  # a picture is only kept until two more have come


class Listener:
    """A bound SUB socket, as vlad's, that a thread reads; and all samples that came."""

    def __init__(self, folder: Path) -> None:
        self.clock: Clock = FakeClock()
        self.endpoint = f"ipc://{folder}/s"
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.SUB)
        self._socket.subscribe(b"")
        self._socket.bind(self.endpoint)
        self._came: queue.Queue[Sample] = queue.Queue()
        self._pictures = 0
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def samples(self, until: int) -> dict[str, list[Sample]]:
        """By topic, in order, until `until` of each have come: the topics' sockets keep no common order."""
        found: dict[str, list[Sample]] = {}
        while min(len(found.get(topic, ())) for topic in ("cam_high", "joints", "targets")) < until:
            sample = self._came.get(timeout=10)
            found.setdefault(sample.topic, []).append(sample)
        return found

    def player(self, dataset: Dataset) -> Player:
        """Plays episode 27, each frame once the picture before it was read, however long that takes."""

        def sleep(seconds: float) -> None:
            pass_time(self.clock, seconds)
            end_s = time.monotonic() + 10
            while self._pictures < player.played and time.monotonic() < end_s:
                time.sleep(0.001)

        player = Player(dataset, dataset.episode(27), self.clock, sleep)
        return player

    def close(self) -> None:
        self._closed.set()
        self._thread.join()
        self._context.destroy(linger=0)

    def _read(self) -> None:
        while not self._closed.is_set():
            if self._socket.poll(50):
                frames = self._socket.recv_multipart()
                self._came.put(decode_sample(frames, self.clock.now_ns(), self.clock.wall_ns()))
                self._pictures += frames[0] == b"cam_high"


@pytest.fixture
def listener(tmp_path: Path):
    listener = Listener(tmp_path)
    yield listener
    listener.close()


@pytest.mark.parametrize("make", [make_v2, make_v3])
def test_an_episode_comes_over_the_wire_frame_by_frame(tmp_path: Path, listener: Listener, make) -> None:
    dataset = Dataset(make(tmp_path / "data", JOINTS))
    listener.player(dataset).play(listener.endpoint, rate=1.0, loop=False)
    count = LENGTHS[27]
    found = listener.samples(until=count)
    state, action = motion(27, len(JOINTS))
    for frame in range(count):
        picture, joints, targets = (found[t][frame].data for t in ("cam_high", "joints", "targets"))
        assert isinstance(picture, Image)
        assert picture.encoding == "rgb8"
        assert abs(picture.pixels.mean() - brightness(27, frame)) < 4
        assert isinstance(joints, JointState)
        assert joints.names == JOINTS
        np.testing.assert_array_equal(joints.position, state[frame])
        assert isinstance(targets, JointState)
        np.testing.assert_array_equal(targets.position, action[frame - 1] if frame else state[0])
        assert targets.velocity is not None
    instruction = found["instruction"][0].data
    assert isinstance(instruction, Instruction)
    assert (instruction.text, instruction.source) == (INSTRUCTION, "dataset")


def test_frames_are_sent_at_absolute_deadlines(tmp_path: Path, listener: Listener) -> None:
    """A frame that was late does not make the ones after it late."""
    dataset = Dataset(make_v2(tmp_path / "data", JOINTS))
    clock = listener.clock
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        late_s = 0.01 if len(slept) == 4 else 0
        pass_time(clock, seconds + late_s)

    player = Player(dataset, dataset.episode(1), clock, sleep)
    player.play(listener.endpoint, rate=2.0, loop=False)
    late_ms = [round(late / 1e6) for late in player.late_ns]
    assert late_ms == [0, 0, 0, 10, 0, 0, 0, 0, 0]
    summary = player.summary(2.0)
    assert (summary.frames, summary.passes, summary.wanted_rate_hz) == (9, 1, 60.0)
    assert summary.rate_hz == pytest.approx(60, rel=0.01)
    assert summary.lateness_max_ms == pytest.approx(10, abs=0.1)


def test_a_loop_begins_anew_until_it_is_interrupted(tmp_path: Path, listener: Listener) -> None:
    dataset = Dataset(make_v2(tmp_path / "data", JOINTS))
    clock = listener.clock
    frames = 2 * LENGTHS[4] + 3

    def sleep(seconds: float) -> None:
        pass_time(clock, seconds)
        if player.played == frames:
            raise KeyboardInterrupt

    player = Player(dataset, dataset.episode(4), clock, sleep)
    with pytest.raises(KeyboardInterrupt):
        player.play(listener.endpoint, rate=1.0, loop=True)
    summary = player.summary(1.0)
    assert (summary.frames, summary.passes) == (frames, 2)
    found = listener.samples(until=frames)
    state, _ = motion(4, len(JOINTS))
    again = found["joints"][LENGTHS[4]].data
    assert isinstance(again, JointState)
    np.testing.assert_array_equal(again.position, state[0])


def test_the_buffer_is_bounded(tmp_path: Path) -> None:
    dataset = Dataset(make_v2(tmp_path, JOINTS))
    with Pictures(dataset, dataset.episode(1), dataset.cameras[0], loop=True) as pictures:
        pictures.wait_full()
        assert pictures._ready.qsize() == pictures._ready.maxsize


def test_a_video_that_breaks_off_is_said_not_waited_for(tmp_path: Path, listener: Listener) -> None:
    folder = make_v2(tmp_path / "data", JOINTS)
    videos = folder / "videos/chunk-000/observation.images.cam_high"
    (videos / "episode_000027.mp4").write_bytes((videos / "episode_000004.mp4").read_bytes())
    dataset = Dataset(folder)
    clock = listener.clock
    player = Player(dataset, dataset.episode(27), clock, partial(pass_time, clock))
    with pytest.raises(DatasetError, match="ends after 7 of the 11 frames"):
        player.play(listener.endpoint, rate=1.0, loop=False)


def test_the_command_prints_its_summary_as_json(
    tmp_path: Path, listener: Listener, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_v2(tmp_path / "data", JOINTS)
    listener.clock = SystemClock()
    replay.main([str(folder), "--episode", "4", "--rate", "4", "--endpoint", listener.endpoint, "--json"])
    summary = json.loads(capsys.readouterr().out)
    assert (summary["episode"], summary["frames"], summary["wanted_rate_hz"]) == (4, 7, 120.0)
    assert len(listener.samples(until=7)["joints"]) == 7


def test_the_command_says_what_is_wrong_with_the_dataset(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="name the folder of a LeRobot dataset"):
        replay.main([str(tmp_path), "--episode", "1"])


@pytest.mark.parametrize("rate", ["0", "-1", "nan", "fast"])
def test_a_rate_that_is_none_is_refused(tmp_path: Path, rate: str) -> None:
    with pytest.raises(SystemExit):
        replay.main([str(tmp_path), "--episode", "1", "--rate", rate])
