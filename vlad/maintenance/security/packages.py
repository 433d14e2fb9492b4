"""The Python packages that were installed, against the lock that tools/install writes: PREFIX/packages.lock.

`python -m vlad.maintenance.security.packages` prints that lock: each package with its version, then each file
of the environment with its hash.
"""

from __future__ import annotations

import importlib.metadata
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from vlad.maintenance.finding import Finding
from vlad.maintenance.security import hashes

LOCK = "packages.lock"
_AGAIN = "run tools/install again, from a source that you trust"
_TOLD = 3
_LEFT_OUT = frozenset((LOCK, f".{LOCK}", "units.sha256"))


def lock_text(prefix: Path) -> str:
    """What a lock of the environment at `prefix` says."""
    versions = "".join(f"{name}=={version}\n" for name, version in sorted(installed(prefix).items()))
    files = {path: hashes.digest(prefix / path) for path in hashes.files_under(prefix, _LEFT_OUT)}
    return versions + "\n" + hashes.to_text(files)


def installed(prefix: Path) -> dict[str, str]:
    """Name and version of each package."""
    return {str(one.metadata["Name"]).lower(): one.version for one in _distributions(prefix)}


def check_packages(prefix: Path, progress: Callable[[float], None]) -> Iterator[Finding]:
    """Versions, changed, missing and added files of the environment at `prefix`."""
    lock = prefix / LOCK
    try:
        versions, wanted = _read(lock)
    except FileNotFoundError:
        how = "install by tools/install or the Debian package, which write it; pip check tells a little"
        yield Finding("unknown", "packages", f"{lock}: is missing", how)
        return
    except (OSError, ValueError) as error:
        yield Finding("problem", "packages", f"{lock}: cannot be used: {error}", _AGAIN)
        return
    other = list(_versions(versions, installed(prefix)))
    yield from other
    found = hashes.compare(wanted, hashes.files_under(prefix, _LEFT_OUT), prefix, progress)
    files = list(_files(found, _owners(prefix)))
    yield from files
    if not other and not files:
        what = f"{len(versions)} packages, {len(wanted):,} files: as they were installed"
        yield Finding("ok", "packages", what)


def _read(lock: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Versions by package, hashes by path. OSError; ValueError where a line is neither."""
    lines = lock.read_text().splitlines()
    versions = dict(line.split("==") for line in lines if line and "  " not in line)
    return versions, hashes.listed("\n".join(line for line in lines if "  " in line))


def _versions(wanted: dict[str, str], there: dict[str, str]) -> Iterator[Finding]:
    for name in sorted(wanted.keys() | there.keys()):
        before, now = wanted.get(name), there.get(name)
        if before != now:
            what = f"{name}: {now or 'is not there'}, the lock says {before or 'that it is not there'}"
            yield Finding("problem", "packages", what, _AGAIN)


def _files(found: hashes.Differences, owners: dict[str, str]) -> Iterator[Finding]:
    yield from _by_package(found.changed, owners, "were changed", _AGAIN)
    yield from _by_package(found.missing, owners, "are missing", _AGAIN)
    compiled = [path for path in found.added if path.endswith(".pyc")]
    others = [path for path in found.added if not path.endswith(".pyc")]
    yield from _by_package(others, owners, "are not in the lock", f"who put them there? {_AGAIN}")
    if compiled:
        what = f"{len(compiled)} compiled files are not in the lock: {_some(compiled)}"
        yield Finding("warning", "packages", what, f"Python makes them for root; if in doubt: {_AGAIN}")
    if found.unread:
        how = "the scan's user may not read them"
        yield Finding("unknown", "packages", f"{len(found.unread)} files: {_some(found.unread)}", how)


def _by_package(paths: Iterable[str], owners: dict[str, str], what: str, mend: str) -> Iterator[Finding]:
    groups = defaultdict(list)
    for path in paths:
        groups[owners.get(path, "of no package")].append(path)
    for name, group in sorted(groups.items()):
        text = f"{name}: {len(group)} files {what}: {_some(group)}"
        yield Finding("problem", "packages", text, mend)


def _some(paths: Iterable[str]) -> str:
    shown = sorted(paths)
    return ", ".join(shown[:_TOLD]) + (", ..." if len(shown) > _TOLD else "")


def _owners(prefix: Path) -> dict[str, str]:
    """The package of each file, as the packages tell it."""
    owners = {}
    for one in _distributions(prefix):
        for file in one.files or ():
            path = Path(str(one.locate_file(file)))
            resolved = Path(*_flat(path.parts))
            if resolved.is_relative_to(prefix):
                owners[str(resolved.relative_to(prefix))] = str(one.metadata["Name"])
    return owners


def _flat(parts: tuple[str, ...]) -> list[str]:
    """Without `..`, and without following a link."""
    flat: list[str] = []
    for part in parts:
        if part == "..":
            flat.pop()
        else:
            flat.append(part)
    return flat


def _distributions(prefix: Path) -> Iterator[importlib.metadata.Distribution]:
    folders = [str(folder) for folder in (prefix / "lib").glob("python3.*/site-packages")]
    yield from importlib.metadata.distributions(path=folders)


if __name__ == "__main__":
    sys.stdout.write(lock_text(Path(sys.prefix)))
