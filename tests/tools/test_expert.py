"""The scripted expert: reaches what it is told to, around obstacles, and searches what it does not see."""

import math

import numpy as np
import pytest

from tools.sim.rover import Rover
from tools.sim.world import ROBOT_RADIUS_M, Thing, World, make_world
from tools.training.expert import HORIZON, REACHED_M, STEP_S, Expert, reached

BOX = Thing("box", "red", 2.0, 0.0, 0.0, 0.18, 0.18, 0.36)
WALL = Thing("box", "grey", 0.9, 0.05, 0.0, 0.1, 0.3, 0.2)


def plan(
    expert: Expert,
    pose: tuple[float, float, float],
    twist: tuple[float, float] = (0.0, 0.0),
    seen: bool = True,
):
    return expert.plan(np.array([0]), np.array([pose]), np.array([twist]), np.array([seen]))


def test_it_searches_by_turning_left_on_the_spot_or_on_the_way_it_turns_already() -> None:
    expert = Expert(World(0, 6.0, 6.0, (BOX,), (), (0.0, 0.0, 0.0), 0.5, 0.7, 0.0))
    commands = plan(expert, (0.0, 0.0, math.pi), seen=False).commands[0]
    assert commands.shape == (HORIZON, 2)
    assert np.all(commands[:, 0] == 0.0)
    assert commands[-1, 1] == pytest.approx(1.0)
    assert plan(expert, (0.0, 0.0, math.pi), (0.0, -0.5), seen=False).commands[0, -1, 1] == pytest.approx(
        -1.0
    )


def test_it_stays_where_it_has_arrived() -> None:
    expert = Expert(World(0, 6.0, 6.0, (BOX,), (), (0.0, 0.0, 0.0), 0.5, 0.7, 0.0))
    assert np.abs(plan(expert, (1.4, 0.0, 0.0)).commands).max() < 0.02


def test_it_drives_around_what_is_in_the_way() -> None:
    world = World(0, 6.0, 6.0, (BOX,), (WALL,), (0.0, 0.0, 0.0), 0.5, 0.7, 0.0)
    expert, pose, twist, nearest = Expert(world), (-0.5, 0.0, 0.0), (0.0, 0.0), 9.0
    for _ in range(12):
        done = plan(expert, pose, twist)
        nearest = min(nearest, world.gap(done.poses[0, :, :2]).min())
        pose, twist = tuple(done.poses[0, 9]), tuple(done.commands[0, 9])
    assert nearest > ROBOT_RADIUS_M + 0.1
    assert reached(BOX, pose, twist)


def test_its_commands_respect_its_accelerations() -> None:
    world = make_world(1)
    commands = plan(Expert(world), world.start).commands[0]
    steps = np.abs(np.diff(commands, axis=0, prepend=np.zeros((1, 2))))
    assert steps[:, 0].max() <= 1.0 * STEP_S + 1e-6
    assert steps[:, 1].max() <= 4.0 * STEP_S + 1e-6


@pytest.mark.parametrize(
    ("pose", "twist", "expected"),
    [
        ((1.4, 0.0, 0.0), (0.0, 0.0), True),
        ((1.4, 0.0, 0.0), (0.2, 0.0), False),
        ((1.4, 0.0, 1.2), (0.0, 0.0), False),
        ((1.8 - REACHED_M - 0.05, 0.0, 0.0), (0.0, 0.0), False),
    ],
)
def test_reached_means_near_facing_and_still(pose, twist, expected) -> None:
    assert reached(BOX, pose, twist) is expected


@pytest.mark.parametrize("seed", range(4))
def test_in_the_physics_it_reaches_its_target_without_a_touch(seed: int) -> None:
    world = make_world(seed)
    rover, expert = Rover(world), Expert(world)
    for _ in range(300):
        rover.command(*map(float, plan(expert, rover.pose, rover.twist).commands[0, 0]))
        for _ in range(10):
            rover.step()
        if reached(world.targets[0], rover.pose, rover.twist):
            break
    assert reached(world.targets[0], rover.pose, rover.twist)
    assert not rover.collided
