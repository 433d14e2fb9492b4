"""What a robot's drivers would publish at each frame of an episode: for replay, training and evaluation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tools.lerobot.dataset import Dataset, Episode, Floats

STATE, ACTION = "observation.state", "action"
JOINTS_TOPIC, TARGETS_TOPIC = "joints", "targets"
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
