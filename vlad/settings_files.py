"""Which files make up the settings, and how later ones override earlier ones. Standard library only."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, TypeAlias

DEFAULT_SETTINGS = Path("/etc/vlad/vlad.toml")

Values: TypeAlias = dict[str, Any]

_PATHS: tuple[tuple[str, ...], ...] = (
    ("robot", "limits"),
    ("policy", "bundle"),
    ("wire", "curve_server_secret"),
    ("wire", "curve_clients"),
    ("guard", "relay"),
    ("page", "token_file"),
    ("policy", "server", "token_file"),
    ("policy", "server", "ca_file"),
    ("policy", "server", "certificate_file"),
    ("policy", "server", "key_file"),
)


def read_settings(path: Path, problems: list[str]) -> list[tuple[Path, Values]]:
    """`path`, and what is in `path`.d/*.toml in the order of their names; what cannot be read is told in
    `problems`. Paths in them are made relative to the file that they stand in.
    """
    files = [path, *sorted(Path(f"{path}.d").glob("*.toml"))]
    return [(file, _anchor(read_toml(file, problems), file.parent)) for file in files]


def read_toml(path: Path, problems: list[str]) -> Values:
    """One file; empty where it cannot be read, with the reason added to `problems`."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        problems.append(f"{path}: cannot be read ({error.strerror}); name another file or create it")
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        problems.append(f"{path}: is not valid TOML: {error}")
    return {}


def merge(base: Values, over: Values) -> Values:
    """`base` with the single keys of `over` in place of its own."""
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value) if both else value
    return merged


def _anchor(values: Values, folder: Path) -> Values:
    for path in _PATHS:
        values = _anchor_one(values, path, folder)
    return values


def _anchor_one(values: Values, path: tuple[str, ...], folder: Path) -> Values:
    """`values` with the file that is named at `path`, if one is, made relative to `folder`."""
    key, *rest = path
    inner = values.get(key)
    if rest and isinstance(inner, dict):
        return {**values, key: _anchor_one(inner, tuple(rest), folder)}
    if not rest and isinstance(inner, str):
        return {**values, key: str(folder / inner)}
    return values
