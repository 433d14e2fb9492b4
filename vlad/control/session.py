"""One operator's connection to the control socket: what may come in, and what may go out."""

from __future__ import annotations

import asyncio
import contextlib
import grp
import json
import logging
import os
import socket
from pathlib import Path
from typing import Any

from vlad.control.peer import Identity, Peer

log = logging.getLogger(__name__)

VIEWERS = "vlad"
LONGEST_LINE = 64 * 1024
_LONGEST_BACKLOG = 1024 * 1024
_LINGER_S = 1.0

Row = dict[str, Any]


class Error(Exception):
    """A request that is answered with an error."""

    def __init__(self, code: str, message: str, hint: str) -> None:
        super().__init__(message)
        self.row = {"code": code, "message": message, "hint": hint}


class Session:
    """One connection, and what may be sent to it: at most a bounded backlog, then it is dropped."""

    def __init__(self, peer: Peer, writer: asyncio.StreamWriter, identity: asyncio.Future[Identity]) -> None:
        self.peer = peer
        self.identity = identity
        self.wants_events = False
        self.stream: asyncio.Task[None] | None = None
        self.refusal_noted = False
        self._writer = writer

    @property
    def who(self) -> str:
        known = self.identity.done() and not self.identity.cancelled() and self.identity.exception() is None
        return self.identity.result().name if known else f"uid {self.peer.uid}"

    @property
    def backlog(self) -> int:
        return self._writer.transport.get_write_buffer_size()

    @property
    def gone(self) -> bool:
        return self._writer.transport.is_closing()

    def send(self, line: str) -> None:
        if self.backlog > _LONGEST_BACKLOG:
            self.drop()
        elif not self.gone:
            self._writer.write(line.encode() + b"\n")

    def drop(self) -> None:
        """Hang up on a client that does not read what it asked for."""
        if not self.gone:
            log.warning("control: %s does not read what it asked for; dropped", self.who)
            self._writer.transport.abort()

    def close(self) -> None:
        """Send what is left for a moment, then hang up."""
        if self.stream is not None:
            self.stream.cancel()
        self.identity.cancel()
        self._writer.close()
        asyncio.get_running_loop().call_later(_LINGER_S, self._writer.transport.abort)


def log_error(task: asyncio.Task[None]) -> None:
    """Done callback of what serves a client: an error ends that alone."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("control: serving a client failed", exc_info=error)


def listen(path: Path) -> socket.socket:
    """A listening socket at `path` with its owner and mode set; nobody can connect before that."""
    if len(os.fsencode(path)) > 107:
        raise OSError(f"{path}: too long for a Unix socket (107 bytes); choose a shorter paths.run_dir")
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        listener.bind(str(path))
        path.chmod(0o600)
        with contextlib.suppress(KeyError, PermissionError):
            os.chown(path, -1, grp.getgrnam(VIEWERS).gr_gid)
            path.chmod(0o660)
        listener.listen(16)
    except OSError:
        listener.close()
        raise
    return listener


def parse(line: bytes) -> Row:
    try:
        request = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise Error("bad_request", f"not JSON: {error}", "send one JSON object a line") from None
    if not isinstance(request, dict):
        raise Error("bad_request", "not a JSON object", 'send {"id": 1, "method": "status"}')
    key = request.get("id")
    if key is not None and not isinstance(key, int | str):
        raise Error("bad_request", "id is neither a number nor text", "leave it out if you need none")
    return request


def integer(params: Row, name: str, default: int, most: int) -> int:
    value = params.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise Error("bad_request", f"{name} is {value!r}", f"a whole number, 0 to {most}")
    return value
