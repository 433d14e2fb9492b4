"""The scripted expert: drives to a target in a world it knows, and says what it would do from any pose.

What it does depends on what a policy can see: a target out of the camera's view is looked for by turning on
the spot, a target in view is driven to along the shortest comfortable way (a travel-time field: the eikonal
equation |grad T| = slowness, with slowness growing near things), and in front of it the expert stands still.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tools.sim.world import ROBOT_RADIUS_M, Array, Pose, Thing, World

HORIZON = 20
STEP_S = 0.1
REACHED_M = 0.6  # robot's centre to the target's surface
REACHED_BEARING_RAD = math.pi / 4
STILL_MPS, STILL_RADPS = 0.05, 0.1

_STOP_M = 0.42  # where the expert aims to stand, robot's centre to the target's surface
_STOP_BAND_M = 0.05
_CRUISE_MPS = 0.6
_SEARCH_RADPS = 1.0
_TURN_RADPS = 1.4
_TURN_GAIN = 2.5
_ACCEL_MPS2, _ACCEL_RADPS2 = 1.0, 4.0
_BRAKING_MPS2 = 0.4
_CELL_M = 0.05
_COMFORT_M = 0.35  # free space on each side that costs nothing
_BLOCKED_M = 0.03
_DIRECT_M = 0.8
_LOOKAHEAD_STEPS = 7


def reached(target: Thing, pose: Pose, twist: tuple[float, float]) -> bool:
    """Whether a robot here has reached the target: within REACHED_M of it, facing it, standing still."""
    gap = target.gap(np.array([pose[:2]]))[0]
    bearing = math.remainder(math.atan2(target.y - pose[1], target.x - pose[0]) - pose[2], math.tau)
    still = abs(twist[0]) <= STILL_MPS and abs(twist[1]) <= STILL_RADPS
    return bool(gap <= REACHED_M and abs(bearing) <= REACHED_BEARING_RAD and still)


@dataclass(frozen=True, slots=True)
class Plan:
    """`commands` (N,horizon,2) [m/s, rad/s], and the `poses` (N,horizon,3) they lead to."""

    commands: NDArray[np.float32]
    poses: Array


class Expert:
    """The expert for one world and all of its targets."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._low = -np.array([world.size_x, world.size_y]) / 2
        self._shape = (math.ceil(world.size_x / _CELL_M), math.ceil(world.size_y / _CELL_M))
        cells = np.stack(np.meshgrid(*map(np.arange, self._shape), indexing="ij"), axis=-1).reshape(-1, 2)
        self._centres = self._low + (cells + 0.5) * _CELL_M
        self._free = world.gap(self._centres) - ROBOT_RADIUS_M
        self._ahead = np.stack([self._lookahead(target) for target in world.targets])

    def plan(
        self,
        target: NDArray[np.int64],
        poses: Array,
        twists: Array,
        seen: NDArray[np.bool_],
        horizon: int = HORIZON,
    ) -> Plan:
        """The next `horizon` commands from each pose (N,3) and twist (N,2) to the target of this index (N,).

        `seen` (N,): whether the target is in the camera's view now; if not, it is searched for all the while.
        """
        pose, twist = poses.astype(float), twists.astype(float)
        search = np.where(twist[:, 1] < -0.1, -_SEARCH_RADPS, _SEARCH_RADPS)
        commands, path = np.empty((len(pose), horizon, 2), np.float32), np.empty((len(pose), horizon, 3))
        limit = np.array([_ACCEL_MPS2, _ACCEL_RADPS2]) * STEP_S
        for k in range(horizon):
            wanted = np.where(
                seen[:, None], self._drive(target, pose), np.stack([0.0 * search, search], axis=1)
            )
            command = np.clip(wanted, twist - limit, twist + limit)
            pose = advance(pose, (twist + command) / 2, STEP_S)
            twist = command
            commands[:, k], path[:, k] = command, pose
        return Plan(commands, path)

    def _drive(self, target: NDArray[np.int64], pose: Array) -> Array:
        """The twist (N,2) to strive for with the target in view."""
        cell = self._cell(pose[:, :2])
        ahead = self._ahead[target, cell]
        error = _wrap(np.arctan2(ahead[:, 1], ahead[:, 0]) - pose[:, 2])
        left = np.empty(len(pose))
        for index, thing in enumerate(self._world.targets):
            mine = target == index
            left[mine] = thing.gap(pose[mine, :2]) - _STOP_M
        speed = np.minimum(np.sqrt(2 * _BRAKING_MPS2 * np.maximum(left, 0.0)), _CRUISE_MPS)
        speed = np.minimum(speed, 0.25 + 1.2 * np.maximum(self._free[cell], 0.0))
        speed *= np.clip(1.2 - np.abs(error) / 0.7, 0.0, 1.0)
        turn = np.clip(_TURN_GAIN * error, -_TURN_RADPS, _TURN_RADPS)
        there = left < _STOP_BAND_M
        speed[there] = 0.0
        turn[there & (np.abs(error) < 0.2)] = 0.0
        return np.stack([speed, turn], axis=1)

    def _cell(self, points: Array) -> NDArray[np.int64]:
        """Flat index of the cell that each of the points (N,2) is in."""
        index = np.floor((points - self._low) / _CELL_M).astype(np.int64)
        index = np.clip(index, 0, np.array(self._shape) - 1)
        return np.asarray(index[:, 0] * self._shape[1] + index[:, 1])

    def _lookahead(self, target: Thing) -> Array:
        """From each cell's centre (cells,2), the vector to a point a third of a metre along the way."""
        gap = target.gap(self._centres)
        tight = np.clip((_COMFORT_M - self._free) / _COMFORT_M, 0.0, 1.0)
        slowness = 1.0 + 4.0 * tight**2
        slowness[self._free < _BLOCKED_M] = 40.0
        time = _travel_time(slowness.reshape(self._shape), (gap <= _STOP_M).reshape(self._shape))
        downhill = -np.stack(list(np.gradient(time)), axis=-1).reshape(-1, 2)
        to_target = np.array([target.x, target.y]) - self._centres
        direct = gap < _DIRECT_M
        downhill[direct] = to_target[direct]
        downhill /= np.maximum(np.hypot(downhill[:, 0], downhill[:, 1]), 1e-9)[:, None]
        point = self._centres.copy()
        for _ in range(_LOOKAHEAD_STEPS):
            point += _CELL_M * downhill[self._cell(point)]
        ahead = point - self._centres
        ahead[direct] = to_target[direct]
        return ahead


