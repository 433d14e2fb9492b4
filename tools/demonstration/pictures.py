"""Pictures of half-block characters: each cell of the terminal shows two pixels, one above the other."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import lru_cache
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.color import Color
from rich.segment import Segment
from rich.style import Style

from tools.sim.world import ROBOT_RADIUS_M, Pose, Thing, World

Pixels: TypeAlias = NDArray[np.uint8]
Row: TypeAlias = list[Segment]

_QUANTUM = 8  # colour steps that nobody sees; equal neighbours become one piece of text
_FINE = 4  # the scene is drawn this many times larger, then averaged
_WALL_M = 0.12
_SMALLEST_ROVER = 2.0  # pixels, so that one can see where it looks
_TILE_M = 1.0
_FLOOR, _FLOOR_DARK, _WALL, _OUTSIDE = (60, 68, 84), (52, 60, 76), (156, 164, 180), (12, 20, 28)
_THINGS = {
    "red": (240, 62, 62),
    "green": (55, 190, 90),
    "blue": (70, 120, 250),
    "yellow": (250, 205, 50),
    "grey": (120, 122, 130),
}
_VIEW_M = 1.3
_VIEW_RAD = math.radians(120.0)
_VIEW_SHARE = 0.16
_ROVER, _NOSE, _MARK, _TRAIL = (40, 220, 240), (255, 255, 255), (255, 255, 255), (36, 132, 164)
_HIT = (255, 90, 220)


def half_blocks(pixels: Pixels) -> list[Row]:
    """Rows of text for a picture (h, w, 3) rgb: h/2 rows of w cells. An odd last line is left out."""
    flat = (pixels.astype(np.int32) // _QUANTUM * _QUANTUM + _QUANTUM // 2) @ np.array([65536, 256, 1])
    even = len(flat) // 2 * 2
    return [_row(top, bottom) for top, bottom in zip(flat[0:even:2], flat[1:even:2], strict=True)]


def _row(top: NDArray[np.int64], bottom: NDArray[np.int64]) -> Row:
    changes = np.flatnonzero((np.diff(top) != 0) | (np.diff(bottom) != 0)) + 1
    starts = [0, *changes.tolist()]
    lengths = np.diff([*starts, len(top)]).tolist()
    pairs = zip(top[starts].tolist(), bottom[starts].tolist(), lengths, strict=True)
    return [Segment((" " if above == below else "▀") * n, _style(above, below)) for above, below, n in pairs]


@lru_cache(maxsize=32_768)
def _style(above: int, below: int) -> Style:
    return Style(color=_colour(above), bgcolor=_colour(below))


@lru_cache(maxsize=32_768)
def _colour(rgb: int) -> Color:
    return Color.from_rgb(rgb >> 16, rgb >> 8 & 255, rgb & 255)


def shrink(pixels: Pixels, width: int, height: int) -> Pixels:
    """The picture with `width` x `height` pixels, each the mean of those it stands for."""
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


class SceneMap:
    """A world from above, x to the right and y up, as a picture of `size` x `size` pixels."""

    def __init__(self, world: World, size: int) -> None:
        self.world = world
        self.size = size
        self._extent_m = max(world.size_x, world.size_y) + 2 * _WALL_M
        self._scale = size * _FINE / self._extent_m
        self._still = self._draw_still()

    def draw(self, pose: Pose, trail: Iterable[tuple[float, float]], goal: Thing | None, hit: bool) -> Pixels:
        """With the rover there, the way it came [m], a ring about its goal; `hit`: it touches something."""
        picture = self._still.copy()
        self._draw_view(picture, pose)
        way = [self._pixel(x, y) for x, y in trail]
        if len(way) > 1:
            cv2.polylines(picture, [np.array(way, np.int32)], False, _TRAIL, max(2, _FINE // 2), cv2.LINE_AA)
        if goal is not None:
            radius = round((goal.radius + 0.14) * self._scale)
            cv2.circle(picture, self._pixel(goal.x, goal.y), radius, _MARK, 3, cv2.LINE_AA)
        self._draw_rover(picture, pose, _HIT if hit else _ROVER)
        return shrink(picture, self.size, self.size)

    def _draw_still(self) -> Pixels:
        count = self.size * _FINE
        along = (np.arange(count) + 0.5) / self._scale - self._extent_m / 2
        x, y = np.meshgrid(along, -along)
        tiles = (np.floor(x / _TILE_M) + np.floor(y / _TILE_M)) % 2
        picture = np.array([_FLOOR, _FLOOR_DARK], np.uint8)[tiles.astype(int)]
        beyond = np.maximum(abs(x) - self.world.size_x / 2, abs(y) - self.world.size_y / 2)
        picture[beyond > 0] = _WALL
        picture[beyond > _WALL_M] = _OUTSIDE
        points = np.stack([x.ravel(), y.ravel()], axis=1)
        for thing in self.world.things:
            rgb = np.array(_THINGS[thing.colour], np.float64)
            gap = thing.gap(points).reshape(x.shape)
            near = gap < 0.08
            picture[near] = picture[near] * (0.55 + 0.45 * gap[near, None] / 0.08)
            picture[gap == 0.0] = rgb
            if thing.kind == "ball":
                self._draw_gloss(picture, thing, rgb)
        return np.ascontiguousarray(picture, np.uint8)

    def _draw_gloss(self, picture: Pixels, ball: Thing, rgb: NDArray[np.float64]) -> None:
        """A lighter spot, so that a ball does not look like a cylinder."""
        spot = np.clip(rgb * 0.6 + 120.0, 0.0, 255.0).tolist()
        at = self._pixel(ball.x - 0.3 * ball.half_x, ball.y + 0.3 * ball.half_x)
        cv2.circle(picture, at, round(0.4 * ball.half_x * self._scale), spot, -1, cv2.LINE_AA)

    def _draw_view(self, picture: Pixels, pose: Pose) -> None:
        """What the camera looks at, a little lighter."""
        x, y, yaw = pose
        bearings = np.linspace(yaw - _VIEW_RAD / 2, yaw + _VIEW_RAD / 2, 12)
        arc = [self._pixel(x + _VIEW_M * math.cos(b), y + _VIEW_M * math.sin(b)) for b in bearings]
        mask = np.zeros(picture.shape[:2], np.uint8)
        cv2.fillPoly(mask, [np.array([self._pixel(x, y), *arc], np.int32)], 1)
        seen = mask.astype(bool)
        picture[seen] = picture[seen] * (1 - _VIEW_SHARE) + 255 * _VIEW_SHARE

    def _draw_rover(self, picture: Pixels, pose: Pose, colour: tuple[int, int, int]) -> None:
        x, y, yaw = pose
        radius = max(ROBOT_RADIUS_M * self._scale, _SMALLEST_ROVER * _FINE)
        at = np.array(self._pixel(x, y))
        ahead = at + 1.3 * radius * np.array([math.cos(yaw), -math.sin(yaw)])
        cv2.circle(picture, at.tolist(), round(radius), colour, -1, cv2.LINE_AA)
        cv2.line(picture, at.tolist(), np.rint(ahead).astype(int).tolist(), _NOSE, _FINE, cv2.LINE_AA)

    def _pixel(self, x: float, y: float) -> tuple[int, int]:
        half = self._extent_m / 2
        return round((x + half) * self._scale), round((half - y) * self._scale)
