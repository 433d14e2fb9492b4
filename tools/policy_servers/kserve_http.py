"""The Open Inference Protocol over HTTP/1.1; connections are kept.

GET /v2 -> {"name", "version", "extensions": ["binary_tensor_data"]}, the last only where bytes are taken.
GET /v2/models/NAME[/versions/V] -> {"name", "versions", "platform", "inputs", "outputs"}; the last two are
lists of {"name", "datatype", "shape"}, -1 is an open size.
POST /v2/models/NAME[/versions/V]/infer: {"id"?, "inputs": [{"name", "datatype", "shape", "data"}],
"outputs": [{"name"}]} -> {"model_name", "model_version", "outputs": [{"name", "datatype", "shape", "data"}]}.
An input with "parameters": {"binary_data_size": N} has no "data": its N bytes follow the JSON, whose length
is the header Inference-Header-Content-Length. An output asked for with "parameters": {"binary_data": true}
is answered so as well. Errors: another status and {"error": text}; 401 where the token is not the one.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

from tools.policy_servers.identity import Identity
from tools.policy_servers.kserve import DTYPES, Arrays, Served, datatype, from_bytes


class HttpServer:
    """Serves from threads until it is closed."""

    def __init__(self, served: Served, port: int = 0, tls: Identity | None = None) -> None:
        class Handler(_Handler):
            model = served

        self._server = _Server(("127.0.0.1", port), Handler)
        if tls is not None:
            self._server.socket = tls.context().wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.address = f"{'https' if tls else 'http'}://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Hang up, and answer nobody any more."""
        self._server.shutdown()
        self._server.hang_up()
        self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._open: list[socket.socket] = []

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, where = super().get_request()
        self._open.append(connection)
        return connection, where

    def hang_up(self) -> None:
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, *_: object) -> None:
        """A client that does not trust the server, or hangs up, is no news."""


class _Handler(BaseHTTPRequestHandler):
    model: Served
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        if self.path == "/v2":
            listed = self.model.takes_bytes and self.model.lists_bytes
            extensions = ["binary_tensor_data"] if listed else []
            self.say(200, {"name": self.model.server, "version": "2", "extensions": extensions})
        else:
            self.attempt(lambda: self.say(200, self.model.metadata(*self.place(""))))

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        self.attempt(lambda: self.infer(data))

    def attempt(self, act: Callable[[], None]) -> None:
        if self.model.token and self.headers["Authorization"] != f"Bearer {self.model.token}":
            self.say(401, {"error": "no such token"})
            return
        try:
            act()
        except LookupError as error:
            self.say(404, {"error": str(error)})
        except Exception as error:
            self.say(500, {"error": str(error)})

    def place(self, end: str) -> tuple[str, str]:
        _, v2, models, name, *rest = self.path.removesuffix(end).split("/")
        assert (v2, models) == ("v2", "models")
        assert self.path.endswith(end)
        assert rest[:1] in ([], ["versions"])
        return name, rest[1] if rest else ""

    def infer(self, data: bytes) -> None:
        length = int(self.headers.get("Inference-Header-Content-Length", len(data)))
        asked, rest = json.loads(data[:length]), data[length:]
        if self.model.wants_id and "id" not in asked:
            raise ValueError("1 validation error for InferenceResponse: id: Input should be a valid string")
        inputs: Arrays = {}
        for row in asked["inputs"]:
            size = row.get("parameters", {}).get("binary_data_size")
            if size is None:
                self.model.texts += 1
                inputs[row["name"]] = from_json(row["datatype"], row["shape"], row["data"])
            else:
                assert self.model.takes_bytes
                inputs[row["name"]] = from_bytes(row["datatype"], row["shape"], rest[:size])
                rest = rest[size:]
        assert not rest
        answer = self.model.infer(*self.place("/infer"), inputs)
        if self.model.raw is not None:
            self.wfile.write(self.model.raw)
            self.close_connection = True
            return
        rows, parts = [], []
        for row in asked.get("outputs") or [{"name": name} for name in answer]:
            array = answer[row["name"]]
            said = {"name": row["name"], "datatype": datatype(array), "shape": list(array.shape)}
            if row.get("parameters", {}).get("binary_data"):
                parts.append(array.tobytes())
                said["parameters"] = {"binary_data_size": len(parts[-1])}
            else:
                said["data"] = array.ravel().tolist()
            rows.append(said)
        reply = {"model_name": self.model.name, "model_version": "2", "outputs": rows}
        if "id" in asked:
            reply["id"] = asked["id"]
        self.say(200, reply | {"parameters": {"waste": "x" * self.model.waste}}, b"".join(parts))

    def say(self, status: int, value: dict[str, Any], rest: bytes = b"") -> None:
        text = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text) + len(rest)))
        if rest:
            self.send_header("Inference-Header-Content-Length", str(len(text)))
        if self.model.keeps is False:
            self.send_header("Connection", "close")
        self.close_connection = not self.model.keeps
        self.end_headers()
        self.wfile.write(text + rest)

    def log_message(self, *_: object) -> None:
        pass


def from_json(kind: str, shape: list[int], data: list[Any]) -> np.ndarray:
    if kind == "BYTES":
        return np.array([text.encode() for text in data], object).reshape(shape)
    return np.array(data, DTYPES[kind]).reshape(shape)
