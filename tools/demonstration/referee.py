"""The referee: which object the robot is told to go to, in which words, and whether it got there.

Pure: it sees the ground truth of the simulator and the daemon's mode, and says what to do next.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from tools.sim.world import Pose, Thing, World, make_world
from tools.training.expert import reached
from tools.training.instructions import NAMES, wordings

FIRST_SEED = 3_000_000  # worlds that neither training nor evaluation has seen
_WORLDS_PER_RUN = 1_000
_EPISODES_PER_WORLD = 3
_PAUSE_S = 1.2
_ESTOP_PAUSE_S = 5.0
_HELD_S = 5.0  # a stop that has not cleared by itself after this long will not
_MOVING = ("active", "degraded")


@dataclass(frozen=True, slots=True)
class Truth:
    """What is really so: pose in the room, twist [m/s, rad/s], whether it touched anything in this world."""

    pose: Pose
    twist: tuple[float, float]
    collided: bool


@dataclass(frozen=True, slots=True)
class NewWorld:
    """Put the robot, disarmed, into the world of this seed and arm it; then call `Referee.placed`."""

    seed: int


@dataclass(frozen=True, slots=True)
class Tell:
    """Give this instruction."""

    text: str


@dataclass(frozen=True, slots=True)
class Judge:
    """The episode is over: publish this result. `outcome` is reached, too slow, collision or stopped."""

    task: str
    success: bool
    outcome: str
    took_s: float


Act: TypeAlias = NewWorld | Tell | Judge


@dataclass(slots=True)
class Score:
    """What has been counted so far; `outcomes` by their name."""

    episodes: int = 0
    worlds: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)

    @property
    def successes(self) -> int:
        return self.outcomes["reached"]

    @property
    def collisions(self) -> int:
        return self.outcomes["collision"]


def named_object(text: str) -> str:
    """The object that an instruction names, such as "red ball"; empty if it names none that can exist."""
    words = {word.strip(".,;:!?\"'") for word in text.lower().split()}
    named = [name for name in NAMES if any(set(known.split()) <= words for known in wordings(name))]
    return named[0] if len(named) == 1 else ""


class Referee:
    """Call `turn` some times a second and do what it says. Times are seconds of one steady clock.

    `task`: always this instruction, in place of drawn ones. One that names no object is given and not judged.
    """

    def __init__(self, seed: int, *, task: str | None = None, limit_s: float = 45.0) -> None:
        self.score = Score()
        self.world: World | None = None
        self.goal: Thing | None = None
        self.task = ""
        self.trail: deque[tuple[float, float]] = deque(maxlen=600)
        self.last: Judge | None = None
        self._fixed = task
        self._object = named_object(task) if task else ""
        self._limit_s = limit_s
        self._rng = np.random.default_rng([seed, 1])
        self._next_seed = FIRST_SEED + seed * _WORLDS_PER_RUN
        self._wait_until_s = 0.0
        self._began_s: float | None = None
        self._moved_s = 0.0
        self._here = 0
        self._spoilt = False

    def placed(self, world: World, now_s: float) -> None:
        """The robot is in this world and armed."""
        self.world, self.goal, self._here, self._spoilt = world, None, 0, False
        self.score.worlds += 1
        self._wait_until_s = now_s + _PAUSE_S
        self.trail.clear()

    def turn(self, now_s: float, truth: Truth, mode: str) -> Act | None:
        """What to do now; None: nothing. `mode` is the daemon's."""
        self._follow(truth.pose)
        if self._began_s is not None:
            return self._watch(now_s, self._began_s, truth, mode)
        if now_s < self._wait_until_s:
            return None
        if self.world is None or self._spoilt or self._here >= self._episodes_here():
            return NewWorld(self._draw_seed())
        return self._tell(now_s, self.world, truth)

    def gap_m(self, pose: Pose) -> float | None:
        """From the robot's centre to the goal's surface; None without a goal."""
        return None if self.goal is None else float(self.goal.gap(np.array([pose[:2]]))[0])

    def _follow(self, pose: Pose) -> None:
        if not self.trail or math.dist(self.trail[-1], pose[:2]) > 0.03:
            self.trail.append(pose[:2])

    def _watch(self, now_s: float, began_s: float, truth: Truth, mode: str) -> Act | None:
        if mode in _MOVING:
            self._moved_s = now_s
        outcome = ""
        if truth.collided:
            outcome = "collision"
        elif self.goal is not None and reached(self.goal, truth.pose, truth.twist):
            outcome = "reached"
        elif mode == "estop" or now_s - self._moved_s > _HELD_S:
            outcome = "stopped"
        elif self.goal is not None and now_s - began_s > self._limit_s:
            outcome = "too slow"
        if not outcome:
            return None
        self.last = Judge(self.task, outcome == "reached", outcome, now_s - began_s)
        self.score.outcomes[outcome] += 1
        self._spoilt = outcome != "reached"
        self._began_s, self._wait_until_s = None, now_s + (_ESTOP_PAUSE_S if mode == "estop" else _PAUSE_S)
        return self.last

    def _episodes_here(self) -> int:
        return 1 if self._fixed is not None else _EPISODES_PER_WORLD

    def _draw_seed(self) -> int:
        """The next world, with the object of a fixed task in it."""
        while True:
            seed = self._next_seed
            self._next_seed += 1
            if not self._object or any(thing.name == self._object for thing in make_world(seed).targets):
                return seed

    def _tell(self, now_s: float, world: World, truth: Truth) -> Tell:
        if self._fixed is not None:
            self.task = self._fixed
            self.goal = world.target(self._object) if self._object else None
        else:
            others = [thing for thing in world.targets if thing is not self.goal]
            self.goal = others[self._rng.integers(len(others))]
            ways = wordings(self.goal.name)
            self.task = ways[self._rng.integers(len(ways))]
        self.score.episodes += 1
        self._here += 1
        self._began_s = self._moved_s = now_s
        self.trail.clear()
        self.trail.append(truth.pose[:2])
        return Tell(self.task)
