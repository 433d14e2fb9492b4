"""Writing to the terminal: colours and live pictures where there is one, plain text where there is none."""

from __future__ import annotations

import io
import json
import os
import sys
from typing import Any

from rich.console import Console, RenderableType
from rich.text import Text

_PLAIN_WIDTH = 100
_MARKS = {
    "ok": ("ok", "green"),
    "unknown": ("unknown", "cyan"),
    "warning": ("warning", "yellow"),
    "problem": ("problem", "bold red"),
}

SCHEMA = 1
"""Of every --json answer; raised when a key changes its meaning or goes."""


class Output:
    """Where a command writes; `json` as the user asked."""

    def __init__(self, *, json: bool) -> None:
        self.json = json
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="replace")
        self.console = _console(sys.stdout)

    @property
    def live(self) -> bool:
        """Whether a picture can be drawn over again in place."""
        return self.console.is_terminal and not self.console.is_dumb_terminal

    def show(self, renderable: RenderableType) -> None:
        self.console.print(renderable)

    def line(self, text: Text) -> None:
        """Text that a script may cut up by lines: never wrapped."""
        self.console.print(text, soft_wrap=True)

    def data(self, document: dict[str, Any]) -> None:
        """A whole JSON answer."""
        sys.stdout.write(json.dumps({"schema": SCHEMA} | document, indent=2) + "\n")

    def record(self, document: dict[str, Any]) -> None:
        """One of a stream of JSON answers, a line each, at once."""
        sys.stdout.write(json.dumps({"schema": SCHEMA} | document) + "\n")
        sys.stdout.flush()

    def error(self, code: str, message: str, hint: str) -> None:
        if self.json:
            self.data({"ok": False, "error": {"code": code, "message": message, "hint": hint}})
            return
        text = Text("vladctl: ", style="bold red").append(clean(message), style="default")
        if hint:
            text.append(f"\n  {clean(hint)}", style="default")
        console = _console(sys.stderr)
        console.print(text, soft_wrap=not console.is_terminal)


def _console(file: Any) -> Console:
    width = None if file.isatty() or "COLUMNS" in os.environ else _PLAIN_WIDTH
    return Console(file=file, highlight=False, markup=False, emoji=False, width=width)


def clean(value: object) -> str:
    """Text from the daemon, a driver or a file without anything that would steer the terminal."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in str(value))


def mark(state: str) -> Text:
    """A finding's state: ok, unknown, warning or problem."""
    word, style = _MARKS[state]
    return Text(word, style=style)
