"""The committed demo policies: the daemon takes them, and they drive.

The figures: `tools/evaluate demo`, `tools/bench chunks`.
"""

from pathlib import Path

import numpy as np
import pytest

from tools.sim.world import make_world
from tools.training.demo_drive import Drive
from tools.training.instructions import NAMES
from vlad.clock import SystemClock
from vlad.config import load_settings
from vlad.policy.bundle import load_bundle
from vlad.policy.follower import Follower
from vlad.policy.policy import Policy
from vlad.policy_settings import PolicySettings

ROOT = Path(__file__).resolve().parents[2]
BUNDLE = ROOT / "tools/models/demo/1"
TAKES_A_PREFIX = ROOT / "tools/models/demo-rtc/1"
SEED = 2_000_001


@pytest.fixture(scope="module")
def setting():
    settings, robot = load_settings(ROOT / "etc/demo.toml")
    policy = Policy(load_bundle(BUNDLE, robot, settings.signals), SystemClock())
    yield policy, settings, robot
    policy.close()


@pytest.mark.parametrize("bundle", [BUNDLE, TAKES_A_PREFIX])
def test_it_is_small(bundle: Path) -> None:
    assert sum(file.stat().st_size for file in bundle.iterdir()) < 8_000_000


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


@pytest.fixture(scope="module")
def conditioned():
    settings, robot = load_settings(ROOT / "etc/demo.toml")
    policy = Policy(load_bundle(TAKES_A_PREFIX, robot, settings.signals), SystemClock())
    yield policy, settings, robot
    policy.close()


class Watched(Follower):
    """Remembers how far each chunk begins from what was promised of it, and how many rows were promised."""

    def __init__(self) -> None:
        super().__init__(PolicySettings(follow="rtc"))
        self.off, self.committed = 0.0, 0
        self._promised = None

    def ahead(self, stamp_ns, step_ns, count):
        prefix = super().ahead(stamp_ns, step_ns, count)
        self._promised = prefix
        return prefix

    def put(self, chunk, now_ns):
        if self._promised is not None:
            rows = self._promised.rows[: self._promised.committed]
            self.committed = max(self.committed, len(rows))
            self.off = max(self.off, float(np.abs(chunk.actions[: len(rows)] - rows).max(initial=0)))
        return super().put(chunk, now_ns)


@pytest.mark.parametrize("which", [0, 1])
def test_told_what_will_be_done_it_goes_on_from_there_and_gets_there_however_late_its_answers_are(
    conditioned, which: int
) -> None:
    world, follower = make_world(SEED), Watched()
    outcome = Drive(world, *conditioned, delay_ticks=44, follower=follower).run(world.targets[which].name)
    assert outcome.reached == world.targets[which].name
    assert not outcome.collided
    assert follower.committed == 5
    assert follower.off < 1e-5


def test_without_a_prefix_it_drives_too(conditioned) -> None:
    world = make_world(SEED)
    outcome = Drive(world, *conditioned, delay_ticks=4).run(world.targets[0].name)
    assert outcome.reached == world.targets[0].name
    assert not outcome.collided
