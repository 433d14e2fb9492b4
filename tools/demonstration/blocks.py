"""Pieces of a text screen: rows of segments, put side by side, one below the other, or in a box.

Plain lists of segments in place of rich's tables and panels: ten frames a second cost a tenth of the time.
"""

from __future__ import annotations

import textwrap
from functools import lru_cache
from typing import TypeAlias

from rich.segment import Segment
from rich.style import Style

from tools.demonstration.pictures import Row

Block: TypeAlias = list[Row]
"""Rows of equal width."""

FRAME, TITLE, LABEL, PLAIN = "#4b5566", "bold #c8d0dc", "#8791a3", "#e6eaf0"
STRONG, FAINT = "bold #ffffff", "#5f6979"
LEVELS = {
    "SAFE": "#5fd38d",
    "CAUTION": "#f2d45c",
    "WARNING": "#ff9f43",
    "DANGER": "#ff5f5f",
    "EMERGENCY": "bold #ffffff on #c01c28",
}


@lru_cache(maxsize=256)
def style(text: str) -> Style:
    """The parsed style."""
    return Style.parse(text)


def row(width: int, *pieces: tuple[str, str]) -> Row:
    """(text, style) pieces as one row of exactly `width` cells: cut, or filled with blanks."""
    return Segment.adjust_line_length([Segment(text, style(how)) for text, how in pieces], width)


def paragraph(width: int, text: str, how: str, indent: int = 0) -> Block:
    """Text broken into rows, with a blank at the right."""
    lead = " " * indent
    lines = textwrap.wrap(text, width - 1, initial_indent=lead, subsequent_indent=lead)
    return [row(width, (line, how)) for line in lines]


def fit(block: Block, width: int, height: int) -> Block:
    """The first `height` rows, with blank ones added where there are fewer."""
    return block[:height] + [row(width) for _ in range(height - len(block))]


def boxed(block: Block, width: int, title: str) -> Block:
    """A frame about rows of `width` cells, two cells wider and two rows higher."""
    frame, label = style(FRAME), f" {title} "[: width - 1]
    rest = "─" * (width - len(label) - 1) + "╮"
    top = [Segment("╭─", frame), Segment(label, style(TITLE)), Segment(rest, frame)]
    side = Segment("│", frame)
    return [top, *([side, *line, side] for line in block), [Segment("╰" + "─" * width + "╯", frame)]]


def beside(left: Block, right: Block) -> Block:
    """Two blocks of the same height as one."""
    return [a + b for a, b in zip(left, right, strict=True)]


def gauge(width: int, value: float, mark: float, full: float, how: str) -> list[tuple[str, str]]:
    """A bar from its middle to `value`, with a mark; both ends are at -full and +full. Pieces for `row`."""
    middle = width // 2

    def cell(number: float) -> int:
        return middle + round(max(-1.0, min(1.0, number / full)) * middle)

    low, high = sorted((middle, cell(value)))
    cells = [("━", how) if low <= index <= high and low != high else ("─", FAINT) for index in range(width)]
    cells[middle] = ("┼", LABEL)
    cells[cell(mark)] = ("┃", STRONG)
    return cells


def meter(width: int, share: float, how: str) -> list[tuple[str, str]]:
    """A bar from the left, `share` 0 to 1. Pieces for `row`."""
    filled = round(max(0.0, min(1.0, share)) * width)
    return [("━" * filled, how), ("─" * (width - filled), FAINT)]
