"""What a robot's drivers would publish at each frame of an episode: for replay, training and evaluation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tools.lerobot.dataset import Dataset, DatasetError, Episode, Floats
from vlad.clock import Clock
from vlad.messages import Data, Image, Instruction, JointState, Sample

if TYPE_CHECKING:
    from vlad.policy.bundle import Bundle

STATE, ACTION = "observation.state", "action"
JOINTS_TOPIC, TARGETS_TOPIC, TASK_TOPIC = "joints", "targets", "instruction"
_VELOCITY_FRAMES = 2


@dataclass(frozen=True, slots=True)
class Motion:
    """The joints of an episode, (frames, joints) each; radians, and 0 to 1 for fingers.

    `target` is what the motor driver holds when the frame is taken: the command of the frame *before*, as
    that of the frame itself is what the policy must predict. Before the first command it is the measured
    position. `target_velocity` [1/s] is the change of the commands over the last two frames, 0 before that.
    """

    state: Floats
    action: Floats
    target: Floats
    target_velocity: Floats


def read_motion(dataset: Dataset, episode: Episode) -> Motion:
    """The joints of one episode of `dataset`; DatasetError where they cannot be read."""
    state, action = dataset.column(episode, STATE), dataset.column(episode, ACTION)
    target = np.concatenate([state[:1], action[:-1]])
    now = np.maximum(np.arange(len(action)) - 1, 0)
    before = np.maximum(now - _VELOCITY_FRAMES, 0)
    velocity = (action[now] - action[before]) * np.float32(dataset.fps / _VELOCITY_FRAMES)
    return Motion(state, action, target, velocity)


def chosen_episodes(dataset: Dataset, bundle: Bundle, numbers: frozenset[int] | None) -> list[Episode]:
    """The episodes of these numbers; None: all that the bundle does not say it was trained on.

    DatasetError where there are none.
    """
    trained = set(bundle.manifest.provenance.get("trained_episodes", ()))
    chosen = [
        episode
        for episode in dataset.episodes
        if (episode.index not in trained if numbers is None else episode.index in numbers)
    ]
    if not chosen:
        present = ", ".join(str(episode.index) for episode in dataset.episodes)
        raise DatasetError(f"{dataset.folder}: none of its episodes is chosen; "
                           f"name some of {present} with --episodes")  # fmt: skip
    return chosen


def camera_topic(camera: str) -> str:
    """The signal of a camera of the dataset: the last word of its key."""
    return camera.rsplit(".", 1)[-1]


def episode_samples(
    dataset: Dataset, episode: Episode, clock: Clock, cameras: Sequence[str]
) -> Iterator[Mapping[str, Sample]]:
    """At each frame what a policy would see of these cameras and the rest, stamped now, as replay.py sends.

    DatasetError where the episode cannot be read.
    """
    motion, names = read_motion(dataset, episode), dataset.names(STATE)
    pictures = zip(*(dataset.frames(episode, camera) for camera in cameras), strict=True)
    for frame, pixels in enumerate(pictures if cameras else [()] * episode.length):
        data: dict[str, Data] = {
            camera_topic(camera): Image("rgb8", picture)
            for camera, picture in zip(cameras, pixels, strict=True)
        }
        data[JOINTS_TOPIC] = JointState(names, position=motion.state[frame])
        data[TARGETS_TOPIC] = JointState(
            names, position=motion.target[frame], velocity=motion.target_velocity[frame]
        )
        data[TASK_TOPIC] = Instruction(episode.instruction)
        now_ns = clock.now_ns()
        yield {topic: Sample(topic, frame, now_ns, now_ns, "", item) for topic, item in data.items()}
