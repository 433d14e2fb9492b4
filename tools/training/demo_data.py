"""Episodes for the demo policy: what the robot saw, and what the expert would have done for each instruction.

An episode is driven by the expert with disturbances, or by the policy in training (DAgger: the policy meets
the states that its own mistakes lead to, and the expert labels them). Each frame is labelled for every target
of its world and for an absent one, so that the same picture comes with several instructions.

For a policy that takes a prefix each label begins with what was done from the frame on, for a number of rows
that is drawn, and goes on with what the expert would do where that led; an episode that the policy drives has
answers that come so many rows late.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from tools.sim.rover import Rover
from tools.sim.sensors import Camera, Laser
from tools.sim.world import ROBOT_RADIUS_M, Array, Pose, World, make_world
from tools.training.demo_frames import SLOTS, Frames, Tally, Track
from tools.training.demo_model import (
    FOLLOWED,
    IMAGE_HEIGHT,
    IMAGE_WIDTH,
    MAP_HEIGHT,
    MAP_WIDTH,
    SCAN_BEAMS,
)
from tools.training.expert import HORIZON, STEP_S, Expert, advance, reached
from tools.training.instructions import NAMES

SCAN_RANGE_M = 6.0
FRAMES = 180  # of an episode, STEP_S apart

_SEEN_PIXELS = 12
_NOT_SEEN = MAP_HEIGHT * MAP_WIDTH
_CANDIDATES = 3
_REST = 8  # frames at rest in front of a target before the next task
_PATIENCE = 150  # frames for a task
_TICKS = round(STEP_S / 0.01)
_MARGIN_M = 0.02
_DISTURB_GAP_M = 0.1  # nearer to anything the expert steers

_FREE_SHARE = 0.25  # of the frames, besides those that are drawn so: nothing is committed

Driver = Callable[
    [NDArray[np.uint8], NDArray[np.float32], tuple[float, float], str, NDArray[np.float32]],
    NDArray[np.float32],
]
"""image (H,W,3), scan (K,) [m], twist, target's name, rows that are committed (d,2) -> chunk (HORIZON,2)
[m/s, rad/s]."""


def shrink(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The camera's picture at the policy's size, as the daemon makes it."""
    return np.asarray(
        cv2.resize(image, (IMAGE_WIDTH, IMAGE_HEIGHT), interpolation=cv2.INTER_AREA), dtype=np.uint8
    )


def reduce_scan(ranges: NDArray[np.float32]) -> NDArray[np.float32]:
    """The nearest of each group of beams, at most SCAN_RANGE_M, as the daemon makes it."""
    return np.asarray(np.minimum(ranges, SCAN_RANGE_M).reshape(SCAN_BEAMS, -1).min(axis=1))


def due(chunk: NDArray[np.float32], age_s: float) -> tuple[float, float]:
    """The command due `age_s` after the chunk's frame: step k at (k+1)*STEP_S, linear in between."""
    times = np.arange(1, len(chunk) + 1) * STEP_S
    return float(np.interp(age_s, times, chunk[:, 0])), float(np.interp(age_s, times, chunk[:, 1]))


