"""Worlds: seeded, unambiguous, and passable."""

from itertools import combinations

import numpy as np
import pytest

from tools.sim.world import ROBOT_RADIUS_M, Thing, make_world

SEEDS = range(60)


def test_same_seed_gives_the_same_world_and_another_seed_another() -> None:
    assert make_world(3) == make_world(3)
    assert make_world(3) != make_world(4)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_target_has_a_name_of_its_own(seed: int) -> None:
    names = [target.name for target in make_world(seed).targets]
    assert 2 <= len(names) <= 4
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_robot_fits_between_any_two_things_and_the_start_is_free(seed: int) -> None:
    world = make_world(seed)
    assert world.gap(np.array([world.start[:2]]))[0] > 2 * ROBOT_RADIUS_M
    for a, b in combinations(world.things, 2):
        assert np.hypot(a.x - b.x, a.y - b.y) - a.radius - b.radius > 3 * ROBOT_RADIUS_M


def test_many_worlds_need_both_words_and_have_something_in_the_way() -> None:
    worlds = [make_world(seed) for seed in range(200)]
    shares = [
        any(a.kind == b.kind or a.colour == b.colour for a, b in combinations(world.targets, 2))
        for world in worlds
    ]
    assert np.mean(shares) > 0.7
    assert all(1 <= len(world.obstacles) <= 4 for world in worlds)


def test_gap_of_a_turned_box_is_measured_to_its_sides() -> None:
    box = Thing("box", "grey", 1.0, 0.0, np.pi / 2, half_x=0.3, half_y=0.1, height=0.2)
    assert box.gap(np.array([[0.0, 0.0], [1.0, 1.0], [1.05, 0.2]])) == pytest.approx([0.9, 0.7, 0.0])


def test_target_is_found_by_its_name_only() -> None:
    world = make_world(0)
    assert world.target(world.targets[1].name) is world.targets[1]
    with pytest.raises(KeyError):
        world.target("pink unicorn")