def advance(pose: Array, twist: Array, seconds: float) -> Array:
    """Unicycle kinematics: poses (N,3) after moving with twists (N,2)."""
    middle = pose[:, 2] + twist[:, 1] * seconds / 2
    step = twist[:, 0] * seconds
    return pose + np.stack([step * np.cos(middle), step * np.sin(middle), twist[:, 1] * seconds], axis=1)


def _wrap(angle: Array) -> Array:
    return np.asarray((angle + math.pi) % math.tau - math.pi)


def _travel_time(slowness: Array, goal: NDArray[np.bool_]) -> Array:
    """The solution of |grad T| = slowness, T = 0 on the goal, by Godunov's upwind scheme iterated to rest."""
    cost = slowness * _CELL_M
    time = np.full((slowness.shape[0] + 2, slowness.shape[1] + 2), 1e3)
    inner = time[1:-1, 1:-1]
    inner[goal] = 0.0
    for _ in range(10 * sum(slowness.shape)):
        a = np.minimum(time[:-2, 1:-1], time[2:, 1:-1])
        b = np.minimum(time[1:-1, :-2], time[1:-1, 2:])
        difference = np.abs(a - b)
        both = (a + b + np.sqrt(np.maximum(2 * cost**2 - difference**2, 0.0))) / 2
        new = np.minimum(inner, np.where(difference < cost, both, np.minimum(a, b) + cost))
        if np.abs(new - inner).max() < 1e-6:
            break
        inner[:] = new
    return inner
