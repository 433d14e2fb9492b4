"""The other end of the control socket, for vladctl and other short programs."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

DEFAULT_RUN_DIR = Path("/run/vlad")
SOCKET_NAME = "control.sock"
_LONGEST_LINE = 16 * 1024 * 1024


class ControlError(Exception):
    """Something that a person must know: `code`, what happened, and how to mend it.

    Codes of this side: not_running, no_answer and may_not_connect. The others come from the daemon.
    """

    def __init__(self, code: str, message: str, hint: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint


class Client:
    """One connection to the daemon under `run_dir`. Any method may raise ControlError."""

    def __init__(self, run_dir: Path, timeout_s: float = 5.0) -> None:
        self._run_dir = run_dir
        self._timeout_s = timeout_s
        self._buffer = bytearray()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self._socket.settimeout(timeout_s)
        try:
            self._socket.connect(str(run_dir / SOCKET_NAME))
        except OSError as error:
            self._socket.close()
            raise self._unreachable(error) from None

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def call(self, method: str, **params: Any) -> Any:
        """The result of one method."""
        request = json.dumps({"id": 1, "method": method, "params": params})
        # A daemon that hangs up at once may have said why: read that before giving up.
        with contextlib.suppress(BrokenPipeError):
            self._socket.sendall(request.encode() + b"\n")
        answer = self._line()
        if "error" in answer:
            error = answer["error"]
            raise ControlError(str(error["code"]), str(error["message"]), str(error["hint"]))
        return answer["result"]

    def stream(self, *, status_hz: float = 0, events: bool = False) -> Iterator[tuple[str, Any]]:
        """Subscribe now; then ("status", report) and ("event", event) as they come, for ever."""
        self.call("subscribe", status_hz=status_hz, events=events)
        if not status_hz:
            self._socket.settimeout(None)
        return self._streamed()

    def _streamed(self) -> Iterator[tuple[str, Any]]:
        while True:
            line = self._line()
            yield str(line["stream"]), line["data"]

    def _line(self) -> dict[str, Any]:
        while (end := self._buffer.find(b"\n")) < 0:
            try:
                data = self._socket.recv(65_536)
            except TimeoutError:
                raise self._silent() from None
            except ConnectionError:
                data = b""
            if not data or len(self._buffer) > _LONGEST_LINE:
                raise ControlError(
                    "no_answer",
                    "the daemon hung up without an answer",
                    "it has ended, or failed to serve this: see journalctl -u vlad",
                )
            self._buffer += data
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _silent(self) -> ControlError:
        return ControlError(
            "no_answer",
            f"the daemon under {self._run_dir} does not answer within {self._timeout_s:g} s",
            "it may be frozen; the motors stop by themselves. See journalctl -u vlad; systemctl restart vlad",
        )

    def _unreachable(self, error: OSError) -> ControlError:
        path = self._run_dir / SOCKET_NAME
        if isinstance(error, TimeoutError | BlockingIOError):
            return self._silent()
        if isinstance(error, PermissionError):
            return ControlError(
                "may_not_connect",
                f"you may not open {path}",
                f"add yourself to the group vlad: usermod -aG vlad {os.environ.get('USER', 'NAME')}; "
                "it takes effect at next log-in",
            )
        if isinstance(error, FileNotFoundError | ConnectionRefusedError):
            message = f"the daemon is not running under {self._run_dir}"
        else:
            message = f"{path} cannot be opened: {error.strerror or error}"
        hint = "systemctl start vlad, or vlad --config FILE; for another run folder: vladctl --run-dir DIR"
        return ControlError("not_running", message, hint)


def connect(run_dir: Path | None, timeout_s: float = 5.0) -> Client:
    """A connection to the daemon under `run_dir`, or where it usually is."""
    return Client(run_dir or DEFAULT_RUN_DIR, timeout_s)
