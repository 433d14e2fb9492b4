"""What the daemon and its recorder say to each other: lines of JSON on the recorder's stdin and stdout."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from vlad.jsontext import to_json

_LONGEST_TEXT = 300
"""Of an operator's note: with it a line is still written to a pipe as a whole."""


class RecordError(Exception):
    """What an operator asks of the black box cannot be done; the message says why."""


@dataclass(frozen=True, slots=True)
class Setup:
    """The first line: all that a recorder needs to know. `signals` has the type of each topic."""

    run_dir: str
    folder: str
    robot: str
    signals: dict[str, str]
    mode: str
    before_s: float
    after_s: float
    memory_mb: int
    jpeg_quality: int
    disk_mb: int
    free_mb: int
    protected_s: float

    def line(self) -> bytes:
        return to_json(asdict(self)).encode() + b"\n"

    @classmethod
    def read(cls, line: bytes) -> Setup:
        return cls(**json.loads(line))


@dataclass(frozen=True, slots=True)
class Order:
    """A later line. `what` is mark, start, stop, or end: the daemon ends, and so shall the recorder."""

    what: str
    text: str
    now_ns: int

    def line(self) -> bytes:
        return to_json([self.what, self.text[:_LONGEST_TEXT], self.now_ns]).encode() + b"\n"

    @classmethod
    def read(cls, line: bytes) -> Order:
        return cls(*json.loads(line))


def said(line: bytes) -> dict[str, Any]:
    """What the recorder says: {"report": ...} or {"level", "text", "path"}; empty: that is none of it."""
    try:
        row = json.loads(line)
    except ValueError:
        return {}
    return row if isinstance(row, dict) else {}
