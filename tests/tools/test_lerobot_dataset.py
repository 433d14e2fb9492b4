"""Reading LeRobot datasets: v2.1 and v3 give the same, and what is broken is said."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.tools.lerobot_folders import (
    CAMERA,
    HEIGHT,
    INSTRUCTION,
    LENGTHS,
    SHARED,
    WIDTH,
    brightness,
    make_v2,
    make_v3,
    motion,
)
from tools.lerobot.dataset import Dataset, DatasetError, episode_numbers
from tools.lerobot.samples import read_motion

JOINTS = ("shoulder", "elbow", "wrist")
Maker = Callable[[Path, tuple[str, ...]], Path]
both = pytest.mark.parametrize("make", [make_v2, make_v3])


@both
def test_the_folder_tells_its_robot_rate_cameras_and_joint_names(tmp_path: Path, make: Maker) -> None:
    dataset = Dataset(make(tmp_path, JOINTS))
    assert (dataset.fps, dataset.robot_type, dataset.cameras) == (30, "Unitree_G1_Inspire", (CAMERA,))
    assert dataset.names("observation.state") == dataset.names("action") == JOINTS


@both
def test_every_episode_is_listed_with_its_length_and_instruction(tmp_path: Path, make: Maker) -> None:
    episodes = Dataset(make(tmp_path, JOINTS)).episodes
    assert {episode.index: episode.length for episode in episodes} == LENGTHS
    assert {episode.instruction for episode in episodes} == {INSTRUCTION}


@both
@pytest.mark.parametrize("index", LENGTHS)
def test_an_episode_has_its_own_joints_and_pictures(tmp_path: Path, make: Maker, index: int) -> None:
    dataset = Dataset(make(tmp_path, JOINTS))
    episode = dataset.episode(index)
    state, action = motion(index, len(JOINTS))
    np.testing.assert_array_equal(dataset.column(episode, "observation.state"), state)
    np.testing.assert_array_equal(dataset.column(episode, "action"), action)
    frames = list(dataset.frames(episode, CAMERA))
    assert {frame.shape for frame in frames} == {(HEIGHT, WIDTH, 3)}
    wanted = [brightness(index, frame) for frame in range(LENGTHS[index])]
    np.testing.assert_allclose([frame.mean() for frame in frames], wanted, atol=4)


@both
def test_a_plain_number_is_a_column_of_one(tmp_path: Path, make: Maker) -> None:
    dataset = Dataset(make(tmp_path, JOINTS))
    assert dataset.column(dataset.episode(4), "timestamp").shape == (LENGTHS[4], 1)


def test_targets_are_the_commands_of_the_frame_before(tmp_path: Path) -> None:
    dataset = Dataset(make_v2(tmp_path, JOINTS))
    state, action = motion(1, len(JOINTS))
    seen = read_motion(dataset, dataset.episode(1))
    np.testing.assert_array_equal(seen.target[0], state[0])
    np.testing.assert_array_equal(seen.target[1:], action[:-1])
    np.testing.assert_array_equal(seen.target_velocity[:2], 0)
    np.testing.assert_allclose(seen.target_velocity[5], (action[4] - action[2]) * 15, rtol=1e-5)


def test_nothing_that_the_policy_sees_depends_on_the_command_of_the_frame_itself(tmp_path: Path) -> None:
    dataset = Dataset(make_v2(tmp_path, JOINTS))
    column = dataset.column

    def changed(episode: object, key: str) -> np.ndarray:
        values = column(dataset.episode(1), key).copy()
        if key == "action":
            values[5:] += 10
        return values

    before = read_motion(dataset, dataset.episode(1))
    dataset.column = changed  # type: ignore[assignment, method-assign]
    after = read_motion(dataset, dataset.episode(1))
    np.testing.assert_array_equal(before.target[:6], after.target[:6])
    np.testing.assert_array_equal(before.target_velocity[:6], after.target_velocity[:6])


@both
def test_an_unknown_episode_or_feature_is_named_with_what_there_is(tmp_path: Path, make: Maker) -> None:
    dataset = Dataset(make(tmp_path, JOINTS))
    with pytest.raises(DatasetError, match="no episode 2; there are 1, 4, 27"):
        dataset.episode(2)
    with pytest.raises(DatasetError, match=r"no feature 'effort'; there are observation\.state"):
        dataset.column(dataset.episode(1), "effort")


def test_a_folder_that_is_no_dataset_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"info\.json: cannot be read .* name the folder of a LeRobot"):
        Dataset(tmp_path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [("{", "not valid JSON"), ("{}", "has no codebase_version, fps, features")],
)
def test_a_broken_description_is_said(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta" / "info.json").write_text(text)
    with pytest.raises(DatasetError, match=reason):
        Dataset(tmp_path)


def test_an_unknown_version_is_refused(tmp_path: Path) -> None:
    path = make_v2(tmp_path, JOINTS) / "meta" / "info.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "codebase_version": "v1.6"}))
    with pytest.raises(DatasetError, match=r"version 1\.6; 2\.1 and 3 can be read"):
        Dataset(tmp_path)


def test_a_missing_video_a_short_one_and_a_broken_one_are_said(tmp_path: Path) -> None:
    dataset = Dataset(make_v2(tmp_path, JOINTS))
    videos = tmp_path / f"videos/chunk-000/{CAMERA}"
    (videos / "episode_000027.mp4").write_bytes((videos / "episode_000004.mp4").read_bytes())
    with pytest.raises(DatasetError, match="ends after 7 of the 11 frames of episode 27"):
        list(dataset.frames(dataset.episode(27), CAMERA))
    (videos / "episode_000004.mp4").write_bytes(b"not a video")
    with pytest.raises(DatasetError, match="cannot be decoded"):
        list(dataset.frames(dataset.episode(4), CAMERA))
    (videos / "episode_000001.mp4").unlink()
    with pytest.raises(DatasetError, match="cannot be decoded"):
        list(dataset.frames(dataset.episode(1), CAMERA))


def test_a_length_that_does_not_match_is_said(tmp_path: Path) -> None:
    make_v2(tmp_path, JOINTS)
    path = tmp_path / "meta" / "episodes.jsonl"
    path.write_text(path.read_text().replace('"length": 7', '"length": 8'))
    dataset = Dataset(tmp_path)
    with pytest.raises(DatasetError, match=r"has 7 frames of episode 4, meta/ says 8"):
        dataset.column(dataset.episode(4), "action")


@pytest.mark.parametrize(
    ("text", "numbers"), [("27-29", {27, 28, 29}), ("1,4,7-8", {1, 4, 7, 8}), ("5", {5})]
)
def test_episode_numbers_are_read_from_ranges(text: str, numbers: set[int]) -> None:
    assert episode_numbers(text) == numbers


@pytest.mark.skipif(not SHARED.is_dir(), reason="the recordings are not in ../shared/data here")
def test_the_real_recordings_are_read() -> None:
    dataset = Dataset(SHARED)
    assert len(dataset.episodes) == 30
    assert sum(episode.length for episode in dataset.episodes) == 10128
    episode = dataset.episode(29)
    assert len(dataset.names("action")) == dataset.column(episode, "action").shape[1] == 26
    assert next(dataset.frames(episode, CAMERA)).shape == (480, 640, 3)
