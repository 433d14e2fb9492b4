"""Policy servers as openpi and GR00T are, with a policy that says the same all the time, and can misbehave.

`python -m tools.benchmarks.policy_server {openpi,groot} PORT [--token T] [--fault F] [--slow-s S]`

openpi, WebSocket without compression: the client connects with `Authorization: Api-Key T` (else 401); the
server sends a map about itself; the client sends an observation; the server answers with a map that has
`actions` (20, 2) and `server_timing`; and so on. Where its policy fails, the server sends a text frame with
the traceback and closes with 1011. GET /healthz is answered with 200.

GR00T, ZeroMQ REP: the client sends {"endpoint", "data", "api_token"}; the server answers `ping` with
{"status", "message"}, `get_action` with [{"base": (1, 20, 2)}, {}], and with {"error": text} where the policy
fails, the endpoint is unknown or the token is not the one.

One question is answered at a time. SIGUSR1 begins the fault that --fault names, and ends it again: `nan`,
`shape` (a step is missing), `error`. The first answer takes --slow-s. "listening" on the standard output says
that it can be connected to.
"""

from __future__ import annotations

import argparse
import http
import io
import signal
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any, TypeAlias

import msgpack
import numpy as np
import zmq
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import Server, ServerConnection, serve

HORIZON = 20
TWIST = (0.05, 0.05)

Answer: TypeAlias = Callable[[dict[str, Any]], dict[str, Any]]


class SamePolicy:
    """Drives slowly ahead in a bend, whatever it sees; what is asked of it is checked all the same."""

    def __init__(self, fault: str = "", slow_s: float = 0.0) -> None:
        self.misbehaves = False
        self._fault = fault
        self._slow_s = slow_s

    def __call__(self, observation: dict[str, Any]) -> np.ndarray:
        """(HORIZON, 2)"""
        time.sleep(self._slow_s)
        self._slow_s = 0.0
        if "observation/image" in observation:
            image = observation["observation/image"]
        else:
            image = observation["video"]["front"][0, 0]
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(f"an image must be uint8 (H, W, 3), not {image.dtype} {image.shape}")
        actions = np.tile(np.array(TWIST, np.float32), (HORIZON, 1))
        match self._fault if self.misbehaves else "":
            case "nan":
                actions[3, 0] = np.nan
            case "shape":
                actions = actions[1:]
            case "error":
                raise RuntimeError("CUDA error: out of memory")
        return actions


# openpi ------------------------------------------------------------------------------------------


class OpenpiServer:
    """Serves from a thread until it is closed; `answer` makes the reply's map from the observation."""

    def __init__(self, answer: Answer, port: int = 0, token: str = "", **options: Any) -> None:
        self._answer = answer
        self._token = token
        self._turn = threading.Lock()
        options = {"compression": None, "max_size": None, "process_request": self._admit} | options
        self._server: Server = serve(self._talk, "127.0.0.1", port, **options)
        scheme = "wss" if "ssl" in options else "ws"
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


# GR00T ------------------------------------------------------------------------------------------


class GrootServer:
    """Serves from a thread until it is closed; `answer` makes the actions' map from the observation."""

    def __init__(self, answer: Answer, port: int = 0, token: str = "") -> None:
        self._answer = answer
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


# as a process ------------------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=("openpi", "groot"))
    parser.add_argument("port", type=int)
    parser.add_argument("--token", default="")
    parser.add_argument("--fault", default="", choices=("", "nan", "shape", "error"))
    parser.add_argument("--slow-s", type=float, default=0.0)
    arguments = parser.parse_args()
    policy = SamePolicy(arguments.fault, arguments.slow_s)

    def turn(*_: object) -> None:
        policy.misbehaves = not policy.misbehaves

    signal.signal(signal.SIGUSR1, turn)
    if arguments.kind == "openpi":
        OpenpiServer(lambda seen: {"actions": policy(seen)}, arguments.port, arguments.token)
    else:
        GrootServer(lambda seen: {"base": policy(seen)[None]}, arguments.port, arguments.token)
    print("listening", flush=True)
    while True:
        signal.pause()


if __name__ == "__main__":
    main()
