"""Lists of files with their SHA-256, as sha256sum writes them: what tools/install says of what it installed.

Who can change all that root installed can change the list as well: it tells of mistakes and broken disks, and
of those who could write to a part of it only.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_CHUNK = 1 << 20
LINK = "-> "
"""A link counts as its target's name."""


@dataclass(frozen=True, slots=True)
class Differences:
    """Paths, as the list has them."""

    changed: tuple[str, ...]
    missing: tuple[str, ...]
    added: tuple[str, ...]
    unread: tuple[str, ...]


def listed(text: str) -> dict[str, str]:
    """Path -> hash. ValueError where a line is not of the format."""
    hashes = {}
    for line in text.splitlines():
        digest, separator, path = line.partition("  ")
        if len(digest) != 64 or not separator or not path:
            raise ValueError(f"{line!r:.60} is not HASH  PATH")
        hashes[path] = digest
    return hashes


def to_text(hashes: Mapping[str, str]) -> str:
    return "".join(f"{digest}  {path}\n" for path, digest in sorted(hashes.items()))


def digest(path: Path) -> str:
    """OSError where it cannot be read."""
    whole = hashlib.sha256()
    if path.is_symlink():
        whole.update(f"{LINK}{os.readlink(path)}".encode())
        return whole.hexdigest()
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(_CHUNK):
            whole.update(chunk)
    return whole.hexdigest()


def files_under(folder: Path, left_out: frozenset[str] = frozenset()) -> Iterator[str]:
    """Files and links below, by their paths from `folder`; links are not followed."""
    for base, folders, files in os.walk(folder):
        inside = Path(base)
        links = [name for name in folders if (inside / name).is_symlink()]
        for name in (*files, *links):
            path = str((inside / name).relative_to(folder))
            if path not in left_out:
                yield path


def compare(
    wanted: Mapping[str, str], found: Iterator[str], folder: Path, progress: Callable[[float], None]
) -> Differences:
    """`found` are the paths that are there, from `folder`."""
    there = set(found)
    changed, unread = [], []
    for number, path in enumerate(sorted(there & wanted.keys())):
        progress(number / len(wanted))
        try:
            if digest(folder / path) != wanted[path]:
                changed.append(path)
        except OSError:
            unread.append(path)
    return Differences(
        tuple(changed),
        tuple(sorted(wanted.keys() - there)),
        tuple(sorted(there - wanted.keys())),
        tuple(unread),
    )
