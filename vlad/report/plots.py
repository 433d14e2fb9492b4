"""Plots as inline SVG: lines, bands of levels, bars. Numbers in, text out; colours are the page's.

A plot is as wide as its place: text is scaled with it, and still to be read on a phone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from html import escape
from math import ceil, floor, log10

from vlad.clock import NS_PER_S
from vlad.ctl.output import clean
from vlad.report.series import Band, Point, Span

_WIDE, _LEFT, _RIGHT, _TOP, _BOTTOM = 480, 40, 8, 8, 20
_HIGH = 150
_BAND, _BAR = 34, 18
_MOST_BARS = 12
_SMALLEST = 1e-9
"""Whatever differs by less is the same."""
_STEPS_S = (60, 300, 900, 3_600, 10_800, 21_600, 43_200, 86_400, 2 * 86_400, 7 * 86_400, 28 * 86_400)
_MOST_TICKS = 7


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a plot."""

    name: str
    runs: list[list[Point]]


def text(value: object) -> str:
    """Anything, as text of the page."""
    return escape(clean(value))


def number(value: float) -> str:
    """To three digits, without a long tail of zeros."""
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 1e5 or size < 1e-3:
        return f"{value:.3g}"
    digits = max(0, 2 - floor(log10(size)))
    return f"{value:,.{digits}f}".rstrip("0").rstrip(".") if digits else f"{value:,.0f}"


def lines(title: str, drawn: Sequence[Line], span: Span) -> str:
    """Values over time; an empty text where there are none."""
    values = [value for line in drawn for run in line.runs for _, value in run]
    if not values:
        return ""
    low, high, step = _scale(min(0.0, *values), max(values))
    parts = [*_rows(low, high, step), *_columns(span, _HIGH)]
    for place, line in enumerate(drawn):
        path = "".join(_path(run, span, low, high) for run in line.runs)
        if path:
            parts.append(f'<path class="line c{place}" d="{path}"/>')
    return _svg(title, _HIGH, parts)


def levels(
    title: str, rows: Sequence[tuple[str, Sequence[Band]]], span: Span, marks_ns: Sequence[int] = ()
) -> str:
    """A band for each row, coloured by level, and marked moments; an empty text where nothing is known."""
    if not any(found for _, found in rows):
        return ""
    high = _TOP + len(rows) * (_BAND + 4) + _BOTTOM
    parts = [*_columns(span, high)]
    for place, (name, found) in enumerate(rows):
        y = _TOP + place * (_BAND + 4)
        parts.append(f'<text class="end" x="{_LEFT - 4}" y="{y + _BAND // 2 + 4}">{text(name)}</text>')
        for band in found:
            x, end = _x(band.since_ns, span), _x(band.until_ns, span)
            shape = f'x="{_at(x)}" y="{y}" width="{_at(max(end - x, 0.5))}" height="{_BAND}"'
            parts.append(f'<rect class="{band.level.name.lower()}" {shape}/>')
    at = {_at(_x(at_ns, span)) for at_ns in marks_ns}
    parts += [f'<path class="mark" d="M{x} {_TOP - 4}V{high - _BOTTOM}"/>' for x in sorted(at)]
    return _svg(title, high, parts)


def bars(title: str, rows: Sequence[tuple[str, float, str]]) -> str:
    """A bar for each (name, value, class), as many as there is room for."""
    rows = [row for row in rows if row[1] > 0][:_MOST_BARS]
    if not rows:
        return ""
    most, left = max(value for _, value, _ in rows), 130
    parts = []
    for place, (name, value, kind) in enumerate(rows):
        y = _TOP + place * _BAR
        wide = max(1.0, value / most * (_WIDE - left - 60))
        parts.append(f'<text class="end" x="{left - 6}" y="{y + 12}">{text(name)}</text>')
        parts.append(f'<rect class="{kind}" x="{left}" y="{y}" width="{_at(wide)}" height="{_BAR - 4}"/>')
        parts.append(f'<text x="{_at(left + wide + 5)}" y="{y + 12}">{number(value)}</text>')
    return _svg(title, 2 * _TOP + len(rows) * _BAR, parts)


def _svg(title: str, high: int, parts: Sequence[str]) -> str:
    head = f'<svg viewBox="0 0 {_WIDE} {high}" role="img" aria-label="{text(title)}">'
    return "\n".join([head, *parts, "</svg>"])


def _x(at_ns: int, span: Span) -> float:
    part = (at_ns - span.since_ns) / max(1, span.until_ns - span.since_ns)
    return _LEFT + min(1.0, max(0.0, part)) * (_WIDE - _LEFT - _RIGHT)


def _y(value: float, low: float, high: float) -> float:
    return _HIGH - _BOTTOM - (value - low) / (high - low) * (_HIGH - _TOP - _BOTTOM)


def _at(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _path(run: Sequence[Point], span: Span, low: float, high: float) -> str:
    """A point alone is a dot: a line of no length with round ends."""
    points = [f"{_at(_x(at_ns, span))} {_at(_y(value, low, high))}" for at_ns, value in run]
    return f"M{points[0]}" + ("h0" if len(points) == 1 else "L" + " ".join(points[1:]))


def _scale(low: float, high: float) -> tuple[float, float, float]:
    """From where to where, and from one label to the next: 1, 2 or 5 times a power of ten."""
    if high - low < _SMALLEST:
        high = low + 1.0
    rough = (high - low) / 4
    power = 10.0 ** floor(log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    return floor(low / step) * step, ceil(high / step) * step, step


def _rows(low: float, high: float, step: float) -> Iterator[str]:
    for index in range(round((high - low) / step) + 1):
        value = (round(low / step) + index) * step
        y = _y(value, low, high)
        yield f'<path class="grid" d="M{_LEFT} {_at(y)}H{_WIDE - _RIGHT}"/>'
        yield f'<text class="end" x="{_LEFT - 4}" y="{_at(y + 4)}">{number(value)}</text>'


def _columns(span: Span, high: int) -> Iterator[str]:
    foot = high - _BOTTOM
    for at_ns, label in ticks(span):
        x = _at(_x(at_ns, span))
        yield f'<path class="grid" d="M{x} {_TOP}V{foot}"/>'
        yield f'<text class="middle" x="{x}" y="{foot + 14}">{text(label)}</text>'


def ticks(span: Span) -> list[tuple[int, str]]:
    """Moments to label, at full local hours or days; never more than can be read."""
    length_s = (span.until_ns - span.since_ns) / NS_PER_S
    step_s = next((step for step in _STEPS_S if length_s / step < _MOST_TICKS + 1), 0)
    step_s = step_s or ceil(length_s / _MOST_TICKS / 86_400) * 86_400
    form = "%H:%M" if step_s < 86_400 else "%d %b"
    begin = datetime.fromtimestamp(span.since_ns // NS_PER_S)
    moment = datetime.combine(begin.date(), datetime.min.time())
    found: list[tuple[int, str]] = []
    while len(found) <= 2 * _MOST_TICKS:
        at_ns = round(moment.timestamp() * NS_PER_S)
        if at_ns > span.until_ns:
            break
        if at_ns >= span.since_ns:
            found.append((at_ns, moment.strftime(form)))
        moment += timedelta(seconds=step_s)
    return found
