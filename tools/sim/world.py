"""Seeded worlds: a walled room, coloured shapes to drive to, grey obstacles to drive around.

Everything is planar geometry in the room's frame (origin in the room's centre, metres, radians); `scene`
makes the MuJoCo model of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Kind = Literal["ball", "cylinder", "box"]
Pose = tuple[float, float, float]

ROBOT_RADIUS_M = 0.18
KINDS: tuple[Kind, ...] = ("ball", "cylinder", "box")
COLOURS = ("red", "green", "blue", "yellow")

_PASSAGE_M = 0.75  # free width between any two things: the robot, and 0.2 m on each side
_BETWEEN_TARGETS_M = 0.9
_TARGET_TO_WALL_M = 0.4
_START_GAP_M = 0.4
_START_TO_OBSTACLE_M = 0.55
_START_TO_TARGET_M = 1.2
_START_APART_RAD = 0.3
_TARGET_SIZES: dict[Kind, tuple[float, float]] = {
    "ball": (0.2, 0.4),
    "cylinder": (0.14, 0.5),
    "box": (0.18, 0.36),
}
_TRIES = 100


class NoRoomError(Exception):
    """No free place was found for a thing; the world is drawn again."""


@dataclass(frozen=True, slots=True)
class Thing:
    """A shape or an obstacle on the floor. `half_x`, `half_y` are radii for a ball and a cylinder."""

    kind: Kind
    colour: str
    x: float
    y: float
    yaw: float
    half_x: float
    half_y: float
    height: float

    @property
    def name(self) -> str:
        """What an instruction calls it, e.g. "red ball"."""
        return f"{self.colour} {self.kind}"

    def gap(self, points: Array) -> Array:
        """Distance from each of the points (N,2) to the surface [m], 0 inside."""
        offset = points - (self.x, self.y)
        if self.kind != "box":
            return np.maximum(np.hypot(offset[:, 0], offset[:, 1]) - self.half_x, 0.0)
        cos, sin = math.cos(self.yaw), math.sin(self.yaw)
        along = np.abs(offset[:, 0] * cos + offset[:, 1] * sin) - self.half_x
        across = np.abs(offset[:, 1] * cos - offset[:, 0] * sin) - self.half_y
        return np.hypot(np.maximum(along, 0.0), np.maximum(across, 0.0))

    @property
    def radius(self) -> float:
        """Of the circle around its footprint [m]."""
        return math.hypot(self.half_x, self.half_y) if self.kind == "box" else self.half_x


@dataclass(frozen=True, slots=True)
class World:
    """A room of `size_x` x `size_y` metres; `floor_grey`, `wall_grey` (0..1) and `light_rad` are its look."""

    seed: int
    size_x: float
    size_y: float
    targets: tuple[Thing, ...]
    obstacles: tuple[Thing, ...]
    start: Pose
    floor_grey: float
    wall_grey: float
    light_rad: float

    @property
    def things(self) -> tuple[Thing, ...]:
        """Targets, then obstacles."""
        return self.targets + self.obstacles

    def target(self, name: str) -> Thing:
        """The target called `name`, e.g. "red ball". KeyError if the world has none."""
        for thing in self.targets:
            if thing.name == name:
                return thing
        raise KeyError(name)

    def wall_gap(self, points: Array) -> Array:
        """Distance from each of the points (N,2) to the nearest wall [m]."""
        half = np.array([self.size_x, self.size_y]) / 2
        return np.asarray(np.maximum((half - np.abs(points)).min(axis=1), 0.0))

    def gap(self, points: Array) -> Array:
        """Distance from each of the points (N,2) to the nearest surface of anything [m]."""
        nearest = self.wall_gap(points)
        for thing in self.things:
            np.minimum(nearest, thing.gap(points), out=nearest)
        return nearest


def make_world(seed: int) -> World:
    """The world of this seed: 2 to 4 targets, 1 to 4 obstacles, one of them often right in the way."""
    rng = np.random.default_rng(seed)
    while True:
        try:
            return _draw(seed, rng)
        except NoRoomError:
            continue


def _draw(seed: int, rng: np.random.Generator) -> World:
    world = World(
        seed=seed, size_x=rng.uniform(5.0, 6.0), size_y=rng.uniform(5.0, 6.0), targets=(), obstacles=(),
        start=(0.0, 0.0, 0.0), floor_grey=rng.uniform(0.35, 0.6), wall_grey=rng.uniform(0.6, 0.9),
        light_rad=rng.uniform(-math.pi, math.pi),
    )  # fmt: skip
    for name in _target_names(rng, count=int(rng.integers(2, 5))):
        world = replace(world, targets=(*world.targets, _place_target(rng, world, *name)))
    world = replace(world, start=_place_start(rng, world))
    for _ in range(int(rng.integers(1, 5))):
        world = replace(world, obstacles=(*world.obstacles, _place_obstacle(rng, world)))
    return world


def _target_names(rng: np.random.Generator, count: int) -> list[tuple[Kind, str]]:
    """Different (kind, colour) pairs; the first two mostly share a word, so that both words must be heard."""
    names: list[tuple[Kind, str]] = []
    shared = rng.random()
    while len(names) < count:
        kind, colour = KINDS[rng.integers(len(KINDS))], COLOURS[rng.integers(len(COLOURS))]
        if len(names) == 1 and shared < 0.4:
            colour = names[0][1]
        elif len(names) == 1 and shared < 0.8:
            kind = names[0][0]
        if (kind, colour) not in names:
            names.append((kind, colour))
    return names


def _spot(rng: np.random.Generator, world: World, margin: float) -> tuple[float, float]:
    half = np.array([world.size_x, world.size_y]) / 2 - margin
    x, y = rng.uniform(-half, half)
    return float(x), float(y)


def _place_target(rng: np.random.Generator, world: World, kind: Kind, colour: str) -> Thing:
    half, height = _TARGET_SIZES[kind]
    for _ in range(_TRIES):
        x, y = _spot(rng, world, _TARGET_TO_WALL_M + half)
        thing = Thing(kind, colour, x, y, rng.uniform(-math.pi, math.pi), half, half, height)
        if all(_between(thing, other) >= _BETWEEN_TARGETS_M for other in world.targets):
            return thing
    raise NoRoomError


def _place_start(rng: np.random.Generator, world: World) -> Pose:
    """Anywhere, looking anywhere, with all targets in different directions and none within reach."""
    for _ in range(_TRIES):
        x, y = _spot(rng, world, _START_GAP_M)
        if world.gap(np.array([[x, y]]))[0] >= _START_GAP_M and _all_apart(world, x, y):
            return x, y, rng.uniform(-math.pi, math.pi)
    raise NoRoomError


def _all_apart(world: World, x: float, y: float) -> bool:
    if any(math.hypot(t.x - x, t.y - y) < _START_TO_TARGET_M for t in world.targets):
        return False
    bearings = sorted(math.atan2(t.y - y, t.x - x) for t in world.targets)
    turns = [
        (after - before) % math.tau
        for before, after in zip(bearings, bearings[1:] + bearings[:1], strict=True)
    ]
    return min(turns) >= _START_APART_RAD


def _place_obstacle(rng: np.random.Generator, world: World) -> Thing:
    """A low grey box or column; the first is mostly put between the start and one of the targets."""
    goal = world.targets[rng.integers(len(world.targets))]
    in_the_way = not world.obstacles and rng.random() < 0.8
    for _ in range(_TRIES):
        kind: Kind = "box" if rng.random() < 0.6 else "cylinder"
        half_x, half_y = rng.uniform(0.12, 0.3), rng.uniform(0.12, 0.2)
        if kind == "cylinder":
            half_x = half_y
        x, y = _spot(rng, world, _PASSAGE_M)
        if in_the_way:
            share = rng.uniform(0.3, 0.7)
            x = world.start[0] + share * (goal.x - world.start[0]) + rng.normal(0.0, 0.1)
            y = world.start[1] + share * (goal.y - world.start[1]) + rng.normal(0.0, 0.1)
        thing = Thing(
            kind, "grey", x, y, rng.uniform(-math.pi, math.pi), half_x, half_y, rng.uniform(0.18, 0.3)
        )
        wall = world.wall_gap(np.array([[x, y]]))[0] - thing.radius
        start = thing.gap(np.array([world.start[:2]]))[0]
        apart = all(_between(thing, other) >= _PASSAGE_M for other in world.things)
        if apart and wall >= _PASSAGE_M and start >= _START_TO_OBSTACLE_M:
            return thing
    raise NoRoomError


def _between(a: Thing, b: Thing) -> float:
    """A lower bound of the free width between two things [m]."""
    return math.hypot(a.x - b.x, a.y - b.y) - a.radius - b.radius
