"""The commands of the README as a user calls them: the shell scripts themselves, with small numbers."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.tools.lerobot_folders import SHARED

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow
recordings = pytest.mark.skipif(not SHARED.is_dir(), reason="the recordings are not in ../shared/data here")


def call(*words: str | Path) -> str:
    """What a script of tools/ prints; it must end well."""
    script = str(ROOT / words[0])
    done = subprocess.run([script, *words[1:]], capture_output=True, text=True, timeout=300, cwd="/")
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_evaluate_demo_drives_unseen_worlds_and_prints_its_targets() -> None:
    report = json.loads(call("tools/evaluate", "demo", "--worlds", "2", "--json"))
    assert report["targets"]
    assert {"name", "value", "limit", "ok"} == set(report["targets"][0])


@recordings
def test_evaluate_g1_prints_the_policys_error_beside_holding_the_last_command() -> None:
    figures = json.loads(call("tools/evaluate", "g1", SHARED, "--episodes", "27", "--json"))
    assert [row["episode"] for row in figures["episodes"]] == [27]


@recordings
def test_replay_plays_an_episode_of_the_recordings_to_its_end(tmp_path: Path) -> None:
    endpoint = f"ipc://{tmp_path}/sensors.sock"
    words = ("--episode", "27", "--rate", "10", "--endpoint", endpoint, "--json")
    figures = json.loads(call("tools/replay", SHARED, *words))
    assert figures["frames"] > 100


@pytest.mark.parametrize("trainer", ["tools/train_demo", "tools/train_g1"])
def test_a_trainer_says_what_it_takes(trainer: str) -> None:
    assert "usage: " + trainer in call(trainer, "--help")


def test_calibrate_drives_simulated_worlds_and_writes_limits(tmp_path: Path) -> None:
    words = ("tools/models/demo/1", "--worlds", "2", "--slow-alpha", "0.5", "--stop-alpha", "0.5")
    bundle = ROOT / words[0]
    figures = json.loads(call("tools/calibrate", bundle, *words[1:], "--state-dir", tmp_path, "--json"))
    assert (tmp_path / "calibration/demo/1.toml").is_file()
    assert figures["measures"]["disagreement"]["slow"] > 0
