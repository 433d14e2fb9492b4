"""`tools/replay DATASET --episode N`: play a recorded episode onto the wire, as the robot's drivers would.

At each frame: the joints as measured (topic `joints`), what the motor driver then held as its target
(`targets`, see samples.py) and the picture (the camera's short name). The instruction goes out once a second,
so that a vlad which starts later hears it too. To vlad it is also the motor driver, one that moves nothing:
no robot is armed without.
"""

from __future__ import annotations

import argparse
import json
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import numpy as np
from rich.console import Console

from tools.lerobot.dataset import Dataset, DatasetError, Episode, Pixels
from tools.lerobot.samples import JOINTS_TOPIC, STATE, TARGETS_TOPIC, Motion, read_motion
from vlad.clock import NS_PER_S, Clock, SystemClock
from vlad.driver import CommandReceiver, SensorPublisher
from vlad.messages import Image, Instruction, JointState

_AHEAD = 16
"""Frames decoded ahead: half a second of 640x480 pictures is 15 MB."""
_ENDPOINT = "ipc:///run/vlad/sensors.sock"
_SENSORS = "/sensors.sock"
_CONNECT_S = 0.2


@dataclass(frozen=True, slots=True)
class Summary:
    """What was played, and how well the schedule was held."""

    episode: int
    frames: int
    passes: int
    rate_hz: float
    wanted_rate_hz: float
    lateness_p50_ms: float
    lateness_p99_ms: float
    lateness_max_ms: float


