"""The page's side of the control socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from vlad.ctl.client import SOCKET_NAME, ControlError

_LONGEST_LINE = 16 * 1024 * 1024
_SILENT_S = 3.0


class Line:
    """A connection for one request at a time, opened when it is first needed and again when it broke."""

    def __init__(self, run_dir: Path, timeout_s: float) -> None:
        self._run_dir = run_dir
        self._timeout_s = timeout_s
        self._turn = asyncio.Lock()
        self._opened: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def call(self, method: str, **params: Any) -> Any:
        """The result of a method; ControlError."""
        request = json.dumps({"id": 1, "method": method, "params": params}).encode() + b"\n"
        try:
            async with asyncio.timeout(self._timeout_s), self._turn:
                answer = await self._ask(request)
        except TimeoutError:
            self.close()
            raise _unanswered(f"the daemon does not answer within {self._timeout_s:g} s") from None
        if "error" in answer:
            error = answer["error"]
            raise ControlError(str(error["code"]), str(error["message"]), str(error["hint"]))
        return answer["result"]

    async def open(self) -> None:
        """Be ready for a call that has no time to lose; ControlError."""
        async with self._turn:
            if self._opened is None:
                self._opened = await connect(self._run_dir)

    def close(self) -> None:
        if self._opened is not None:
            self._opened[1].close()
            self._opened = None

    async def _ask(self, request: bytes) -> dict[str, Any]:
        """Once more on a new connection where the one that was kept is found broken."""
        for _ in range(2):
            kept = self._opened is not None
            self._opened = self._opened or await connect(self._run_dir)
            reader, writer = self._opened
            try:
                writer.write(request)
                answer: dict[str, Any] = json.loads(await reader.readuntil(b"\n"))
            except (OSError, asyncio.IncompleteReadError):
                self.close()
                if not kept:
                    break
            else:
                return answer
        raise _unanswered("the daemon hung up without an answer")


class Subscription:
    """The stream of status and events: lines as the daemon sends them, {"stream", "data"} each."""

    def __init__(self, run_dir: Path) -> None:
        self._run_dir = run_dir
        self._status_hz = 1.0
        self._writer: asyncio.StreamWriter | None = None

    def ask(self, status_hz: float) -> None:
        """So many reports a second from now on."""
        if status_hz != self._status_hz:
            self._status_hz = status_hz
            self._subscribe()

    async def lines(self) -> AsyncIterator[str]:
        """Until the daemon hangs up or falls silent: ControlError."""
        reader, self._writer = await connect(self._run_dir)
        try:
            self._subscribe()
            while True:
                async with asyncio.timeout(_SILENT_S):
                    line = await reader.readuntil(b"\n")
                if line.startswith(b'{"stream"'):
                    yield line.decode().rstrip()
        except TimeoutError:
            raise _unanswered(f"the daemon says nothing for {_SILENT_S:g} s") from None
        except (OSError, asyncio.IncompleteReadError):
            raise _unanswered("the daemon hung up") from None
        finally:
            self._writer.close()
            self._writer = None

    def _subscribe(self) -> None:
        if self._writer is not None:
            params = {"status_hz": self._status_hz, "events": True}
            self._writer.write(
                json.dumps({"id": 0, "method": "subscribe", "params": params}).encode() + b"\n"
            )


async def connect(run_dir: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """ControlError where no daemon listens."""
    path = run_dir / SOCKET_NAME
    try:
        return await asyncio.open_unix_connection(str(path), limit=_LONGEST_LINE)
    except OSError as error:
        message = f"no daemon listens at {path}: {error.strerror or error}"
        raise ControlError("not_running", message, "see journalctl -u vlad; systemctl start vlad") from None


def _unanswered(message: str) -> ControlError:
    hint = "it may be frozen: the motors stop by themselves. See journalctl -u vlad; systemctl restart vlad"
    return ControlError("no_answer", message, hint)
