"""A moment, as people write and read it: an age such as 7d, or a local date and time."""

from __future__ import annotations

import argparse
import re
import time
from datetime import datetime

_UNITS_S = {"min": 60, "h": 3_600, "d": 86_400, "w": 7 * 86_400}
_LATEST_S = 9e9
"""In the year 2255: nanoseconds since 1970 fit into 64 bits until shortly after."""


def moment(text: str) -> int:
    """Wall clock [ns]; argparse.ArgumentTypeError where it is no moment."""
    if age := re.fullmatch(r"(\d{1,6}(?:\.\d{1,3})?)(min|h|d|w)", text.strip()):
        seconds = time.time() - float(age[1]) * _UNITS_S[age[2]]
    elif text.strip() == "now":
        seconds = time.time()
    else:
        try:
            seconds = datetime.fromisoformat(text.strip()).timestamp()
        except (ValueError, OverflowError):
            told = "must be an age (90min, 24h, 7d, 4w) or a date (2026-11-14, 2026-11-14T08:30)"
            raise argparse.ArgumentTypeError(told) from None
    return round(min(max(seconds, 0.0), _LATEST_S) * 1e9)


def local(wall_ns: int | None, never: str = "-") -> str:
    """Date and time, to the minute, or `never`."""
    return never if wall_ns is None else f"{datetime.fromtimestamp(wall_ns / 1e9):%Y-%m-%d %H:%M}"
