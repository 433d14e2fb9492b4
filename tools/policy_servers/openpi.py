"""An openpi policy server.

WebSocket without compression: the client connects with `Authorization: Api-Key T` (else 401); the server
sends a map about itself; the client sends an observation; the server answers with a map that has the actions
and `server_timing`; and so on, one question at a time. Where its policy fails, the server sends a text frame
with the traceback and closes with 1011. GET /healthz is answered with 200.
"""

from __future__ import annotations

import http
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

import msgpack
import numpy as np
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import Server, ServerConnection, serve

from tools.policy_servers.identity import Identity


class OpenpiServer:
    """Serves from a thread until it is closed; `answer` makes the reply's map from the observation."""

    def __init__(
        self,
        answer: Callable[[dict[str, Any]], dict[str, Any]],
        port: int = 0,
        token: str = "",
        tls: Identity | None = None,
        **options: Any,
    ) -> None:
        self._answer = answer
        self._token = token
        self._turn = threading.Lock()
        usual = {"compression": None, "max_size": None, "close_timeout": 0.1, "process_request": self._admit}
        context = tls.context() if tls else None
        self._server: Server = serve(self._talk, "127.0.0.1", port, ssl=context, **usual | options)
        scheme = "wss" if tls else "ws"
        self.address = f"{scheme}://127.0.0.1:{self._server.socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """No new connections; those that stand are for the client to end."""
        self._server.shutdown()
        self._thread.join()

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        if request.path == "/healthz":
            return connection.respond(http.HTTPStatus.OK, "OK\n")
        if self._token and request.headers.get("Authorization") != f"Api-Key {self._token}":
            return connection.respond(http.HTTPStatus.UNAUTHORIZED, "no such key\n")
        return None

    def _talk(self, connection: ServerConnection) -> None:
        try:
            connection.send(pack_openpi({"robot": "bench"}))
            while True:
                observation = unpack_openpi(connection.recv())
                with self._turn:
                    began_s = time.monotonic()
                    reply = self._answer(observation)
                    timing = {"infer_ms": 1000 * (time.monotonic() - began_s)}
                connection.send(pack_openpi({**reply, "server_timing": timing}))
        except ConnectionClosed:
            return
        except Exception:
            connection.send(traceback.format_exc())
            connection.close(1011, "Internal server error. Traceback included in previous frame.")


def pack_openpi(value: object) -> bytes:
    return bytes(msgpack.packb(value, default=_to_openpi))


def unpack_openpi(data: bytes | str) -> Any:
    return msgpack.unpackb(data, object_hook=_from_openpi)


def _to_openpi(value: object) -> object:
    if isinstance(value, np.ndarray):
        shape, data = value.shape, value.tobytes()
        return {b"__ndarray__": True, b"data": data, b"dtype": value.dtype.str, b"shape": shape}
    if isinstance(value, np.generic):
        return {b"__npgeneric__": True, b"data": value.item(), b"dtype": value.dtype.str}
    return value


def _from_openpi(value: dict[Any, Any]) -> object:
    if b"__ndarray__" in value:
        return np.ndarray(value[b"shape"], np.dtype(value[b"dtype"]), value[b"data"])
    return value
