"""What the G1 policy is trained and judged on: frames with the second of commands that follows each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tools.lerobot.dataset import Dataset, Episode, Floats, Pixels
from tools.lerobot.samples import Motion, read_motion
from vlad.policy.pictures import resize_area

CAMERA = "observation.images.cam_high"
HORIZON = 30
"""Steps of a chunk: one second at the 30 Hz of the recordings."""
IMAGE_HEIGHT, IMAGE_WIDTH = 60, 80
_MOVES = 0.03


@dataclass(frozen=True, slots=True)
class Frames:
    """Frames of several episodes one after the other.

    images (n, IMAGE_HEIGHT, IMAGE_WIDTH, 3) uint8 RGB, resized as the daemon resizes; joints (n, joints);
    `chunk` (n, HORIZON, joints); `episode` (n,) has the number of the episode that a frame is from.
    """

    images: Pixels
    state: Floats
    target: Floats
    target_velocity: Floats
    chunk: Floats
    episode: NDArray[np.int64]


def future_actions(action: Floats) -> Floats:
    """(n, HORIZON, joints): the command of each frame and the ones after it; past the end, the last one."""
    steps = np.arange(len(action))[:, None] + np.arange(HORIZON)
    chunks: Floats = action[np.minimum(steps, len(action) - 1)]
    return chunks


def load_frames(dataset: Dataset, episodes: list[Episode], progress: Callable[[], object]) -> Frames:
    """Decode `episodes`, calling `progress` after each; DatasetError where one cannot be read."""
    images: list[Pixels] = []
    motions: list[Motion] = []
    for episode in episodes:
        size = (IMAGE_HEIGHT, IMAGE_WIDTH)
        images.append(np.stack([resize_area(pixels, size) for pixels in dataset.frames(episode, CAMERA)]))
        motions.append(read_motion(dataset, episode))
        progress()
    return Frames(
        np.concatenate(images),
        np.concatenate([motion.state for motion in motions]),
        np.concatenate([motion.target for motion in motions]),
        np.concatenate([motion.target_velocity for motion in motions]),
        np.concatenate([future_actions(motion.action) for motion in motions]),
        np.repeat([episode.index for episode in episodes], [episode.length for episode in episodes]),
    )


def moving_joints(frames: Frames) -> list[int]:
    """Joints whose command varies within an episode.

    The others stand still, each at a value of its own in each episode: as an input they would only tell the
    network which episode it is looking at.
    """
    commands = frames.chunk[:, 0]
    spread = [commands[frames.episode == index].std(axis=0) for index in np.unique(frames.episode)]
    return [int(joint) for joint in np.flatnonzero(np.mean(spread, axis=0) > _MOVES)]
