"""The G1 policy's trainer and evaluation: what it learns from, the bundle it writes, the errors it prints."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs the extra torch")

import torch

from tests.tools.lerobot_folders import LENGTHS, make_v2, make_v3, motion
from tools.lerobot.dataset import Dataset
from tools.training import g1, g1_evaluate, g1_fit
from tools.training.g1_data import HORIZON, Frames, future_actions, load_frames, moving_joints
from tools.training.g1_fit import fit, normalised_joints, predict
from tools.training.g1_model import ChunkNet, measure
from vlad.clock import SystemClock
from vlad.policy.bundle import load_bundle
from vlad.policy.policy import Policy

JOINTS = ("shoulder", "elbow", "wrist")


def frames_of(folder: Path, indices: tuple[int, ...] = (1, 4)) -> Frames:
    dataset = Dataset(make_v2(folder, JOINTS))
    return load_frames(dataset, [dataset.episode(index) for index in indices], lambda: None)


def test_a_chunk_is_the_second_that_follows_and_past_the_end_the_last_command() -> None:
    action = np.arange(40, dtype=np.float32)[:, None]
    chunks = future_actions(action)
    assert chunks.shape == (40, HORIZON, 1)
    assert chunks[3, :, 0].tolist() == list(range(3, 33))
    assert chunks[38, :, 0].tolist() == [38] + [39] * 29


def test_frames_of_several_episodes_do_not_run_into_each_other(tmp_path: Path) -> None:
    frames = frames_of(tmp_path)
    assert frames.episode.tolist() == [1] * LENGTHS[1] + [4] * LENGTHS[4]
    _, action = motion(1, len(JOINTS))
    np.testing.assert_array_equal(frames.chunk[LENGTHS[1] - 1], np.tile(action[-1], (HORIZON, 1)))


def test_joints_that_stand_still_within_an_episode_are_no_input(tmp_path: Path) -> None:
    frames = frames_of(tmp_path)
    frames.chunk[:, :, 1] = frames.episode[:, None]  # another value in each episode, the same all along
    assert moving_joints(frames) == [0, 2]


def test_an_untrained_network_holds_the_target_nearly(tmp_path: Path) -> None:
    """It starts from holding still, which is the baseline."""
    frames = frames_of(tmp_path)
    statistics = measure(frames)
    net = ChunkNet(statistics).eval()
    with torch.no_grad():
        for parameter in net.head[-1].parameters():
            parameter.zero_()
    held = np.repeat(frames.target[:, None], HORIZON, axis=1)
    np.testing.assert_allclose(predict(net, frames, statistics), held, atol=1e-5)


def test_training_is_repeatable_and_lowers_the_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(g1_fit, "_WARM_STEPS", 1)
    monkeypatch.setattr(g1_fit, "_BATCH", 32)
    frames = frames_of(tmp_path)
    statistics = measure(frames)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    losses: list[float] = []
    first = fit(frames, statistics, 7, 40, losses.append)
    again = fit(frames, statistics, 7, 40, lambda _: None)
    torch.set_num_threads(threads)
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])
    for one, other in zip(first.state_dict().values(), again.state_dict().values(), strict=True):
        torch.testing.assert_close(one, other)


def test_inputs_are_normalised_to_zero_mean_and_unit_spread(tmp_path: Path) -> None:
    frames = frames_of(tmp_path)
    for values in normalised_joints(frames, measure(frames)):
        assert values.mean(0).abs().max() < 1e-3
        assert (values.std(0, correction=0) - 1).abs().max() < 0.01


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A tiny dataset and the bundle that tools/train_g1 made of it."""
    folder = tmp_path_factory.mktemp("g1")
    data, bundle = make_v2(folder / "data", JOINTS), folder / "bundle"
    (data / "LICENSE").write_text("MIT License\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(g1, "_MEMBERS", 2)
        g1.main([str(data), "--steps", "8", "--out", str(bundle)])
    return data, bundle


def test_the_bundle_is_whole_and_carries_the_notice_of_its_data(trained: tuple[Path, Path]) -> None:
    bundle = load_bundle(trained[1])
    assert (trained[1] / "DATA-LICENSE").read_text() == "MIT License\n"
    assert bundle.manifest.output.names == JOINTS
    assert bundle.manifest.output.step_s == pytest.approx(1 / 30)
    assert bundle.manifest.provenance["trained_episodes"] == [1, 4]
    assert bundle.manifest.provenance["validated_episodes"] == [27]


def test_the_daemons_policy_says_what_the_trainer_measured(trained: tuple[Path, Path]) -> None:
    data, folder = trained
    dataset, bundle = Dataset(data), load_bundle(folder)
    policy = Policy(bundle, SystemClock())
    errors = g1_evaluate.evaluate(policy, dataset, dataset.episode(27), SystemClock())
    policy.close()
    provenance = bundle.manifest.provenance
    assert errors.policy == pytest.approx(provenance["mean_absolute_error"], abs=2e-5)
    assert errors.hold_last_command == pytest.approx(provenance["hold_last_command_error"], abs=2e-5)


@pytest.mark.parametrize("make", [make_v2, make_v3])
def test_evaluation_prints_both_errors_of_the_episodes_not_trained_on(
    trained: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], make
) -> None:
    data = make(tmp_path / "other", JOINTS)
    g1_evaluate.main([str(data), "--bundle", str(trained[1]), "--json"])
    figures = json.loads(capsys.readouterr().out)
    assert [row["episode"] for row in figures["episodes"]] == [27]
    _, action = motion(27, len(JOINTS))
    chunks = future_actions(action)
    hold = np.abs(chunks - action[:, None]).mean()
    assert figures["hold_last_command"] == pytest.approx(hold, abs=1e-5)
    assert figures["ratio"] == pytest.approx(figures["policy"] / hold, rel=1e-3)


def test_chosen_episodes_are_evaluated_and_shown_as_a_table(
    trained: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    g1_evaluate.main([str(trained[0]), "--bundle", str(trained[1]), "--episodes", "1,4"])
    shown = capsys.readouterr().out
    assert "hold last command" in shown
    assert "mean absolute error over one second" in shown


def test_data_of_another_robot_is_refused(trained: tuple[Path, Path], tmp_path: Path) -> None:
    data = make_v2(tmp_path, ("wrist", "elbow", "shoulder"))
    with pytest.raises(SystemExit, match="is not the joints of g1/1 in their order"):
        g1_evaluate.main([str(data), "--bundle", str(trained[1])])


def test_episodes_that_are_not_there_are_said(trained: tuple[Path, Path]) -> None:
    with pytest.raises(SystemExit, match="name some of 1, 4, 27 with --episodes"):
        g1_evaluate.main([str(trained[0]), "--bundle", str(trained[1]), "--episodes", "50-60"])
    with pytest.raises(SystemExit, match="has none of the episodes 50 to 60"):
        g1.main([str(trained[0]), "--train", "50-60"])


def test_training_without_the_licence_of_the_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="must carry the licence of the data"):
        g1.main([str(make_v2(tmp_path, JOINTS)), "--out", str(tmp_path / "bundle")])
