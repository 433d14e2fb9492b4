"""The groups that decide who may look and who may act."""

from __future__ import annotations

import grp
from collections.abc import Iterator

from vlad.ctl.doctor.finding import Finding

VIEWERS = "vlad"


def check_groups(operators: str) -> Iterator[Finding]:
    viewers = _group(VIEWERS)
    if viewers is None:
        what = f"there is no group {VIEWERS}: only root and the daemon's user can connect"
        yield Finding("warning", "access", what, f"groupadd --system {VIEWERS}")
    members = _group(operators)
    if members is None:
        what = f"there is no group {operators}: only root and the daemon's user may act"
        yield Finding("warning", "access", what, f"groupadd --system {operators}")
    if viewers is None or members is None:
        return
    for user in sorted(set(members.gr_mem) - set(viewers.gr_mem)):
        what = f"{user} is in {operators} but not in {VIEWERS}, and so cannot connect"
        yield Finding("warning", "access", what, f"usermod -aG {VIEWERS} {user}")
    yield Finding("ok", "access", f"{len(members.gr_mem)} operators in {operators}")


def _group(name: str) -> grp.struct_group | None:
    try:
        return grp.getgrnam(name)
    except KeyError:
        return None
