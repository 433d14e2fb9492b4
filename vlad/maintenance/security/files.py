"""Modes and owners of vlad's own files, folders and sockets, and secrets where others may read them."""

from __future__ import annotations

import os
import pwd
import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from shlex import quote

from vlad.config import Settings
from vlad.maintenance.finding import Finding
from vlad.maintenance.security.values import secret_files, values_of

_OTHERS = stat.S_IROTH | stat.S_IWOTH | stat.S_IXOTH
_MOST = 100_000
"""So many files of a folder are looked at."""
_TOLD = 5
_SECRETS = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----"
    r"|\b(?:sk|ghp|gho|glpat|hf|xox[abp])[-_][A-Za-z0-9_-]{16,}|\bAKIA[0-9A-Z]{16}\b"
    r"|[a-z]+://[^/\s:@\"']+:[^/\s@\"']+@"
    r"|^\s*webhook\s*=\s*[\"']https?://[^\"']*/[A-Za-z0-9_-]{16,}"
    r"|(?i:password|passwd|secret|token|api_?key)[\"']?[=:,\s]\s*[=:,]?\s*[\"']?(?=[^\s\"']*[0-9])[A-Za-z0-9+_-]{16,}"
)
"""Private keys, keys of well-known services, passwords in addresses, webhooks, what says that it is one."""


def check_settings_files(config: Path, limits: Path) -> Iterator[Finding]:
    """Who may change the settings may do with the robot what they like. Secrets in them are for few."""
    more = Path(f"{config}.d")
    files = [config, *sorted(more.glob("*.toml")), limits]
    folders = sorted({path.absolute().parent for path in files} | {more})
    found = [finding for path in (*files, *folders) for finding in _unchanged_by_others("settings", path)]
    found += (finding for path in files for finding in _secrets_in(path))
    yield from found
    if not found:
        yield Finding("ok", "settings", f"{len(files)} files: only their owner may change them")


def check_named_files(settings: Settings) -> Iterator[Finding]:
    """What the settings name is trusted or run: drivers' public keys, certificates, policies, programs."""
    own = {key for key, _ in secret_files(settings)} | {"paths.run_dir", "paths.state_dir", "robot.limits"}
    named = {key: value for key, value in values_of(settings) if isinstance(value, Path) and key not in own}
    if settings.health.command:
        named["health.command"] = Path(settings.health.command[0])
    found: list[Finding] = []
    for key, path in named.items():
        inside = sorted(path.iterdir()) if path.is_dir() and os.access(path, os.R_OK | os.X_OK) else []
        for file in (path, *inside):
            found += _unchanged_by_others(key, file)
    yield from found
    if named and not found:
        yield Finding("ok", "named files", f"{len(named)}: only their owners may change them")


def _unchanged_by_others(topic: str, path: Path) -> Iterator[Finding]:
    """Of devices others decide, and in a sticky folder nobody changes what belongs to another."""
    status = _stat(path)
    if status is None or stat.S_ISCHR(status.st_mode):
        return
    shown = quote(str(path))
    sticky = stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX
    if status.st_mode & stat.S_IWOTH and not sticky:
        yield Finding("problem", topic, f"{path}: everybody may change it", f"chmod go-w {shown}")
    elif status.st_mode & stat.S_IWGRP and not sticky:
        yield Finding("warning", topic, f"{path}: its group may change it", f"chmod g-w {shown}")
    if status.st_uid not in (0, os.geteuid()):
        what = f"{path}: belongs to {_name(status.st_uid)}, who may change it"
        yield Finding("warning", topic, what, f"chown root {shown}")


def _secrets_in(path: Path) -> Iterator[Finding]:
    """Lines that hold a secret, told by their number only."""
    try:
        lines, mode = path.read_text(errors="replace").splitlines(), path.stat().st_mode
    except OSError as error:
        yield Finding("unknown", "settings", f"{path}: {error.strerror}", "let the daemon's user read it")
        return
    for number, line in enumerate(lines, 1):
        if _SECRETS.search(line):
            if mode & stat.S_IROTH:
                what = f"{path}:{number}: everybody may read a secret"
                yield Finding(
                    "problem", "settings", what, f"chmod o-r {quote(str(path))}, and change the secret"
                )
            else:
                what = f"{path}:{number}: a secret stands in the settings"
                yield Finding(
                    "warning", "settings", what, "keep it in a file of its own where there is a key for that"
                )


