"""Writing TOML: the few types that a manifest has. The standard library only reads it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def write_toml(values: Mapping[str, Any]) -> str:
    """`values` as TOML text; keys that are None are left out. TypeError names the key of another type."""
    return "\n".join(_lines(values)).lstrip("\n") + "\n"


def plain(value: Any) -> Any:
    """The same with NumPy numbers and arrays, tuples, paths and enums as plain Python values."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, Enum):
        return value.value
    return str(value) if isinstance(value, Path) else value


def _quoted(text: str) -> str:
    """A TOML basic string: as JSON's, but that DEL must be escaped and surrogate pairs may not be used."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _inline(value: Any, key: str) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case str():
            return _quoted(value)
        case list():
            return f"[{', '.join(_inline(item, key) for item in value)}]"
        case dict():
            pairs = (f"{_quoted(name)} = {_inline(item, key)}" for name, item in value.items())
            return f"{{{', '.join(pairs)}}}"
    raise TypeError(f"{key}: {value!r} cannot be written as TOML; leave it out or make it text")


def _lines(table: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """The lines of a table: its plain values first, then its tables and arrays of tables."""
    tables = []
    for name, value in table.items():
        if value is None:
            continue
        key = name if _BARE_KEY.fullmatch(name) else _quoted(name)
        array = isinstance(value, list) and value and all(isinstance(item, dict) for item in value)
        if isinstance(value, dict) or array:
            tables.append((prefix + key, value))
        else:
            yield f"{key} = {_inline(value, prefix + name)}"
    for path, value in tables:
        for item in value if isinstance(value, list) else [value]:
            yield f"\n[[{path}]]" if isinstance(value, list) else f"\n[{path}]"
            yield from _lines(item, f"{path}.")
