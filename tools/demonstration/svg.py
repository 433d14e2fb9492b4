"""The README's picture of the demo: `python -m tools.demonstration.svg` runs it and writes demo.svg.

What the terminal would show, as vector graphics: half blocks and frames become exact shapes, so that no
viewer's font leaves gaps between them.
"""

from __future__ import annotations

import sys
import tempfile
import threading
from collections import defaultdict
from collections.abc import Iterator
from html import escape
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.segment import Segment
from rich.style import Style

from tools.demonstration.dashboard import Dashboard
from tools.demonstration.referee import Referee
from tools.demonstration.session import Session
from tools.demonstration.view import Happening, View
from vlad.clock import SystemClock

_COLUMNS, _ROWS = 138, 34
_SEED = 6
_CELL_X, _CELL_Y = 8, 16
_PAD = 12
_PAPER, _INK = "#10131a", "#e6eaf0"
_STROKES = {  # glyph: its path within a cell, and its width
    "─": ("h8", 0, 8, 1.2), "│": ("v16", 4, 0, 1.2),
    "╭": ("v-4q0 -4 4 -4", 4, 16, 1.2), "╮": ("q4 0 4 4v4", 0, 8, 1.2),
    "╰": ("v4q0 4 4 4", 4, 0, 1.2), "╯": ("q4 0 4 -4v-4", 0, 8, 1.2),
    "━": ("h8", 0, 8, 5.0), "┃": ("v14", 4, 1, 3.0), "┼": ("v10m-4 -5h8", 4, 3, 1.2),
}  # fmt: skip


def to_svg(rows: list[list[Segment]]) -> str:
    """A whole screen as an SVG document."""
    width, height = _COLUMNS * _CELL_X + 2 * _PAD, len(rows) * _CELL_Y + 2 * _PAD
    fills: defaultdict[str, list[str]] = defaultdict(list)
    strokes: defaultdict[tuple[str, float], list[str]] = defaultdict(list)
    texts = []
    for number, line in enumerate(rows):
        y = number * _CELL_Y
        for x, text, style in _placed(line):
            _fill(fills, x, y, text, style)
            texts += _draw(strokes, x, y, text, style)
    shapes = [f'<path fill="{colour}" d="{"".join(parts)}"/>' for colour, parts in fills.items()]
    shapes += [
        f'<path fill="none" stroke="{colour}" stroke-width="{thick}" d="{"".join(parts)}"/>'
        for (colour, thick), parts in strokes.items()
    ]
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}">',
        f'<rect width="{width}" height="{height}" rx="10" fill="{_PAPER}"/>',
        f'<g transform="translate({_PAD} {_PAD})" font-size="13.2" xml:space="preserve" '
        'font-family="ui-monospace,SFMono-Regular,Menlo,Consolas,\'DejaVu Sans Mono\',monospace">',
        '<g shape-rendering="crispEdges">', *shapes[: len(fills)], "</g>",
        *shapes[len(fills) :], *texts, "</g></svg>\n",
    ])  # fmt: skip


def _placed(line: list[Segment]) -> Iterator[tuple[int, str, Style]]:
    x = 0
    for text, style, _ in line:
        yield x, text, style or Style()
        x += len(text) * _CELL_X


def _fill(fills: defaultdict[str, list[str]], x: int, y: int, text: str, style: Style) -> None:
    """The background, and the upper half where the text is half blocks."""
    wide, half = len(text) * _CELL_X, _CELL_Y // 2
    if text[:1] == "▀":
        fills[_hex(style, front=True)].append(f"M{x} {y}h{wide}v{half}h-{wide}z")
        fills[_hex(style, front=False)].append(f"M{x} {y + half}h{wide}v{half}h-{wide}z")
    elif style.bgcolor is not None:
        fills[_hex(style, front=False)].append(f"M{x} {y}h{wide}v{_CELL_Y}h-{wide}z")


def _draw(
    strokes: defaultdict[tuple[str, float], list[str]], x: int, y: int, text: str, style: Style
) -> list[str]:
    """Lines go to `strokes`; what remains is text."""
    colour = _hex(style, front=True)
    for index, letter in enumerate(text):
        if letter in _STROKES:
            path, right, down, thick = _STROKES[letter]
            strokes[colour, thick].append(f"M{x + index * _CELL_X + right} {y + down}{path}")
    words = "".join(" " if letter in _STROKES or letter == "▀" else letter for letter in text)
    start = len(words) - len(words.lstrip())
    words = words.strip()
    if not words:
        return []
    weight = ' font-weight="bold"' if style.bold else ""
    return [
        f'<text x="{x + start * _CELL_X}" y="{y + 12}" textLength="{len(words) * _CELL_X}" '
        f'fill="{colour}"{weight}>{escape(words)}</text>'
    ]


def _hex(style: Style, *, front: bool) -> str:
    colour = style.color if front else style.bgcolor
    return colour.get_truecolor().hex if colour is not None else _INK if front else _PAPER


class Photographer:
    """An output that waits for a good moment, keeps it, and ends the demo."""

    def __init__(self, view: View, stopping: threading.Event) -> None:
        self.picture = ""
        self._view = view
        self._stopping = stopping
        self._dashboard = Dashboard(view, (0.8, 2.0))
        self._console = Console(width=_COLUMNS, height=_ROWS, force_terminal=True, color_system="truecolor")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def refresh(self) -> None:
        view, referee = self._view, self._view.referee
        gap_m = referee.gap_m(view.truth.pose) if view.truth and view.look("task") else None
        if referee.score.successes >= 4 and gap_m is not None and 1.2 < gap_m < 1.6 and not self.picture:
            options = self._console.options.update(height=_ROWS)
            self.picture = to_svg(self._console.render_lines(self._dashboard, options))
            self._stopping.set()

    def happened(self, happening: Happening) -> None:
        """It is in the view's list."""


def main() -> int:
    """Write the picture beside this file."""
    view, stopping = View(Referee(_SEED)), threading.Event()
    photographer = Photographer(view, stopping)
    with tempfile.TemporaryDirectory(prefix="vlad-demo-") as folder:
        Session(Path(folder), view, photographer, SystemClock(), stopping).run(seconds=120.0)
    if not photographer.picture:
        sys.stderr.write("no good moment in two minutes; run it again\n")
        return 1
    target = Path(__file__).with_name("demo.svg")
    target.write_text(photographer.picture)
    sys.stdout.write(f"{target}: {len(photographer.picture) / 1000:.0f} kB\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
