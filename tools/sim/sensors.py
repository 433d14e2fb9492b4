"""The rover's camera and laser scanner, by ray casting (`mj_multiRay`): no OpenGL, about 2 ms an image."""

from __future__ import annotations

import math

import mujoco
import numpy as np
from numpy.typing import NDArray

from tools.sim.rover import Rover
from tools.sim.scene import CAMERA_HEIGHT_M, CAMERA_PITCH_RAD, LASER_HEIGHT_M, ROVER_GROUP

CAMERA_WIDTH, CAMERA_HEIGHT = 160, 120
CAMERA_RAD_PER_PIXEL = math.radians(120.0) / CAMERA_WIDTH
LASER_BEAMS = 360
LASER_RANGE_MIN_M, LASER_RANGE_MAX_M = 0.05, 8.0

_SEEN_GROUPS = np.array([group != ROVER_GROUP for group in range(mujoco.mjNGROUP)], dtype=np.uint8)
_FAR_M = 12.0
_SKY = np.array([0.55, 0.62, 0.7], dtype=np.float32)
_TILE_M = 0.5


class Camera:
    """A wide-angle colour camera on the mast: 120 x 90 degrees, equal angle per pixel, pitched down."""

    def __init__(self, rover: Rover, *, noise: float = 0.0, seed: int = 0) -> None:
        """`noise`: standard deviation of each pixel's error, of 255."""
        self._rover = rover
        self._noise = noise
        self._rng = np.random.default_rng(seed)
        self._rays = _camera_rays()
        count = CAMERA_WIDTH * CAMERA_HEIGHT
        self._floor = rover.model.geom("floor").id
        self._geom = np.empty(count, dtype=np.int32)
        self._distance = np.empty(count)
        self._normal = np.empty(3 * count)
        self._albedo = np.vstack([rover.model.geom_rgba[:, :3], _SKY]).astype(
            np.float32
        )  # geom -1 is the sky
        light = rover.world.light_rad
        self._light = np.array([0.5 * math.cos(light), 0.5 * math.sin(light), 0.8])

    def image(self) -> NDArray[np.uint8]:
        """What the camera sees now: (120, 160, 3) rgb."""
        x, y, yaw = self._rover.pose
        rays = self._rays @ _turn(yaw)
        origin = np.array([x, y, CAMERA_HEIGHT_M])
        mujoco.mj_multiRay(
            self._rover.model, self._rover.data, origin, rays.ravel(), _SEEN_GROUPS, True, -1,
            self._geom, self._distance, self._normal, len(rays), _FAR_M,
        )  # fmt: skip
        colour = 255.0 * self._albedo.take(self._geom, axis=0, mode="wrap")
        colour *= self._shade(origin, rays)[:, None]
        if self._noise:
            colour += self._rng.normal(0.0, self._noise, (len(rays), 1)).astype(np.float32)
        pixels = np.asarray(np.clip(colour, 0.0, 255.0), dtype=np.uint8)
        return pixels.reshape(CAMERA_HEIGHT, CAMERA_WIDTH, 3)

    def labels(self) -> NDArray[np.int32]:
        """The geom that each pixel of the last image shows (120, 160), -1 for the sky."""
        return self._geom.reshape(CAMERA_HEIGHT, CAMERA_WIDTH)

    def _shade(self, origin: NDArray[np.float64], rays: NDArray[np.float64]) -> NDArray[np.float32]:
        """Lambert's law, darker far away, and a checker on the floor."""
        lambert = np.maximum(self._normal.reshape(-1, 3) @ self._light, 0.0)
        shade = (0.45 + 0.6 * lambert) / (1.0 + 0.06 * np.maximum(self._distance, 0.0))
        floor = np.flatnonzero(self._geom == self._floor)
        tiles = np.floor((origin[:2] + rays[floor, :2] * self._distance[floor, None]) / _TILE_M)
        shade[floor] *= 0.85 + 0.15 * (tiles.sum(axis=1) % 2)
        shade[self._geom < 0] = 1.0
        return np.asarray(shade, dtype=np.float32)


class Laser:
    """A planar scanner: beam k looks along -pi + k degrees, so beam 180 looks ahead."""

    def __init__(self, rover: Rover, *, noise_m: float = 0.0, seed: int = 0) -> None:
        """`noise_m`: standard deviation of each range."""
        self._rover = rover
        self._noise_m = noise_m
        self._rng = np.random.default_rng(seed)
        angles = -math.pi + np.arange(LASER_BEAMS) * (math.tau / LASER_BEAMS)
        self._rays = np.stack([np.cos(angles), np.sin(angles), np.zeros(LASER_BEAMS)], axis=1)
        self._geom = np.empty(LASER_BEAMS, dtype=np.int32)
        self._distance = np.empty(LASER_BEAMS)
        self._normal = np.empty(3 * LASER_BEAMS)

    def ranges(self) -> NDArray[np.float32]:
        """Ranges [m] (360,), inf where nothing is within range."""
        x, y, yaw = self._rover.pose
        rays = self._rays @ _turn(yaw)
        mujoco.mj_multiRay(
            self._rover.model, self._rover.data, np.array([x, y, LASER_HEIGHT_M]), rays.ravel(), _SEEN_GROUPS,
            True, -1, self._geom, self._distance, self._normal, LASER_BEAMS, LASER_RANGE_MAX_M,
        )  # fmt: skip
        ranges = self._distance + self._noise_m * self._rng.standard_normal(LASER_BEAMS)
        outside = (self._distance < LASER_RANGE_MIN_M) | (self._distance > LASER_RANGE_MAX_M)
        ranges[outside] = math.inf
        return ranges.astype(np.float32)


def _turn(yaw: float) -> NDArray[np.float64]:
    """Row vectors in base_link times this are in the room's frame."""
    cos, sin = math.cos(yaw), math.sin(yaw)
    return np.array([[cos, sin, 0.0], [-sin, cos, 0.0], [0.0, 0.0, 1.0]])


def _camera_rays() -> NDArray[np.float64]:
    """Unit vectors in base_link, row by row from the top left pixel."""
    right = (np.arange(CAMERA_WIDTH) + 0.5 - CAMERA_WIDTH / 2) * CAMERA_RAD_PER_PIXEL
    below = (np.arange(CAMERA_HEIGHT) + 0.5 - CAMERA_HEIGHT / 2) * CAMERA_RAD_PER_PIXEL
    azimuth, depression = np.meshgrid(-right, below + CAMERA_PITCH_RAD)
    level = np.cos(depression)
    rays = np.stack([level * np.cos(azimuth), level * np.sin(azimuth), -np.sin(depression)], axis=-1)
    return np.asarray(rays.reshape(-1, 3))
