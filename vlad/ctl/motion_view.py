"""How the robot moves, beside its limits: for `top`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from vlad.ctl.output import clean

_WIDE = 20
_MOST_AXES = 12
_LARGEST, _MOST = 1e9, 1e3
_NEAR, _AT = 0.8, 1.0
"""Of a limit: yellow, red."""


def motion_view(motion: Mapping[str, Any]) -> RenderableType:
    """A line for each axis: speed and position against their limits. Of many, those nearest to a limit."""
    names = list(motion.get("names") or ())
    rows = [_Axis(motion, index) for index in range(len(names))]
    known = [row for row in rows if row.use is not None]
    if not known:
        return Group()
    shown = known
    if len(known) > _MOST_AXES:
        nearest = sorted(known, key=lambda row: -(row.use or 0.0))[:_MOST_AXES]
        shown = [row for row in known if row in nearest]
    table = Table.grid(padding=(0, 2))
    for column in ("  axis", "speed", "", "position", ""):
        table.add_column(column, justify="right" if column in ("speed", "position") else "left", no_wrap=True)
    for row in shown:
        table.add_row(Text(f"  {row.name}"), *row.speed(), *row.place())
    more = Text(f"  and {len(known) - len(shown)} farther from their limits", style="dim")
    watts = motion.get("watts")
    parts: list[RenderableType] = [Text("\nmotion", style="bold underline"), table]
    if len(shown) < len(known):
        parts.append(more)
    if watts is not None:
        parts.append(Text(f"  the robot draws {watts:.0f} W"))
    return Group(*parts)


class _Axis:
    """One number of the command, as far as it was measured."""

    def __init__(self, motion: Mapping[str, Any], index: int) -> None:
        def at(key: str) -> Any:
            values = motion.get(key) or ()
            return values[index] if index < len(values) else None

        self.name = clean(at("names"))
        self._velocity, self._fastest = at("velocity"), at("velocity_limits")
        self._position, self._lower, self._upper = at("position"), at("lower"), at("upper")

    @property
    def use(self) -> float | None:
        """The largest part of a limit that is used; None: nothing was measured."""
        used = [part for part in (self._fast(), self._far()) if part is not None]
        return max(used, default=None)

    def _fast(self) -> float | None:
        if self._velocity is None or not _sound(self._fastest) or self._fastest <= 0:
            return None
        return float(min(abs(self._velocity) / self._fastest, _MOST))

    def _far(self) -> float | None:
        """0 in the middle, 1 at an end."""
        if not (_sound(self._position) and _sound(self._lower) and _sound(self._upper)):
            return None
        half = (self._upper - self._lower) / 2
        return float(min(abs(self._position - self._lower - half) / half, _MOST)) if half > 0 else None

    def speed(self) -> tuple[Text, Text]:
        """The number, and a bar from rest to the limit."""
        part = self._fast()
        if part is None:
            return Text("-" if self._velocity is None else _number(self._velocity)), Text("")
        full = round(min(part, 1.0) * _WIDE)
        bar = Text("━" * full, _style(part)).append("─" * (_WIDE - full), "dim")
        return Text(_number(self._velocity), _style(part)), bar.append(f" {self._fastest:g}", "dim")

    def place(self) -> tuple[Text, Text]:
        """The number, and where it is between the lower and the upper limit."""
        part = self._far()
        if part is None:
            return Text("" if self._position is None else _number(self._position)), Text("")
        along = (self._position - self._lower) / (self._upper - self._lower)
        spot = round(min(max(along, 0.0), 1.0) * (_WIDE - 1))
        bar = Text(f"{self._lower:g} ", "dim").append("─" * spot, "dim").append("●", _style(part))
        bar.append(f"{'─' * (_WIDE - 1 - spot)} {self._upper:g}", "dim")
        return Text(_number(self._position), _style(part)), bar


def _number(value: float) -> str:
    return f"{value:+.3f}" if _sound(value) else f"{value:+.1e}"


def _sound(value: Any) -> bool:
    """Whether it can be drawn to scale."""
    return value is not None and abs(value) < _LARGEST


def _style(part: float) -> str:
    return "red" if part >= _AT else "yellow" if part >= _NEAR else "green"
