"""Events as text: a line each, for `events` and `top`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from vlad.ctl.output import clean
from vlad.ctl.view import level_style

Row = Mapping[str, Any]

_LONGEST = 160


def event_line(event: Row) -> Text:
    """When, how bad, what kind, what."""
    when = datetime.fromtimestamp(event["wall_ns"] / 1e9).astimezone()
    text = Text(f"{when:%Y-%m-%d %H:%M:%S}.{when.microsecond // 1000:03d} ", style="dim")
    text.append(f"{clean(event['level']):9} ", style=level_style(event["level"]))
    text.append(f"{clean(event['kind'])}: ", style="bold")
    return text.append(clean(event["text"]), style="default")


def events_view(events: Iterable[Row]) -> RenderableType:
    """What happened last, a line each."""
    lines = [event_line(event) for event in events]
    for line in lines:
        line.truncate(_LONGEST, overflow="ellipsis")
    return (
        Group(Text("\nevents", style="bold underline"), *(Text("  ").append_text(line) for line in lines))
        if lines
        else Text("")
    )
