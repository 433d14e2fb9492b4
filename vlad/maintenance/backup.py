"""A backup: a folder with copies of what a robot cannot do without, and a manifest with the hash of each.

    NAME/manifest.json      what is in it, where from, SHA-256 of each file; written last
    NAME/settings/...       the settings' file, its drop-ins, the robot's limits file and URDF
    NAME/state/...          databases, which bundle drives, calibration, the manifests of installed bundles

Keys, models, recordings and the e-stop's latch are not in it. A folder without its manifest is no backup.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import vlad
from vlad.files import sync_folder, write_durably
from vlad.maintenance.job import Job

MANIFEST = "manifest.json"
SETTINGS, STATE, MODELS = "settings", "state", "state/models"
DATABASES = ("vlad.db", "maintenance.db")
SCHEMA = 1
_STATE_FILES = ("policy.json", "calibration/**/*", "models/*/*/policy.toml")
_CHUNK = 1024 * 1024


class BackupError(Exception):
    """A backup cannot be made or used; the message says why, and what to do about it."""


@dataclass(frozen=True, slots=True)
class Source:
    """A file to be copied, and what it is called in the backup, with slashes."""

    path: Path
    name: str


@dataclass(frozen=True, slots=True)
class Entry:
    """A file in a backup. `origin`: where it was copied from."""

    name: str
    size: int
    sha256: str
    origin: Path


@dataclass(frozen=True, slots=True)
class Manifest:
    """What is in a backup."""

    robot: str
    wall_ns: int
    state_dir: Path
    entries: tuple[Entry, ...]

    @property
    def size(self) -> int:
        return sum(entry.size for entry in self.entries)


def find_sources(job: Job) -> list[Source]:
    """What there is to be copied."""
    config, state_dir, robot = job.config, job.settings.paths.state_dir, job.robot
    settings = [config, *sorted(Path(f"{config}.d").glob("*.toml")), job.settings.robot.limits]
    if robot.workspace is not None and robot.workspace.urdf is not None:
        settings.append(robot.workspace.urdf)
    state = [state_dir / name for name in DATABASES]
    state += (path for pattern in _STATE_FILES for path in sorted(state_dir.glob(pattern)))
    return [
        *(Source(path, f"{SETTINGS}/{_below(path, config.parent)}") for path in dict.fromkeys(settings)),
        *(Source(path, f"{STATE}/{path.relative_to(state_dir).as_posix()}") for path in state),
    ]


def fill(folder: Path, sources: list[Source], job: Job, tell: Callable[[float, str], None]) -> Manifest:
    """Copy everything into an empty folder, durably, and verify it by reading it back.

    OSError or sqlite3.Error where the disk does not take it, BackupError where what is read is not what was
    written.
    """
    entries: list[Entry] = []
    for number, source in enumerate(sources):
        if source.path.is_file():
            tell(number / len(sources), source.name)
            entries.append(_copy(source, folder))
    manifest = Manifest(job.robot.name, job.wall_ns, job.settings.paths.state_dir, tuple(entries))
    write_durably(folder / MANIFEST, json.dumps(_to_json(manifest), indent=1))
    for path in (folder, *(path for path in folder.rglob("*") if path.is_dir())):
        sync_folder(path)
    if problems := list(verify(folder, manifest)):
        raise BackupError("; ".join(problems))
    return manifest


def verify(folder: Path, manifest: Manifest) -> Iterator[str]:
    """What is wrong with it, read from the disk; nothing: it is whole."""
    for entry in manifest.entries:
        path = folder / entry.name
        try:
            size, sha256 = _hash(path)
        except OSError as error:
            yield f"{path}: {error.strerror}"
            continue
        if (size, sha256) != (entry.size, entry.sha256):
            yield f"{path}: is not what was backed up"
        elif path.name in DATABASES:
            yield from (f"{path}: {problem}" for problem in _integrity(path))


def read_manifest(folder: Path) -> Manifest:
    """Of a backup; BackupError where there is none, or one that makes no sense."""
    path = folder / MANIFEST
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values["schema"] != SCHEMA:
            raise BackupError(f"{path}: has the schema {values['schema']}; this vlad reads {SCHEMA}")
        entries = tuple(
            Entry(_safe(row["name"]), int(row["size"]), str(row["sha256"]), Path(row["from"]))
            for row in values["files"]
        )
        return Manifest(values["robot"], int(values["wall_ns"]), Path(values["state_dir"]), entries)
    except OSError as error:
        hint = "a backup is a folder with that file in it"
        raise BackupError(f"{path}: {error.strerror}; {hint}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise BackupError(f"{path}: is no manifest of a backup ({error})") from None


def _to_json(manifest: Manifest) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "vlad": vlad.__version__,
        "robot": manifest.robot,
        "wall_ns": manifest.wall_ns,
        "state_dir": str(manifest.state_dir),
        "files": [
            {"name": entry.name, "size": entry.size, "sha256": entry.sha256, "from": str(entry.origin)}
            for entry in manifest.entries
        ],
    }


def _safe(name: object) -> str:
    """A name that leads nowhere but into the backup."""
    path = PurePosixPath(str(name))
    if path.is_absolute() or ".." in path.parts or path.parts[:1] not in ((SETTINGS,), (STATE,)):
        raise ValueError(f"the name {str(name)!r} leads out of it")
    return path.as_posix()


def _below(path: Path, folder: Path) -> str:
    absolute = Path(os.path.abspath(path))
    if absolute.is_relative_to(folder):
        return absolute.relative_to(folder).as_posix()
    return f"elsewhere{absolute.as_posix()}"


def _copy(source: Source, folder: Path) -> Entry:
    copy = folder / source.name
    copy.parent.mkdir(parents=True, exist_ok=True)
    if source.path.name in DATABASES:
        _copy_database(source.path, copy)
        size, sha256 = _hash(copy)
    else:
        size, sha256 = copy_file(source.path, copy)
    return Entry(source.name, size, sha256, Path(os.path.abspath(source.path)))


def copy_file(source: Path, copy: Path) -> tuple[int, str]:
    """Copy a file durably; the size and SHA-256 of what was read."""
    size, digest = 0, hashlib.sha256()
    with source.open("rb") as reading, copy.open("xb") as writing:
        while chunk := reading.read(_CHUNK):
            size += writing.write(chunk)
            digest.update(chunk)
        writing.flush()
        os.fsync(writing.fileno())
    return size, digest.hexdigest()


def _copy_database(source: Path, copy: Path) -> None:
    """As of one moment, while others write to it; in one file, without a log beside it."""
    with (
        contextlib.closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True)) as reading,
        contextlib.closing(sqlite3.connect(copy)) as writing,
    ):
        reading.backup(writing)
        writing.execute("PRAGMA journal_mode=DELETE")
    with copy.open("rb+") as file:
        os.fsync(file.fileno())


def _hash(path: Path) -> tuple[int, str]:
    """Of what is on the disk, not of what the kernel still has in memory."""
    size, digest = 0, hashlib.sha256()
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        while chunk := file.read(_CHUNK):
            size += len(chunk)
            digest.update(chunk)
    return size, digest.hexdigest()


def _integrity(path: Path) -> list[str]:
    """What SQLite finds wrong with a database."""
    address = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
    with contextlib.closing(sqlite3.connect(address, uri=True)) as database:
        found = [str(row[0]) for row in database.execute("PRAGMA integrity_check(5)")]
    return [] if found == ["ok"] else found
