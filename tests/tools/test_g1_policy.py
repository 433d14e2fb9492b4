"""The committed G1 policy, its robot's limits and settings, against the real recordings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.tools.lerobot_folders import SHARED
from tools.lerobot.dataset import Dataset
from tools.training import g1_evaluate
from vlad.clock import SystemClock
from vlad.config import load_robot, load_settings
from vlad.policy.bundle import load_bundle
from vlad.policy.policy import Policy

ROOT = Path(__file__).parents[2]
TICK_HZ = 100
_MIB = 1 << 20
recordings = pytest.mark.skipif(not SHARED.is_dir(), reason="the recordings are not in ../shared/data here")


def test_the_committed_bundle_fits_its_settings_and_its_robot() -> None:
    settings, robot = load_settings(ROOT / "etc" / "g1.toml")
    assert settings.policy.bundle is not None
    bundle = load_bundle(settings.policy.bundle, robot, settings.signals)
    assert list(bundle.manifest.output.names) == list(robot.axes)
    assert "MIT License" in (bundle.folder / "DATA-LICENSE").read_text()
    assert sum(path.stat().st_size for path in bundle.folder.iterdir()) < 25 * _MIB
    policy = Policy(bundle, SystemClock())
    policy.warm_up()
    policy.close()


@recordings
def test_the_recorded_commands_pass_the_robots_limits() -> None:
    """Straight between frames and sent at 100 Hz, 99.9% of them; none leaves the joints' ranges."""
    robot = load_robot(ROOT / "etc" / "robots" / "g1.toml")
    dataset = Dataset(SHARED)
    assert tuple(robot.axes) == dataset.names("action")
    commands = []
    for episode in dataset.episodes:
        action = dataset.column(episode, "action").astype(float)
        ticks = np.arange(0, len(action) - 1, dataset.fps / TICK_HZ)
        recorded = np.arange(len(action))
        commands.append(np.stack([np.interp(ticks, recorded, joint) for joint in action.T], axis=1))
    speed = np.concatenate([np.abs(np.diff(command, axis=0)) * TICK_HZ for command in commands])
    change = np.concatenate([np.abs(np.diff(command, n=2, axis=0)) * TICK_HZ**2 for command in commands])
    axes = list(robot.axes.values())
    for number, axis in enumerate(axes):
        assert np.percentile(speed[:, number], 99.9) < axis.velocity / 1.2
        assert np.percentile(change[:, number], 99.9) < axis.acceleration / 1.2
    everything = np.concatenate(commands)
    assert (everything >= [axis.lower for axis in axes]).all()
    assert (everything <= [axis.upper for axis in axes]).all()


@recordings
def test_the_committed_policy_beats_holding_the_last_command() -> None:
    """On one validation episode; tools/evaluate judges all of them."""
    dataset, bundle = Dataset(SHARED), load_bundle(ROOT / "tools" / "models" / "g1" / "1")
    policy = Policy(bundle, SystemClock())
    errors = g1_evaluate.evaluate(policy, dataset, dataset.episode(30), SystemClock())
    policy.close()
    assert errors.policy < 0.6 * errors.hold_last_command
