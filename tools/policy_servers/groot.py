"""A GR00T policy server, of N1.6 and N1.7 or of N1.5.

ZeroMQ REP: the client sends {"endpoint", "data", "api_token"}; the server answers `ping` with {"status",
"message"}, `get_action` with [actions, {}] to {"observation", "options"}, and in N1.5 with the actions alone
to the observation alone; and with {"error": text} where the policy fails, the endpoint is unknown or the
token is not the one.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from typing import Any

import msgpack
import numpy as np
import zmq


class GrootServer:
    """Serves from a thread until it is closed; `answer` makes the actions' map from the observation."""

    def __init__(
        self,
        answer: Callable[[dict[str, Any]], dict[str, Any]],
        port: int = 0,
        token: str = "",
        release: str = "n1.6",
    ) -> None:
        self._answer = answer
        self._release = release
        self._token = token
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.REP)
        self._socket.bind(f"tcp://127.0.0.1:{port or '*'}")
        self.address = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._ending.set()
        self._thread.join()
        self._context.destroy(linger=0)

    def _serve(self) -> None:
        while not self._ending.is_set():
            if not self._socket.poll(20):
                continue
            try:
                reply = self._reply(msgpack.unpackb(self._socket.recv(), object_hook=_from_groot))
            except Exception as error:
                reply = {"error": str(error)}
            self._socket.send(pack_groot(reply))

    def _reply(self, question: dict[str, Any]) -> object:
        if self._token and question.get("api_token") != self._token:
            return {"error": "Unauthorized: Invalid API token"}
        match question["endpoint"]:
            case "ping":
                return {"status": "ok", "message": "Server is running"}
            case "get_action" if self._release == "n1.5":
                return self._answer(question["data"])
            case "get_action":
                if set(question["data"]) != {"observation", "options"}:
                    raise TypeError(f"get_action() got {', '.join(question['data'])}")
                return [self._answer(question["data"]["observation"]), {}]
        raise ValueError(f"Unknown endpoint: {question['endpoint']}")


def pack_groot(value: object) -> bytes:
    return bytes(msgpack.packb(value, default=_to_groot))


def _to_groot(value: object) -> object:
    if isinstance(value, np.ndarray):
        file = io.BytesIO()
        np.save(file, value, allow_pickle=False)
        return {"__ndarray_class__": True, "as_npy": file.getvalue()}
    return value


def _from_groot(value: dict[Any, Any]) -> object:
    if "__ndarray_class__" in value:
        return np.load(io.BytesIO(value["as_npy"]), allow_pickle=False)
    return value