def check_keys(settings: Settings) -> Iterator[Finding]:
    """Keys and tokens: for the daemon to read, for nobody else to read or change."""
    for key, path in secret_files(settings):
        status = _stat(path)
        if status is None:
            yield Finding("warning", "keys", f"{path}: is missing ({key})", "make it, or take the key out")
        elif status.st_mode & _OTHERS:
            yield Finding(
                "problem", "keys", f"{path}: everybody may use it ({key})", f"chmod o= {quote(str(path))}"
            )
        elif status.st_mode & stat.S_IWGRP:
            yield Finding(
                "problem", "keys", f"{path}: its group may change it ({key})", f"chmod g-w {quote(str(path))}"
            )
        elif status.st_mode & stat.S_IRGRP and "secret" in key:
            yield Finding(
                "warning", "keys", f"{path}: its group may read it ({key})", f"chmod g= {quote(str(path))}"
            )
        elif status.st_uid not in (0, os.geteuid()):
            what = f"{path}: belongs to {_name(status.st_uid)} ({key})"
            yield Finding("warning", "keys", what, f"chown {_name(os.geteuid())} {quote(str(path))}")
        else:
            yield Finding("ok", "keys", f"{path}: only its owner may use it")


def check_state(state_dir: Path) -> Iterator[Finding]:
    """The e-stop's latch, models, recordings: pictures of people, perhaps."""
    status = _stat(state_dir)
    if status is None:
        yield Finding("unknown", "state folder", f"{state_dir}: cannot be looked at", "does the daemon run?")
        return
    if status.st_mode & _OTHERS:
        what = f"{state_dir}: everybody may look into it"
        yield Finding("warning", "state folder", what, f"chmod o= {quote(str(state_dir))}")
    changed, foreign, seen = [], [], 0
    for path, found in _walk(state_dir):
        seen += 1
        if found.st_mode & stat.S_IWOTH and not stat.S_ISLNK(found.st_mode):
            changed.append(path)
        if found.st_uid not in (0, os.geteuid()):
            foreign.append(path)
    if changed:
        what = f"everybody may change {_list(changed)}"
        yield Finding("problem", "state folder", what, f"chmod -R o-w {quote(str(state_dir))}")
    if foreign:
        what = f"belong to others: {_list(foreign)}"
        yield Finding(
            "warning", "state folder", what, f"chown -R {_name(os.geteuid())} {quote(str(state_dir))}"
        )
    if seen >= _MOST:
        yield Finding(
            "unknown", "state folder", f"only {_MOST:,} files were looked at", f"ls -lR {state_dir}"
        )
    elif not changed and not foreign:
        yield Finding("ok", "state folder", f"{seen:,} files: nobody else may change them")


def check_sockets(run_dir: Path) -> Iterator[Finding]:
    """Who can connect to them can see what the robot sees, or steer its motors."""
    status = _stat(run_dir)
    if status is None:
        yield Finding("unknown", "sockets", f"{run_dir}: cannot be looked at", "does the daemon run?")
        return
    if status.st_mode & _OTHERS:
        yield Finding(
            "warning", "sockets", f"{run_dir}: everybody may look into it", f"chmod o= {quote(str(run_dir))}"
        )
    if status.st_mode & stat.S_IWOTH:
        what = f"{run_dir}: everybody may put sockets there in place of vlad's"
        yield Finding("problem", "sockets", what, f"chmod o-w {quote(str(run_dir))}")
    wide, count = [], 0
    for path, found in _walk(run_dir):
        if stat.S_ISSOCK(found.st_mode):
            count += 1
            if found.st_mode & stat.S_IWOTH:  # unix(7): to connect takes the right to write
                wide.append(path)
    if wide:
        yield Finding(
            "problem",
            "sockets",
            f"everybody may connect to {_list(wide)}",
            f"chmod o-w {' '.join(quote(str(path)) for path in wide)}",
        )
    else:
        yield Finding("ok", "sockets", f"{count} sockets under {run_dir}: for their owner and group only")


def _walk(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """All that lies below, not what links lead to; at most so many."""
    seen = 0
    for base, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(base, name)
            try:
                status = path.lstat()
            except OSError:
                continue
            seen += 1
            if seen > _MOST:
                return
            yield path, status


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def _list(paths: Sequence[Path]) -> str:
    more = f" and {len(paths) - _TOLD} more" if len(paths) > _TOLD else ""
    return ", ".join(map(str, paths[:_TOLD])) + more
