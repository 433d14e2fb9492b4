"""The tasks, a module each: `run(job) -> Result`; the docstring's first line says what it does."""

from __future__ import annotations

from pathlib import Path


def find() -> dict[str, str]:
    """What each task does, by its name. Reads their files, and loads none of them."""
    files = sorted(Path(__file__).parent.glob("[a-z]*.py"))
    return {file.stem: _description(file) for file in files}


def _description(file: Path) -> str:
    with file.open(encoding="utf-8") as text:
        return text.readline().strip().strip('"')
