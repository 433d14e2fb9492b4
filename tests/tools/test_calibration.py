"""tools/calibrate: limits that keep their promise, taken from recordings as the daemon would see them."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.policy.bundles import (
    image_input,
    instruction_input,
    manifest,
    output,
    write_model,
    write_tokenizer,
)
from tests.tools.lerobot_folders import FPS, LENGTHS, make_v2, make_v3
from tools.calibration import __main__ as command
from tools.calibration.calibrate import Alphas, TooFewError, calibrate
from tools.calibration.conformal import least_alpha, least_scores, limit
from tools.calibration.recordings import score
from tools.lerobot.dataset import Dataset, DatasetError
from vlad.clock import FakeClock
from vlad.policy.bundle import load_bundle, write_manifest
from vlad.policy.calibration import manifest_sha256, read_calibration
from vlad.policy.policy import Policy

ROOT = Path(__file__).parents[2]
JOINTS = ("shoulder", "elbow", "wrist")
RISE = 9 / 255 / 0.25
"""How much more the model of `write_bundle` says with each frame of an episode."""
ALPHA = st.floats(0.001, 0.999)

# Conformal prediction


@pytest.mark.parametrize(("count", "alpha"), [(19, 0.1), (9, 0.1), (99, 0.01), (50, 0.25), (7, 0.5)])
def test_the_next_score_is_above_the_limit_as_often_as_promised(count: int, alpha: float) -> None:
    """Over 5,000 draws: never more often but for chance, and not much more rarely either."""
    draws, rng = 5_000, np.random.default_rng(count)
    scores = rng.standard_exponential((draws, count + 1))
    above = sum(row[-1] > limit(row[:-1].tolist(), alpha) for row in scores)
    chance = 4 * math.sqrt(alpha * (1 - alpha) * draws)
    assert draws * (alpha - 1 / (count + 1)) - chance <= above <= draws * alpha + chance


def test_the_promise_holds_where_many_scores_are_equal() -> None:
    draws, alpha, rng = 5_000, 0.1, np.random.default_rng(1)
    scores = rng.integers(0, 3, (draws, 20))
    assert sum(row[-1] > limit(row[:-1].tolist(), alpha) for row in scores) <= draws * alpha


@given(ALPHA)
def test_with_as_many_scores_as_needed_there_is_a_limit_and_with_one_fewer_none(alpha: float) -> None:
    needed = least_scores(alpha)
    scores = list(range(needed))
    assert limit(scores, alpha) == needed - 1
    with pytest.raises(ValueError, match=f"it takes {needed}"):
        limit(scores[1:], alpha)


@given(st.integers(1, 500))
def test_the_least_alpha_is_one_that_so_many_scores_can_promise(count: int) -> None:
    assert least_scores(least_alpha(count) * 1.0001) <= count
    assert least_scores(least_alpha(count) * 0.999) > count


@given(st.lists(st.floats(0, 100), min_size=1, max_size=60), ALPHA, ALPHA, st.randoms())
def test_a_limit_is_a_score_whatever_their_order_and_higher_for_a_smaller_alpha(
    scores: list[float], alpha: float, other: float, random: Any
) -> None:
    low, high = sorted((alpha, other))
    if least_scores(low) > len(scores):
        return
    assert limit(scores, low) in scores
    assert limit(scores, high) <= limit(scores, low)
    shuffled = scores.copy()
    random.shuffle(shuffled)
    assert limit(shuffled, low) == limit(scores, low)


@pytest.mark.parametrize(("alpha", "needed"), [(0.1, 9), (0.01, 99), (0.05, 19), (0.001, 999), (0.2, 4)])
def test_a_tenth_takes_nine_scores_in_spite_of_rounding(alpha: float, needed: int) -> None:
    assert least_scores(alpha) == needed


# Halves


def of_measures(count: int, measures: int, seed: int) -> list[dict[str, float]]:
    values = np.random.default_rng(seed).standard_normal((count, measures)) + 10
    return [{f"m{index}": float(value) for index, value in enumerate(row)} for row in values]


@pytest.mark.parametrize("measures", [1, 2, 3])
def test_of_other_episodes_no_more_are_above_any_limit_than_promised(measures: int) -> None:
    """All measures together, over many calibrations."""
    alphas, trials, above, others = Alphas(0.3, 0.15), 200, 0, 0
    for seed in range(trials):
        episodes = of_measures(81, measures, seed)
        outcome = calibrate(episodes[:80], alphas, seed)
        levels = {name: found.limits.slow for name, found in outcome.measures.items()}
        above += any(episodes[80][name] > level for name, level in levels.items())
        others += sum(found.over_slow for found in outcome.measures.values())
    chance = 4 * math.sqrt(0.3 * 0.7 * trials)
    assert above <= 0.3 * trials + chance
    assert others / (40 * trials) <= 0.3 + 0.05


def test_one_half_calibrates_the_other_is_counted_and_the_lot_can_be_drawn_again() -> None:
    episodes = of_measures(41, 1, 0)
    outcome = calibrate(episodes, Alphas(0.2, 0.1), seed=3)
    assert (outcome.calibrated, outcome.verified) == (21, 20)
    found = outcome.measures["m0"]
    assert found.limits.slow <= found.limits.stop
    assert 0 <= found.over_stop <= found.over_slow < 20
    assert calibrate(episodes, Alphas(0.2, 0.1), seed=3) == outcome
    assert calibrate(episodes, Alphas(0.2, 0.1), seed=4) != outcome


@given(st.integers(0, 60), st.sampled_from([0.01, 0.02, 0.1, 0.3]), st.integers(1, 2))
def test_too_few_episodes_are_refused_with_how_many_more_it_takes(
    count: int, alpha: float, measures: int
) -> None:
    alphas = Alphas(max(alpha, 0.2), alpha)
    episodes = of_measures(count, measures, 0)
    try:
        calibrate(episodes, alphas, 0)
    except TooFewError as error:
        (more,) = map(int, re.findall(r"record (\d+) more", str(error)))
        assert more > 0
        enough = of_measures(count + more, measures, 0)
        if count:
            calibrate(enough, alphas, 0)
            with pytest.raises(TooFewError):
                calibrate(enough[1:], alphas, 0)


def test_too_few_episodes_are_told_what_is_possible_with_them() -> None:
    with pytest.raises(TooFewError) as refused:
        calibrate(of_measures(7, 1, 0), Alphas(0.1, 0.01), 0)
    assert str(refused.value) == (
        "7 episodes are too few: half of them calibrate, and an alpha of 0.01 takes 99; record 190 more, "
        "or give --slow-alpha and --stop-alpha of 0.2 or more"
    )
    calibrate(of_measures(7, 1, 0), Alphas(0.2, 0.2), 0)


# Recordings


def write_bundle(folder: Path, camera: str = "cam_high", **changes: Any) -> Path:
    """Each number of a chunk is the brightness of the picture, normalised."""
    folder.mkdir()
    write_model(folder / "model.onnx", scan=[1, len(JOINTS)])
    write_tokenizer(folder / "tokenizer.json")
    joints = {
        "name": "scan", "kind": "joint_state", "signal": "joints", "field": "position",
        "joints": list(JOINTS), "shape": [1, len(JOINTS)], "mean": [0.0] * 3, "std": [1.0] * 3,
    }  # fmt: skip
    inputs = [image_input(signal=camera), joints, instruction_input()]
    write_manifest(folder, manifest(inputs=inputs, output=output(), **changes))
    return folder


@pytest.mark.parametrize(("rate_hz", "frames_apart"), [(30, 3), (10, 3), (15, 2), (5, 6)])
@pytest.mark.parametrize("make", [make_v2, make_v3])
def test_the_score_of_an_episode_is_its_largest_disagreement(
    tmp_path: Path, make: Any, rate_hz: float, frames_apart: int
) -> None:
    """Each frame is brighter than the one before; what lies a tenth of a second apart is compared."""
    dataset, clock = Dataset(make(tmp_path / "data", JOINTS)), FakeClock()
    policy = Policy(load_bundle(write_bundle(tmp_path / "bundle")), clock)
    for episode in dataset.episodes:
        scores = score(policy, dataset, episode, rate_hz, clock)
        assert scores == {"disagreement": pytest.approx(frames_apart * RISE, rel=0.1)}
    policy.close()


def test_a_recording_without_what_the_policy_reads_says_so(tmp_path: Path) -> None:
    dataset, clock = Dataset(make_v2(tmp_path / "data", JOINTS)), FakeClock()
    policy = Policy(load_bundle(write_bundle(tmp_path / "bundle", camera="wrist")), clock)
    with pytest.raises(DatasetError, match="has nothing for the policy's wrist; there are joints, targets"):
        score(policy, dataset, dataset.episode(1), FPS, clock)
    policy.close()


def call(folder: Path, data: Path, *words: str) -> None:
    command.main([str(folder), str(data), "--state-dir", str(folder.parent / "state"), *words])


def test_limits_are_printed_and_lie_where_the_daemon_finds_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, data = write_bundle(tmp_path / "bundle"), make_v2(tmp_path / "data", JOINTS)
    call(folder, data, "--slow-alpha", "0.4", "--stop-alpha", "0.35", "--json")
    figures = json.loads(capsys.readouterr().out)
    bundle = load_bundle(folder)
    calibration = read_calibration(tmp_path / "state", bundle)
    assert calibration is not None
    limits = figures["measures"]["disagreement"]
    assert calibration.limits() == {"disagreement": (limits["slow"], limits["stop"])}
    assert limits["slow"] == pytest.approx(3 * RISE, rel=0.1)
    assert (figures["episodes"], figures["verified_on"]) == (2, 1)
    assert (figures["alpha_slow"], figures["alpha_stop"]) == (0.4, 0.35)
    assert figures["manifest_sha256"] == manifest_sha256(bundle)
    call(folder, data, "--slow-alpha", "0.4", "--stop-alpha", "0.35")
    shown = capsys.readouterr().out
    for part in ("n = 2 episodes", "alpha 0.4", "alpha 0.35", manifest_sha256(bundle), "1 other episodes"):
        assert part in shown


def test_episodes_that_it_was_trained_on_are_left_out_or_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_bundle(tmp_path / "bundle", provenance={"trained_episodes": [1, 27]})
    data = make_v2(tmp_path / "data", JOINTS)
    with pytest.raises(SystemExit) as refused:
        call(folder, data)
    assert str(refused.value).startswith("1 episodes are too few: half of them calibrate")
    assert not (tmp_path / "state").exists()
    everything = ",".join(str(index) for index in LENGTHS)
    call(folder, data, "--slow-alpha", "0.4", "--stop-alpha", "0.4", "--episodes", everything)
    assert "was trained on 2 of these episodes" in capsys.readouterr().err


@pytest.mark.parametrize(("words", "said"), [
    ([], "name at least one DATASET"), (["x", "--worlds", "3"], "name at least one DATASET"),
    (["x", "--slow-alpha", "0.1", "--stop-alpha", "0.2"], "must not be above --slow-alpha"),
    (["x", "--slow-alpha", "0"], "0 is not between 0 and 1"), (["x", "--rate-hz", "-1"], "-1 is not above 0"),
    (["x", "--rate-hz", "nan"], "nan is not above 0"),
])  # fmt: skip
def test_words_that_make_no_sense_are_refused(
    capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    with pytest.raises(SystemExit):
        command.main(["bundle", *words])
    assert said in capsys.readouterr().err


def test_a_policy_for_another_robot_does_not_drive_the_rover(tmp_path: Path) -> None:
    with pytest.raises(
        SystemExit, match=r"robot_type: made for 'Unitree_G1_Inspire', this robot is a 'rover'"
    ):
        command.main([str(ROOT / "tools/models/g1/1"), "--worlds", "2", "--state-dir", str(tmp_path)])


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    folder, data = write_bundle(tmp_path / "bundle"), make_v2(tmp_path / "data", JOINTS)
    (tmp_path / "state").write_text("a file")
    with pytest.raises(SystemExit, match="name another folder with --state-dir"):
        call(folder, data, "--slow-alpha", "0.4", "--stop-alpha", "0.4")
