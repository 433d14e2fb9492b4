"""Who is at the other end of a Unix socket, as the kernel says, and whether they may act on the robot."""

from __future__ import annotations

import grp
import os
import pwd
import socket
import struct
from dataclasses import dataclass
from typing import Protocol

_SO_PEERGROUPS = 59
_MOST_GROUPS = 256
_CREDENTIALS = struct.Struct("3i")
_GID = struct.Struct("I")


class HasSocketOptions(Protocol):
    """A socket, or uvloop's stand-in for one."""

    def getsockopt(self, level: int, option: int, size: int, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Peer:
    """A process that has connected, as it was at that moment (unix(7): SO_PEERCRED, SO_PEERGROUPS)."""

    pid: int
    uid: int
    groups: frozenset[int]


@dataclass(frozen=True, slots=True)
class Identity:
    """What the user database says. `refusal` is why this peer may not act, and how to mend it; empty: may."""

    name: str
    refusal: str


def read_peer(sock: HasSocketOptions) -> Peer:
    """Never blocks. OSError if the socket is not a connected Unix socket."""
    pid, uid, gid = _CREDENTIALS.unpack(
        sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    )
    try:
        raw = sock.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _MOST_GROUPS * _GID.size)
    except OSError:
        raw = b""  # an older kernel, or more groups than fit: only the primary group counts then
    return Peer(pid, uid, frozenset({gid, *(value for (value,) in _GID.iter_unpack(raw))}))


def identify(peer: Peer, group: str) -> Identity:
    """Look up the peer's name, and whether it may act: root, our own user, and members of `group`.

    May take seconds where users are kept on a server: call it off the loop.
    """
    try:
        name = f"{pwd.getpwuid(peer.uid).pw_name} (uid {peer.uid})"
    except KeyError:
        name = f"uid {peer.uid}"
    if peer.uid in (0, os.geteuid()):
        return Identity(name, "")
    try:
        members = grp.getgrnam(group).gr_gid
    except KeyError:
        return Identity(name, f"there is no group {group!r}: groupadd {group}, and add the operators to it")
    if members in peer.groups:
        return Identity(name, "")
    user = name.partition(" (")[0]
    return Identity(
        name, f"add them to the group: usermod -aG {group} {user}; it takes effect at next log-in"
    )
