"""The page's process as the daemon starts it, and browsers that are no browsers."""

from __future__ import annotations

import contextlib
import http.client
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "the-word-that-acts-need"
PATIENCE_S = 20.0

Row = dict[str, Any]


class PageProcess:
    """`python -m vlad.dashboard` on a free port, for whatever has the control socket in `run_dir`."""

    def __init__(self, run_dir: Path, *, token: str = "", listen: str = "127.0.0.1:0") -> None:
        words = ["--run-dir", str(run_dir), "--listen", listen]
        if token:
            (run_dir / "token").write_text(token + "\n")
            words += ["--token-file", str(run_dir / "token")]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "vlad.dashboard", *words],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, text=True,
        )  # fmt: skip
        self.told: Row = {}
        """The newest that it told the daemon."""
        self._listener = threading.Thread(target=self._listen)
        self._listener.start()

    def __enter__(self) -> PageProcess:
        self.seen(lambda: self.address)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        try:
            self.process.wait(PATIENCE_S)
        finally:
            self.process.kill()
            self.process.wait()
            self._listener.join()
            self.process.stdout.close()

    @property
    def address(self) -> str:
        return str(self.told.get("address", ""))

    @property
    def port(self) -> int:
        return int(urlsplit(self.address).port or 0)

    def seen(self, what: Callable[[], Any]) -> Any:
        """The first truth that `what` tells, while this process runs."""
        end_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < end_s:
            if found := what():
                return found
            assert self.process.poll() is None, f"the page's process ended with status {self.process.poll()}"
            time.sleep(0.01)
        raise AssertionError(f"not seen within {PATIENCE_S:g} s; it told {self.told}")

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.told = json.loads(line)

    def request(self, method: str, path: str, **headers: str) -> tuple[int, http.client.HTTPMessage, bytes]:
        """Status, headers and body. Underscores in the names of headers are dashes."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, headers=named)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def act(self, name: str, **headers: str) -> tuple[int, Row]:
        status, _, body = self.request("POST", f"/act/{name}", **headers)
        answer: Row = json.loads(body)
        return status, answer

    @contextlib.contextmanager
    def browse(self, **options: Any) -> Iterator[Watching]:
        with connect(f"ws://127.0.0.1:{self.port}/stream", **options) as socket:
            yield Watching(socket)


class Watching:
    """What a browser gets, message by message."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    def next(self, stream: str, what: Callable[[Any], bool] = lambda data: True) -> Any:
        """The next message of this stream that is so."""
        end_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < end_s:
            message = json.loads(self.socket.recv(PATIENCE_S))
            if message["stream"] == "status":
                self.socket.send('{"seen": true}')
            if message["stream"] == stream and what(message["data"]):
                return message["data"]
        raise AssertionError(f"no such {stream} within {PATIENCE_S:g} s")

    def is_hung_up(self) -> None:
        """After whatever is on its way."""
        with contextlib.suppress(ConnectionClosed):
            for _ in range(100):
                self.socket.recv(PATIENCE_S)
            raise AssertionError("it talks on")

    def act(self, name: str, **more: Any) -> Row:
        self.socket.send(json.dumps({"act": name, "id": name, **more}))
        answer: Row = self.next("answer", lambda data: data["id"] == name)
        return answer
