"""The scores of recorded episodes: the policy is shown them as the daemon would show them to it."""

from __future__ import annotations

from collections.abc import Iterable

from tools.calibration.calibrate import Scores
from tools.lerobot.dataset import Dataset, DatasetError, Episode
from tools.lerobot.samples import camera_topic, episode_samples
from vlad.clock import FakeClock
from vlad.messages import Chunk
from vlad.policy.policy import Policy


def score(policy: Policy, dataset: Dataset, episode: Episode, rate_hz: float, clock: FakeClock) -> Scores:
    """Run the policy on an episode, at most so often; DatasetError where that cannot be read or used.

    `policy` runs on `clock`, which goes on by the length of the episode, and by as long as any chunk lasts:
    so no chunk is compared with one of the episode before.
    """
    cameras = [camera for camera in dataset.cameras if camera_topic(camera) in policy.topics]
    every = max(1, round(dataset.fps / rate_hz))
    chunks = []
    for frame, samples in enumerate(episode_samples(dataset, episode, clock, cameras)):
        if absent := [topic for topic in policy.topics if topic not in samples]:
            raise DatasetError(f"{dataset.folder}: has nothing for the policy's {', '.join(absent)}; "
                               f"there are {', '.join(samples)}")  # fmt: skip
        if frame % every == 0:
            chunks.append(policy.infer(samples))
        clock.advance(1 / dataset.fps)
    output = policy.bundle.manifest.output
    clock.advance(output.horizon * output.step_s + 10)
    return largest(chunks)


def largest(chunks: Iterable[Chunk]) -> Scores:
    """The largest value of each measure."""
    scores: dict[str, float] = {}
    for chunk in chunks:
        for doubt in chunk.doubts:
            scores[doubt.measure] = max(scores.get(doubt.measure, 0.0), doubt.value)
    return scores
