"""The live display: the scene from above, what the camera sees, and how robot and daemon are doing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions
from rich.segment import Segment

from tools.demonstration.blocks import Block, beside, boxed, fit, row
from tools.demonstration.panel import events, header, panel
from tools.demonstration.pictures import SceneMap, half_blocks, shrink
from tools.demonstration.view import View

_PANEL_WIDTH = 42
_PANEL_HEIGHT = 16
_EVENTS_HEIGHT = 3
_SMALLEST_PICTURE, _SMALLEST_PAIR = 9, 11


@dataclass(frozen=True, slots=True)
class Plan:
    """How a terminal is divided: rows of the scene (twice as many cells wide) and the camera; 0: none."""

    scene: int
    camera: int
    stacked: bool

    @property
    def camera_width(self) -> int:
        return 2 * self.scene if self.stacked else self.camera * 8 // 3

    @property
    def width(self) -> int:
        """Cells of the pictures with their frames."""
        shown = [2 * self.scene + 2] * bool(self.scene) + [self.camera_width + 2] * bool(self.camera)
        return max(shown, default=0) if self.stacked else sum(shown)


def plan(width: int, height: int) -> Plan:
    """The largest pictures that leave room for the text: both side by side, both stacked, one, or none."""
    room, rows = width - _PANEL_WIDTH - 2, height - 1
    side = min((room - 4) * 3 // 14, rows - 4 - _EVENTS_HEIGHT)
    stack = min((room - 2) // 2, (rows - 4) * 4 // 7)
    alone = min((room - 2) // 2, rows - 4 - _EVENTS_HEIGHT)
    if max(side, stack) >= _SMALLEST_PAIR:
        return Plan(side, side, False) if side >= stack else Plan(stack, stack * 3 // 4, True)
    return Plan(alone, 0, False) if alone >= _SMALLEST_PICTURE else Plan(0, 0, False)


class Dashboard:
    """A rich renderable: draws `view` as it is when it is asked, into whatever room there is."""

    def __init__(self, view: View, full_speed: tuple[float, float]) -> None:
        self._view = view
        self._full_speed = full_speed
        self._map: SceneMap | None = None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        for number, line in enumerate(self._rows(options.max_width, options.max_height)):
            if number:
                yield Segment.line()
            yield from line

    def _rows(self, width: int, height: int) -> Block:
        divided = plan(width, height)
        text_width = width - divided.width - 2
        body = height - 1
        room = divided.scene if divided.scene and not divided.stacked else body - _EVENTS_HEIGHT - 4
        text = panel(self._view, text_width, room, self._full_speed)
        if not divided.scene:
            rows = [*boxed(text, text_width, "vlad"), *self._events(width, body - len(text) - 2)]
        elif divided.stacked:
            pictures = self._scene(divided) + self._camera(divided)
            most = max(len(pictures) - _EVENTS_HEIGHT - 4, 1)
            text = fit(text, text_width, min(max(len(text), _PANEL_HEIGHT), most))
            below = self._events(text_width + 2, len(pictures) - len(text) - 2)
            rows = beside(pictures, boxed(text, text_width, "vlad") + below)
        else:
            pictures = self._scene(divided)
            if divided.camera:
                pictures = beside(pictures, self._camera(divided))
            text = fit(text, text_width, len(pictures) - 2)
            rows = beside(pictures, boxed(text, text_width, "vlad"))
            rows += self._events(width, body - len(pictures))
        return fit([header(self._view, width), *rows], width, height)

    def _events(self, width: int, height: int) -> Block:
        if height < 3:
            return []
        lines = events(self._view, width - 2, height - 2)
        return boxed(fit(lines, width - 2, height - 2), width - 2, "events")

    def _scene(self, divided: Plan) -> Block:
        size, view = 2 * divided.scene, self._view
        world = view.referee.world
        if world is None or view.truth is None:
            return boxed(fit([], size, divided.scene), size, "from above")
        if self._map is None or self._map.world is not world or self._map.size != size:
            self._map = SceneMap(world, size)
        referee = view.referee
        pixels = self._map.draw(view.truth.pose, referee.trail, referee.goal, view.truth.collided)
        return boxed(half_blocks(pixels), size, f"from above · world {world.seed}")

    def _camera(self, divided: Plan) -> Block:
        width, height = divided.camera_width, divided.camera
        if self._view.camera is None:
            return boxed([row(width) for _ in range(height)], width, "camera")
        return boxed(half_blocks(shrink(self._view.camera, width, 2 * height)), width, "camera")
