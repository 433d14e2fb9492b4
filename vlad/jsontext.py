"""Strict JSON text from whatever status and events hold: no NaN, which other languages' parsers refuse."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from enum import Enum
from typing import Any

_encode = json.JSONEncoder(allow_nan=False, check_circular=False, separators=(",", ":")).encode


def to_json(value: Any) -> str:
    """`value` on one line. NaN and infinities become null, unknown types their text."""
    try:
        return _encode(value)
    except (TypeError, ValueError):
        return _encode(_plain(value))


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return _plain(value.value)
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    tolist = getattr(value, "tolist", None)
    return _plain(tolist()) if callable(tolist) else str(value)
