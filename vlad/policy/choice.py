"""Which bundle an operator chose to run in place of that of the settings, kept through a restart."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlad.files import write_durably
from vlad.jsontext import to_json

_SCHEMA = 1


class ChoiceError(Exception):
    """The file cannot be understood; the message says which, why, and what to do."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The bundle that runs and the one that ran before it, as folders; None: none.

    `configured` is the settings' bundle at that time: once they name another, the choice is void.
    """

    bundle: Path | None
    before: Path | None
    configured: Path | None


def read_choice(path: Path, configured: Path | None) -> Choice:
    """What was chosen last, or the settings' own bundle where nothing was, or for other settings."""
    try:
        state = json.loads(path.read_bytes())
    except FileNotFoundError:
        return Choice(configured, None, configured)
    except (OSError, ValueError, RecursionError) as error:
        raise ChoiceError(_unreadable(path, str(error))) from None
    match state:
        case {"schema": 1, "bundle": bundle, "before": before, "configured": meant}:
            choice = Choice(_folder(bundle, path), _folder(before, path), _folder(meant, path))
        case _:
            raise ChoiceError(_unreadable(path, "not a state that this version knows"))
    return choice if choice.configured == configured else Choice(configured, None, configured)


def write_choice(path: Path, choice: Choice) -> None:
    """OSError where the disk does not take it."""
    state: dict[str, Any] = {"schema": _SCHEMA}
    for key in ("bundle", "before", "configured"):
        folder = getattr(choice, key)
        state[key] = None if folder is None else str(folder)
    write_durably(path, to_json(state) + "\n")


def _folder(value: object, path: Path) -> Path | None:
    if value is not None and type(value) is not str:
        raise ChoiceError(_unreadable(path, f"{value!r:.40} is no folder"))
    return None if value is None else Path(value)


def _unreadable(path: Path, why: str) -> str:
    return f"{path}: cannot be read ({why}); remove it to run the bundle of the settings"
