"""What a browser and a Prometheus ask of the page, shown to nobody: a stream, a camera, a scrape a second."""

from __future__ import annotations

import json
import threading
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit

from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

_SCRAPE_S = 1.0
_TIMEOUT_S = 5.0
_LOAD = ("/", "/page.css", "/page.js")


class Browser:
    """Looks from `__enter__` to `__exit__`, from threads of this process. What came is counted.

    A request that fails counts in `failures`, and is made again: soaks and kills go on.
    """

    def __init__(self, address: str, camera: str = "camera", scrape_s: float = _SCRAPE_S) -> None:
        """`address` as the status of the daemon has it."""
        self.statuses = self.pictures = self.scrapes = self.failures = 0
        self._host = urlsplit(address).netloc
        self._camera = camera
        self._scrape_s = scrape_s
        self._ended = threading.Event()
        self._threads = [
            threading.Thread(target=work, daemon=True) for work in (self._stream, self._look, self._scrape)
        ]

    def __enter__(self) -> Browser:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join(_TIMEOUT_S)

    def load(self) -> None:
        """Load the page, as one who opens it."""
        for path in _LOAD:
            self._get(path)

    def _stream(self) -> None:
        self.load()
        while not self._ended.is_set():
            try:
                with connect(f"ws://{self._host}/stream", open_timeout=_TIMEOUT_S) as stream:
                    while not self._ended.is_set():
                        if json.loads(stream.recv(_TIMEOUT_S))["stream"] == "status":
                            self.statuses += 1
                            stream.send('{"seen":true}')
            except (OSError, WebSocketException):
                self.failures += 1
                self._ended.wait(0.5)

    def _look(self) -> None:
        newest = "0"
        while not self._ended.is_set():
            status, number = self._get(f"/picture/{self._camera}?after={newest}")
            self.pictures += status == 200
            newest = number or newest
            if status != 200:
                self._ended.wait(0.3)

    def _scrape(self) -> None:
        while not self._ended.wait(self._scrape_s):
            self.scrapes += self._get("/metrics")[0] == 200

    def _get(self, path: str) -> tuple[int, str]:
        """Status, and the number of the picture; status 0: nobody answered."""
        link = HTTPConnection(self._host, timeout=_TIMEOUT_S)
        try:
            link.request("GET", path)
            answer = link.getresponse()
            answer.read()
            return answer.status, answer.getheader("x-number") or ""
        except (OSError, HTTPException):
            self.failures += 1
            return 0, ""
        finally:
            link.close()
