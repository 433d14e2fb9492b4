"""The systemd units that were installed, against their hashes in PREFIX/units.sha256; what overrides them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from vlad.maintenance.finding import Finding
from vlad.maintenance.security import hashes

LIST = "units.sha256"
_AGAIN = "run tools/install again, or put your changes into a drop-in: systemctl edit"
_ORDER = ("etc/systemd/system", "run/systemd/system", "usr/local/lib/systemd/system")
"""What lies here counts in place of what lies in /usr/lib/systemd/system."""
_KEY = re.compile(r"^\s*([A-Z][A-Za-z]+)\s*=", re.MULTILINE)
_POWERFUL = re.compile(
    r"^(Exec|User$|Group$|SupplementaryGroups|AmbientCapabilities|CapabilityBoundingSet|NoNewPrivileges"
    r"|Protect|Private|Restrict|SystemCall|DeviceAllow|DevicePolicy|IPAddress|Environment|RootDirectory"
    r"|BindPaths|MemoryDenyWrite)"
)
"""Keys that decide what is run, and what it may do."""


def check_units(prefix: Path, root: Path = Path("/")) -> Iterator[Finding]:
    list_ = prefix / LIST
    try:
        wanted = hashes.listed(list_.read_text())
    except FileNotFoundError:
        how = "install by tools/install or the Debian package, which write it"
        yield Finding("unknown", "units", f"{list_}: is missing", how)
        return
    except (OSError, ValueError) as error:
        yield Finding("problem", "units", f"{list_}: cannot be used: {error}", _AGAIN)
        return
    inside = {path.lstrip("/"): digest for path, digest in wanted.items()}
    there = (path for path in inside if (root / path).exists())
    found = hashes.compare(inside, there, root, lambda part: None)
    for paths, what in ((found.changed, "was changed"), (found.missing, "is missing")):
        for path in paths:
            yield Finding("problem", "units", f"/{path}: {what} since it was installed", _AGAIN)
    for path in found.unread:
        yield Finding("unknown", "units", f"/{path}: cannot be read", f"ls -l /{path}")
    if not any((found.changed, found.missing, found.unread)):
        yield Finding("ok", "units", f"{len(inside)} files: as they were installed")
    names = [Path(path).name for path in inside if path.endswith(".service")]
    yield from _overrides(names, root)


def _overrides(names: Sequence[str], root: Path) -> Iterator[Finding]:
    """Units of the same name that come first, and drop-ins with the keys that they set."""
    for name in names:
        for folder in _ORDER:
            if (root / folder / name).exists():
                what = f"/{folder}/{name}: counts in place of the one that was installed"
                yield Finding(
                    "warning", "units", what, f"systemctl cat {name}; if it is not yours: systemctl revert"
                )
        for folder in (*_ORDER, "usr/lib/systemd/system"):
            for file in sorted((root / folder / f"{name}.d").glob("*.conf")):
                yield _drop_in(file, root)


def _drop_in(file: Path, root: Path) -> Finding:
    shown = f"/{file.relative_to(root)}"
    try:
        keys = sorted(set(_KEY.findall(file.read_text(errors="replace"))))
    except OSError as error:
        return Finding("unknown", "units", f"{shown}: {error.strerror}", f"cat {shown} as root")
    powerful = [key for key in keys if _POWERFUL.match(key)]
    if powerful:
        what = f"{shown}: a drop-in sets {', '.join(powerful)}"
        return Finding("warning", "units", what, "is it yours? It changes what is run, or what it may do")
    return Finding("ok", "units", f"{shown}: a drop-in sets {', '.join(keys) or 'nothing'}")
