"""The keys of vlad.toml that the guard needs, checked as vlad/config.py does, but without its libraries."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from vlad.settings_files import Values, merge, read_settings

_NS_PER_MS = 1_000_000
_HEX = re.compile(r"([0-9a-fA-F]{2})*")

_Check: TypeAlias = Callable[[Any], bool]


class SettingsError(Exception):
    """The settings cannot be used; every mistake is in `problems`, with file, key and what was expected."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class GuardConfig:
    """What the guard goes by."""

    run_dir: Path
    silence_ns: int
    relay: Path | None
    relay_stop: bytes
    relay_run: bytes
    fifo_priority: int
    """Of the daemon; 0: the ordinary scheduler."""
    lock_memory: bool


def _whole(least: int, most: int) -> tuple[_Check, str]:
    def fits(value: Any) -> bool:
        return type(value) is int and least <= value <= most

    return fits, f"must be a whole number from {least} to {most}"


def _is_flag(value: Any) -> bool:
    return type(value) is bool


def _is_path(value: Any) -> bool:
    return type(value) is str and bool(value)


def _is_hex(value: Any) -> bool:
    return type(value) is str and _HEX.fullmatch(value) is not None


_FLAG = (_is_flag, "must be true or false")
_PATH = (_is_path, "must be a path")
_BYTES = (_is_hex, "must be bytes in hexadecimal, two digits each")

_KEYS: dict[tuple[str, str], tuple[tuple[_Check, str], Any]] = {
    ("guard", "required"): (_FLAG, True),
    ("guard", "silence_ms"): (_whole(20, 1000), 50),
    ("guard", "relay"): (_PATH, None),
    ("guard", "relay_stop"): (_BYTES, "30"),
    ("guard", "relay_run"): (_BYTES, "31"),
    ("paths", "run_dir"): (_PATH, "/run/vlad"),
    ("realtime", "fifo_priority"): (_whole(0, 99), 50),
    ("realtime", "lock_memory"): (_FLAG, True),
}
"""Section and key -> what it must be, and what it is where nobody set it."""


def load_guard_settings(path: Path, run_dir: Path | None) -> GuardConfig:
    """From `path` and `path`.d/*.toml; `run_dir` goes before theirs. SettingsError with all mistakes."""
    problems: list[str] = []
    sources = read_settings(path, problems)
    merged: Values = {}
    for file, values in sources:
        problems += (f"{file}: {section}: must be a table" for section in _no_tables(values))
        merged = merge(merged, values)
    if problems:
        raise SettingsError(problems)
    found = {name: merged.get(name[0], {}).get(name[1], default) for name, (_, default) in _KEYS.items()}
    for (section, key), ((fits, expected), default) in _KEYS.items():
        value = found[section, key]
        if value is not default and not fits(value):
            where = _last_with(sources, section, key)
            problems.append(f"{where}: {section}.{key}: {expected} (got {value!r})")
    for key in merged.get("guard", {}):
        if ("guard", key) not in _KEYS:
            where = _last_with(sources, "guard", key)
            problems.append(f"{where}: guard.{key}: unknown key; check its spelling, or remove it")
    if problems:
        raise SettingsError(problems)
    relay = found["guard", "relay"]
    return GuardConfig(
        run_dir=run_dir or Path(found["paths", "run_dir"]),
        silence_ns=found["guard", "silence_ms"] * _NS_PER_MS,
        relay=Path(relay) if relay else None,
        relay_stop=bytes.fromhex(found["guard", "relay_stop"]),
        relay_run=bytes.fromhex(found["guard", "relay_run"]),
        fifo_priority=found["realtime", "fifo_priority"],
        lock_memory=found["realtime", "lock_memory"],
    )


def _no_tables(values: Values) -> list[str]:
    sections = sorted({section for section, _ in _KEYS})
    return [section for section in sections if not isinstance(values.get(section, {}), dict)]


def _last_with(sources: list[tuple[Path, Values]], section: str, key: str) -> Path:
    return next(file for file, values in reversed(sources) if key in values.get(section, {}))
