"""What is kept of each sensor, its reference and the newest results: calibration/sensors/TOPIC.json."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from pydantic import ValidationError

from vlad.files import write_durably
from vlad.maintenance.sensors.figure import Figure
from vlad.schema import Section


class Reference(Section):
    """What a sensor measured when it was known to be well; `values` are those of its kind's reading."""

    wall_ns: int
    values: dict[str, Any]


class Kept(Section):
    """The file of one sensor. `records` has the newest last, each with wall_ns and its figures."""

    schema_version: Literal[1] = 1
    topic: str
    kind: str
    reference: Reference | None = None
    records: tuple[dict[str, Any], ...] = ()


def file_of(state_dir: Path, topic: str) -> Path:
    return state_dir / "calibration" / "sensors" / f"{quote(topic, safe='')}.json"


def read(path: Path, topic: str, kind: str) -> tuple[Kept, Figure | None]:
    """What is kept, and what was wrong with it: a file that makes no sense is moved aside."""
    fresh = Kept(topic=topic, kind=kind)
    try:
        kept = Kept.model_validate_json(path.read_text())
    except FileNotFoundError:
        return fresh, None
    except (ValidationError, UnicodeDecodeError):
        aside = path.with_suffix(".corrupt")
        path.replace(aside)
        mend = f"store a new reference: --reference; then rm '{aside}'"
        return fresh, Figure("warning", topic, f"{path}: makes no sense, and was moved aside", mend)
    return (kept, None) if kept.kind == kind else (fresh, None)


def add(kept: Kept, wall_ns: int, figures: list[Figure], most: int, reference: Reference | None) -> Kept:
    """With these results, the oldest of more than `most` dropped, and with this reference."""
    rows = [asdict(figure) for figure in figures]
    records = (*kept.records, {"wall_ns": wall_ns, "figures": rows})[-most:]
    return kept.model_copy(update={"records": records, "reference": reference})


def write(path: Path, kept: Kept) -> None:
    """Whole or not at all; OSError where the disk does not take it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_durably(path, kept.model_dump_json() + "\n")
