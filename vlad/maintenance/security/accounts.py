"""Who the daemon runs as, and who may act."""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Iterator

from vlad.maintenance.finding import Finding

_POWERFUL = {"root", "sudo", "wheel", "admin", "disk", "shadow", "docker", "lxd", "kmem", "sys", "adm"}
"""Groups whose members can become root, or read everything."""
_NO_SHELLS = ("nologin", "false")
_VIEWERS = "vlad"


def check_accounts(operators: str) -> Iterator[Finding]:
    """Of the user that this process, and so the daemon, runs as."""
    name = _user(os.geteuid())
    if os.geteuid() == 0:
        mend = "run it as a user of its own, as systemd/vlad.service does"
        yield Finding("warning", "accounts", "vlad runs as root: whatever it does wrong, it may do", mend)
    else:
        yield from _groups(name)
        yield from _shell(name)
    for group, may in ((_VIEWERS, "look, and run drivers"), (operators, "act")):
        try:
            members = grp.getgrnam(group).gr_mem
        except KeyError:
            yield Finding("unknown", "accounts", f"there is no group {group}", f"groupadd --system {group}")
            continue
        yield Finding("ok", "accounts", f"may {may} ({group}): {', '.join(sorted(members)) or 'nobody else'}")


def _groups(name: str) -> Iterator[Finding]:
    held = {_group(number) for number in os.getgroups()}
    if powerful := sorted(held & _POWERFUL):
        what = f"the daemon's user {name} is in {', '.join(powerful)}"
        mend = "; ".join(f"gpasswd -d {name} {group}" for group in powerful)
        yield Finding("problem", "accounts", what, mend)
    else:
        yield Finding(
            "ok", "accounts", f"the daemon's user {name} is in {', '.join(sorted(held)) or 'no group'}"
        )


def _shell(name: str) -> Iterator[Finding]:
    try:
        shell = pwd.getpwnam(name).pw_shell
    except KeyError:
        return
    if shell.rsplit("/", 1)[-1] not in _NO_SHELLS:
        mend = f"usermod --shell /usr/sbin/nologin {name}"
        yield Finding("warning", "accounts", f"the daemon's user {name} can log in ({shell})", mend)


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