class Episode:
    """One robot in one world; `run` drives it and returns the labelled frames."""

    def __init__(self, seed: int, driver: Driver | None, prefix_rows: int = 0) -> None:
        """`driver`: the policy; None: the expert, disturbed now and then. At most `prefix_rows` are
        committed.
        """
        self._rng = np.random.default_rng([seed, driver is not None])
        self._world = make_world(seed)
        self._rover = Rover(self._world, pose=_start(self._world, self._rng))
        self._camera = Camera(self._rover, noise=self._rng.uniform(0.0, 6.0), seed=seed)
        self._laser = Laser(self._rover, noise_m=0.01, seed=seed)
        self._expert = Expert(self._world)
        self._driver = driver
        self._delay = int(self._rng.integers(2, 8))  # ticks from a frame to the first command made from it
        self._prefix_rows = prefix_rows
        self._late = int(self._rng.integers(prefix_rows)) if prefix_rows and driver else 0
        self._chunk = np.zeros((HORIZON, 2), np.float32)
        self._disturbed = 0
        self._disturbance = (0.0, 0.0)
        self._target = int(self._rng.integers(len(self._world.targets)))
        self._rest, self._patience = 0, _PATIENCE
        self.tally = Tally()

    def run(self) -> Frames:
        """Drive for FRAMES frames, or until a collision."""
        seen: list[tuple[NDArray[np.uint8], NDArray[np.float32]]] = []
        poses, twists, cells, done = [], [], [], []
        for _ in range(FRAMES):
            image, scan = shrink(self._camera.image()), reduce_scan(self._laser.ranges())
            seen.append((image, scan))
            poses.append(self._rover.pose)
            twists.append(self._rover.twist)
            cells.append(self._cells())
            done.append(self._drive(image, scan, cells[-1]))
            self._next_task()
            if self._rover.collided:
                self.tally.collided += 1
                break
        track = Track(np.array(poses), np.array(twists), np.array(done, np.float32))
        return self._label(seen, track, np.array(cells, np.int16))

    def _cells(self) -> list[int]:
        """Where on the policy's map each target is; _NOT_SEEN if it is not in view."""
        labels = self._camera.labels()
        found = []
        for index in range(len(self._world.targets)):
            rows, columns = np.nonzero(labels == self._rover.model.geom(f"target_{index}").id)
            if len(rows) < _SEEN_PIXELS:
                found.append(_NOT_SEEN)
                continue
            row = int(rows.mean() * MAP_HEIGHT / labels.shape[0])
            found.append(row * MAP_WIDTH + int(columns.mean() * MAP_WIDTH / labels.shape[1]))
        return found + [_NOT_SEEN] * (SLOTS - len(found))

    def _drive(
        self, image: NDArray[np.uint8], scan: NDArray[np.float32], cells: list[int]
    ) -> tuple[float, float]:
        """One frame's time, with the chunk before for as long as inference would take; the last command.

        A chunk that comes several frames late begins with what was planned before it: until it comes, what is
        followed is its own.
        """
        twist, before = self._rover.twist, self._chunk
        if self._driver is not None:
            ahead = before[1 : 1 + self._late]
            self._chunk = self._driver(image, scan, twist, self._world.targets[self._target].name, ahead)
        else:
            plan = self._expert.plan(
                np.array([self._target]), np.array([self._rover.pose]), np.array([twist]),
                np.array([cells[self._target] != _NOT_SEEN]), 3,
            )  # fmt: skip
            self._chunk = self._disturb(plan.commands[0])
        for tick in range(_TICKS):
            age = tick * 0.01
            late = self._late or tick < self._delay
            command = due(before, age + STEP_S) if late else due(self._chunk, age)
            self._rover.command(*command)
            self._rover.step()
        return command

    def _disturb(self, chunk: NDArray[np.float32]) -> NDArray[np.float32]:
        """Now and then somebody else steers for half a second."""
        if self._disturbed == 0 and self._rng.random() < 0.05:
            self._disturbed = int(self._rng.integers(3, 10))
            self._disturbance = (self._rng.uniform(0.0, 0.6), self._rng.uniform(-1.5, 1.5))
        if self._world.gap(np.array([self._rover.pose[:2]]))[0] < ROBOT_RADIUS_M + _DISTURB_GAP_M:
            self._disturbed = 0
        if self._disturbed:
            self._disturbed -= 1
            chunk = np.broadcast_to(np.array(self._disturbance, np.float32), chunk.shape)
        return chunk

    def _next_task(self) -> None:
        """Another target when this one is reached, or when too much time went by."""
        target = self._world.targets[self._target]
        at_rest = reached(target, self._rover.pose, self._rover.twist)
        self._rest = self._rest + 1 if at_rest else 0
        self._patience -= 1
        if self._rest < _REST and self._patience > 0:
            return
        self.tally.reached += at_rest
        self.tally.given_up += not at_rest
        self._rest, self._patience = 0, _PATIENCE
        self._target = int(self._rng.integers(len(self._world.targets)))

    def _label(
        self, seen: list[tuple[NDArray[np.uint8], NDArray[np.float32]]], track: Track,
        cells: NDArray[np.int16],
    ) -> Frames:  # fmt: skip
        count, targets = len(track.poses), self._world.targets
        names = np.full((count, SLOTS), -1, np.int8)
        distances = np.zeros((count, SLOTS), np.float32)
        chunks = np.zeros((count, SLOTS + 1, HORIZON, 2), np.float16)
        committed = self._committed(count)
        for slot, target in enumerate(targets):
            names[:, slot] = NAMES.index(target.name)
            distances[:, slot] = target.gap(track.poses[:, :2])
            chunks[:, slot] = self._plan(slot, track, cells[:, slot] != _NOT_SEEN, committed)
        chunks[:, SLOTS] = self._plan(0, track, np.zeros(count, dtype=bool), committed)
        candidates = self._candidates(chunks[:, : len(targets)], track.twists)
        collides = np.stack(
            [_collides(self._world, track.poses, candidates[:, c]) for c in range(_CANDIDATES)], axis=1
        )
        images, scans = (np.stack(values) for values in zip(*seen, strict=True))
        return Frames(
            images, scans, track.twists.astype(np.float32), names, cells, distances, chunks, committed,
            candidates.astype(np.float16), collides,
        )  # fmt: skip

    def _committed(self, count: int) -> NDArray[np.int8]:
        """How many rows of each frame's label are what was done, as far as the episode goes on."""
        if self._prefix_rows == 0:
            return np.zeros(count, np.int8)
        drawn = self._rng.integers(self._prefix_rows + 1, size=count)
        drawn[self._rng.random(count) < _FREE_SHARE] = 0
        return np.minimum(drawn, np.arange(count)[::-1]).astype(np.int8)

    def _plan(
        self, slot: int, track: Track, seen: NDArray[np.bool_], committed: NDArray[np.int8]
    ) -> NDArray[np.float32]:
        """What was done, and from there on what the expert would do: (N,HORIZON,2).

        Whether the target is in view is what the frame shows: more a policy cannot know.
        """
        frames = np.arange(len(seen))
        after, rows = frames + committed, np.arange(HORIZON)
        whose = np.full(len(seen), slot)
        planned = self._expert.plan(whose, track.poses[after], track.twists[after], seen).commands
        shifted = planned[frames[:, None], np.maximum(rows - committed[:, None], 0)]
        done = track.done[np.minimum(frames[:, None] + rows, len(seen) - 1)]
        label: NDArray[np.float32] = np.where((rows < committed[:, None])[..., None], done, shifted)
        return label

    def _candidates(self, chunks: NDArray[np.float16], twists: Array) -> NDArray[np.float32]:
        """Chunks (N,C,HORIZON,2): an expert's, an expert's bent and sped up, and any arc begun from here."""
        count = len(chunks)
        chosen = chunks[np.arange(count), self._rng.integers(chunks.shape[1], size=count)].astype(np.float32)
        bent = chosen * self._rng.uniform(0.7, 1.8, (count, 1, 1)) + self._rng.normal(0.0, 0.3, (count, 1, 2))
        arc = np.stack([self._rng.uniform(-0.1, 0.8, count), self._rng.normal(0.0, 0.8, count)], axis=1)
        ramp = np.minimum(np.arange(1, HORIZON + 1) * 0.2, 1.0)[None, :, None]
        arcs = twists[:, None] * (1 - ramp) + arc[:, None] * ramp
        return np.stack([chosen, bent, arcs], axis=1).astype(np.float32)


def _start(world: World, rng: np.random.Generator) -> Pose:
    """The world's start, or any free place, near things too."""
    if rng.random() < 0.4:
        return world.start
    while True:
        x, y = rng.uniform(-0.5, 0.5, 2) * (world.size_x, world.size_y)
        if world.gap(np.array([[x, y]]))[0] > ROBOT_RADIUS_M + 0.08:
            return float(x), float(y), float(rng.uniform(-math.pi, math.pi))


def _collides(world: World, poses: Array, chunks: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Whether following these chunks (N,HORIZON,2) from poses (N,3), as long as one may, ends in a touch."""
    pose, hit = poses, np.zeros(len(poses), dtype=bool)
    for k in range(FOLLOWED):
        for _ in range(2):
            pose = advance(pose, chunks[:, k].astype(float), STEP_S / 2)
            hit |= world.gap(pose[:, :2]) < ROBOT_RADIUS_M + _MARGIN_M
    return hit
