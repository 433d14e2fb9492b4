"""Strict JSON text from whatever status and events hold: no NaN, which other languages' parsers refuse."""

from __future__ import annotations

import json
from typing import Any

import pydantic_core
from pydantic_core import PydanticSerializationError


def to_json(value: Any) -> str:
    """`value` on one line. NaN and infinities become null, unknown types their text."""
    try:
        return pydantic_core.to_json(value, inf_nan_mode="null", fallback=_known).decode()
    except (PydanticSerializationError, ValueError):  # half a character in a text, as in names of files
        plain = json.loads(json.dumps(value, default=_plain), parse_constant=lambda name: None)
        return json.dumps(plain, separators=(",", ":"))


def _plain(value: Any) -> Any:
    return pydantic_core.to_jsonable_python(value, fallback=_known)


def _known(value: Any) -> Any:
    """A list or a number in place of an array, text in place of all else."""
    tolist = getattr(value, "tolist", None)
    return tolist() if callable(tolist) else str(value)
