"""Where the demo shows itself: a live display in a terminal, or plain lines."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import IO, Protocol, Self

from rich.console import Console
from rich.live import Live

from tools.demonstration.dashboard import Dashboard
from tools.demonstration.view import Happening, View

_LINE_EVERY_S = 1.0


class Output(AbstractContextManager["Output"], Protocol):
    """Draws the view as it is; called ten times a second, and for each new event."""

    def refresh(self) -> None: ...

    def happened(self, happening: Happening) -> None: ...


class Screen:
    """The whole terminal, given back at the end."""

    def __init__(self, view: View, full_speed: tuple[float, float], console: Console) -> None:
        dashboard = Dashboard(view, full_speed)
        self._live = Live(dashboard, console=console, screen=True, auto_refresh=False)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def refresh(self) -> None:
        self._live.refresh()

    def happened(self, happening: Happening) -> None:
        """The next refresh shows it."""


class Lines:
    """One line a second and one for each event, without control codes."""

    def __init__(self, view: View, stream: IO[str], now_s: Callable[[], float]) -> None:
        self._view = view
        self._stream = stream
        self._now_s = now_s
        self._due_s = now_s()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def refresh(self) -> None:
        if self._now_s() >= self._due_s:
            self._due_s = self._now_s() + _LINE_EVERY_S
            self._write(self._view.elapsed_s, line(self._view))

    def happened(self, happening: Happening) -> None:
        level = "" if happening.level == "SAFE" else f"{happening.level}: "
        self._write(happening.at_s, f"* {level}{happening.text}")

    def _write(self, at_s: float, text: str) -> None:
        self._stream.write(f"{at_s:7.1f} s  {text}\n")
        self._stream.flush()


def line(view: View) -> str:
    """How things stand, in one short line."""
    if not view.status or not view.truth:
        return view.waiting
    parts = [f"{view.look('mode')} {view.look('level')}"]
    gap = view.referee.gap_m(view.truth.pose)
    if view.waiting:
        parts.append(view.waiting)
    elif view.look("task"):
        parts.append(f'"{view.look("task")}"')
    parts.append(f"{view.truth.twist[0]:+.2f} m/s {view.truth.twist[1]:+.2f} rad/s")
    if gap is not None:
        parts.append(f"{gap:.2f} m to go")
    parts.append(f"reached {view.referee.score.successes} of {view.referee.score.outcomes.total()}")
    return "  ".join(parts)