class Pictures:
    """The frames of one camera, again and again if `loop`, decoded ahead by a thread in a bounded buffer."""

    def __init__(self, dataset: Dataset, episode: Episode, camera: str, loop: bool) -> None:
        self._decode: Callable[[], object] = lambda: self._fill(dataset, episode, camera, loop)
        self._ready: queue.Queue[Pixels | DatasetError | None] = queue.Queue(_AHEAD)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._decode, name="decode", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._thread.join()

    def next(self) -> Pixels | None:
        """The next frame, read-only; None after the last. DatasetError where the video cannot be decoded."""
        item = self._ready.get()
        if isinstance(item, DatasetError):
            raise item
        return item

    def wait_full(self) -> None:
        """Wait until the buffer is full or the video has ended."""
        while self._thread.is_alive() and not self._ready.full():
            self._thread.join(timeout=0.01)

    def _fill(self, dataset: Dataset, episode: Episode, camera: str, loop: bool) -> None:
        try:
            while True:
                for pixels in dataset.frames(episode, camera):
                    pixels.flags.writeable = False
                    if not self._put(pixels):
                        return
                if not loop:
                    self._put(None)
                    return
        except DatasetError as error:
            self._put(error)

    def _put(self, item: Pixels | DatasetError | None) -> bool:
        while not self._closed.is_set():
            try:
                self._ready.put(item, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False


class Player:
    """Publishes the frames of one episode on absolute deadlines.

    `sleep` waits for a number of seconds; an interruption (KeyboardInterrupt) ends the play in order.
    """

    def __init__(
        self, dataset: Dataset, episode: Episode, clock: Clock, sleep: Callable[[float], object]
    ) -> None:
        self._dataset, self._episode, self._clock, self._sleep = dataset, episode, clock, sleep
        if not dataset.cameras:
            raise DatasetError(f"{dataset.folder}: has no video to play; record one with a camera")
        self._camera = dataset.cameras[0]
        self._names = dataset.names(STATE)
        self._motion: Motion = read_motion(dataset, episode)
        self.played = 0
        self.late_ns: list[int] = []
        self._began_ns = self._ended_ns = 0

    def play(self, endpoint: str, rate: float, loop: bool) -> None:
        """Play at `rate` times the recorded speed; for ever if `loop`."""
        period_ns = NS_PER_S / (self._dataset.fps * rate)
        camera_topic = self._camera.rsplit(".", 1)[-1]
        with ExitStack() as stack:
            camera, joints, targets, instruction = (
                stack.enter_context(SensorPublisher(endpoint, topic, kind, frame_id, self._clock))
                for topic, kind, frame_id in (
                    (camera_topic, "image", camera_topic),
                    (JOINTS_TOPIC, "joint_state", ""),
                    (TARGETS_TOPIC, "joint_state", ""),
                    ("instruction", "instruction", ""),
                )
            )
            if endpoint.endswith(_SENSORS):
                stack.enter_context(CommandReceiver(endpoint.removesuffix(_SENSORS) + "/commands.sock"))
            pictures = stack.enter_context(Pictures(self._dataset, self._episode, self._camera, loop))
            pictures.wait_full()
            self._sleep(_CONNECT_S)  # what is sent before the sockets have met is lost
            self._began_ns = self._clock.now_ns()
            while (pixels := pictures.next()) is not None:
                self._wait(round(self._began_ns + self.played * period_ns))
                frame = self.played % self._episode.length
                if self.played % round(self._dataset.fps) == 0:
                    instruction.publish(Instruction(self._episode.instruction, "dataset"))
                stamp_ns = self._clock.now_ns()
                joints.publish(self._state(frame), stamp_ns)
                targets.publish(self._target(frame, rate), stamp_ns)
                camera.publish(Image("rgb8", pixels), stamp_ns)
                self.played += 1
                self._ended_ns = self._clock.now_ns()

    def summary(self, rate: float) -> Summary:
        """How it went so far."""
        late_ms = np.asarray(self.late_ns or [0]) / 1e6
        seconds = max(self._ended_ns - self._began_ns, 1) / NS_PER_S
        return Summary(
            self._episode.index,
            self.played,
            self.played // self._episode.length,
            round(max(self.played - 1, 0) / seconds, 3),
            round(self._dataset.fps * rate, 3),
            *(round(float(value), 3) for value in (*np.percentile(late_ms, [50, 99]), late_ms.max())),
        )

    def _wait(self, deadline_ns: int) -> None:
        ahead_ns = deadline_ns - self._clock.now_ns()
        if ahead_ns > 0:
            self._sleep(ahead_ns / NS_PER_S)
        self.late_ns.append(self._clock.now_ns() - deadline_ns)

    def _state(self, frame: int) -> JointState:
        return JointState(self._names, position=self._motion.state[frame])

    def _target(self, frame: int, rate: float) -> JointState:
        """Played faster, the targets change faster."""
        velocity = self._motion.target_velocity[frame] * np.float32(rate)
        return JointState(self._names, position=self._motion.target[frame], velocity=velocity)


def main(arguments: list[str]) -> None:
    """Play what the arguments name until its end, or Ctrl-C; then say how well the schedule was held."""
    options = _parse(arguments)
    try:
        dataset = Dataset(options.dataset)
        player = Player(dataset, dataset.episode(options.episode), SystemClock(), time.sleep)
        with suppress(KeyboardInterrupt):
            player.play(options.endpoint, options.rate, options.loop)
    except DatasetError as error:
        sys.exit(str(error))
    summary = player.summary(options.rate)
    if options.json:
        json.dump(asdict(summary), sys.stdout, indent=2)
        sys.stdout.write("\n")
        return
    Console().print(
        f"Episode {summary.episode}: {summary.frames} frames at {summary.rate_hz:.2f} Hz "
        f"(wanted {summary.wanted_rate_hz:.2f}); late by p50 {summary.lateness_p50_ms:.2f}, "
        f"p99 {summary.lateness_p99_ms:.2f}, at most {summary.lateness_max_ms:.2f} ms"
    )


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tools/replay", description=__doc__)
    parser.add_argument("dataset", type=Path, help="folder of a LeRobot dataset, v2.1 or v3")
    parser.add_argument("--episode", type=int, required=True, help="number of the episode")
    parser.add_argument("--loop", action="store_true", help="begin anew at the end, until Ctrl-C")
    parser.add_argument("--rate", type=_positive, default=1.0, help="times the recorded speed (1.0)")
    parser.add_argument("--endpoint", default=_ENDPOINT, help=f"where vlad listens ({_ENDPOINT})")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    return parser.parse_args(arguments)


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be above zero, not {text}")
    return value


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM):  # both end it in order, with its summary
        signal.signal(number, signal.default_int_handler)
    main(sys.argv[1:])
