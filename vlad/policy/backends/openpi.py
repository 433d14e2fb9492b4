"""openpi policy servers, and others that speak their protocol (vLLM-Omni), over WebSocket.

On the wire, all of it msgpack in binary frames: the server sends a map about itself to whoever connects; then
each observation, a map, gets one answer, a map with the actions (horizon, dim). Inputs and output carry the
names that they have in the bundle. A text frame instead is the server's traceback. An array is a map with the
keys b"__ndarray__", b"data", b"dtype" and b"shape", a number one with b"__npgeneric__".
"""

from __future__ import annotations

from typing import Any

import msgpack
import numpy as np
from numpy.typing import NDArray
from websockets.exceptions import InvalidURI
from websockets.uri import parse_uri

from vlad.policy.backends import BackendError, Model, Tensors
from vlad.policy.backends.deadline import Deadline
from vlad.policy.backends.remote import (
    Refused,
    ServerFailed,
    actions,
    array_of,
    last_line,
    question,
    read_token,
    server_of,
    unpack,
    wanted,
)
from vlad.policy.backends.tls import tls_of
from vlad.policy.backends.websocket import WebSocket


class OpenpiBackend:
    """A connection to an openpi server, made when it is needed, and anew after each failure."""

    def __init__(self, model: Model) -> None:
        """BackendError where the settings do not lead to a server. The server need not be there yet."""
        self._settings = server_of(model, "openpi", ("ws", "wss"))
        self._outputs = model.outputs
        token = read_token(self._settings)
        self._headers = {"Authorization": f"Api-Key {token}"} if token else {}
        self._tls = tls_of(self._settings)
        try:
            parse_uri(self._settings.address)
        except InvalidURI as error:
            raise BackendError(f"policy.server.address: {error}") from error
        self._link: WebSocket | None = None

    def describe(self) -> None:
        """A server says nothing of its model; each of its answers is checked instead."""
        return None

    def warm_up(self, inputs: Tensors) -> None:
        self.run(inputs)

    def run(self, inputs: Tensors) -> Tensors:
        """The server's answer; ServerLost where there is none in time, or none that can be used."""
        with question(self._settings, self.close) as deadline:
            link = self._connected(deadline)
            link.send(pack(inputs), deadline)
            return self._read(link.receive(deadline))

    def close(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None

    def _connected(self, deadline: Deadline) -> WebSocket:
        """The connection, if it still stands; else a new one, on which the server has introduced itself."""
        if self._link is not None and not self._link.is_quiet(deadline):
            self.close()
        if self._link is None:
            self._link = WebSocket(self._settings.address, self._headers, self._tls, deadline)
            greeting = self._link.receive(deadline)
            if isinstance(greeting, str) or not isinstance(unpack(greeting), dict):
                raise Refused("to a new connection is no map; is it an openpi server?")
        return self._link

    def _read(self, answer: bytes | str) -> Tensors:
        if isinstance(answer, str):
            raise ServerFailed(last_line(answer))
        reply = unpack(answer)
        return {name: actions(_array(wanted(reply, name))) for name in self._outputs}


def load(model: Model) -> OpenpiBackend:
    """Get ready to ask a server; BackendError where the settings name none."""
    return OpenpiBackend(model)


def pack(inputs: Tensors) -> bytes:
    """The observation: each input without its batch axis, a text as it is."""
    return bytes(msgpack.packb({name: _packed(array[0]) for name, array in inputs.items()}))


def _packed(value: Any) -> object:
    if isinstance(value, str):
        return value
    array = np.asarray(value)
    return {
        b"__ndarray__": True,
        b"data": array.data if array.size else b"",
        b"dtype": array.dtype.str,
        b"shape": array.shape,
    }


def _array(value: object) -> NDArray[Any]:
    """An array of the answer, or a number as an array without axes."""
    if isinstance(value, int | float):
        return np.asarray(value, np.float64)
    if isinstance(value, dict) and b"__npgeneric__" in value:
        return _array(value.get(b"data"))
    if not isinstance(value, dict) or b"__ndarray__" not in value:
        raise Refused("has something else where an array must be")
    return array_of(value.get(b"data"), value.get(b"dtype"), value.get(b"shape"))
