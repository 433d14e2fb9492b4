"""The committed demo policy: the daemon takes it, and it drives (the figures: `tools/evaluate demo`)."""

from pathlib import Path

import pytest

from tools.sim.world import make_world
from tools.training.demo_drive import Drive
from tools.training.instructions import NAMES
from vlad.clock import SystemClock
from vlad.config import load_settings
from vlad.policy.bundle import load_bundle
from vlad.policy.policy import Policy

ROOT = Path(__file__).resolve().parents[2]
BUNDLE = ROOT / "tools/models/demo/1"
SEED = 2_000_001


@pytest.fixture(scope="module")
def setting():
    settings, robot = load_settings(ROOT / "etc/demo.toml")
    policy = Policy(load_bundle(BUNDLE, robot, settings.signals), SystemClock())
    yield policy, settings, robot
    policy.close()


def test_it_is_small() -> None:
    assert sum(file.stat().st_size for file in BUNDLE.iterdir()) < 8_000_000


@pytest.mark.parametrize("which", [0, 1])
def test_it_goes_to_the_target_it_is_told_without_a_touch(setting, which: int) -> None:
    world = make_world(SEED)
    outcome = Drive(world, *setting, delay_ticks=4).run(world.targets[which].name)
    assert outcome.reached == world.targets[which].name
    assert not outcome.collided


def test_told_of_something_that_is_not_there_it_goes_to_nothing_and_touches_nothing(setting) -> None:
    world = make_world(SEED)
    absent = next(name for name in NAMES if name not in [target.name for target in world.targets])
    outcome = Drive(world, *setting, delay_ticks=4).run(absent)
    assert outcome.reached is None
    assert not outcome.collided
