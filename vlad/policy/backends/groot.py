"""GR00T policy servers over ZeroMQ: N1.6 and N1.7 here, what is otherwise in N1.5 in groot_n15.py.

On the wire: a question and an answer, each one msgpack frame. The question is {"endpoint": "get_action",
"data": {"observation", "options"}, "api_token"}, the answer the list [actions, info], or {"error": text}. An
input `video.front` of the bundle is {"video": {"front": ...}} in the observation: pictures uint8
(1, T, H, W, 3), states float32 (1, T, D), the instruction [[text]]. An output `arm` is the actions' "arm",
(1, horizon, D) in physical units. An array is {"__ndarray_class__": True, "as_npy": bytes of an .npy file}.

Until September 2025 the servers talked in pickles instead, which are refused: to read one is to run it.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgpack
import numpy as np
import zmq
from numpy.typing import NDArray

from vlad.policy.backends import Model, Tensors
from vlad.policy.backends.deadline import Deadline
from vlad.policy.backends.remote import (
    LARGEST_ANSWER,
    KeyRefused,
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

_NPY = re.compile(
    rb"\x93NUMPY(?:\x01\x00..|\x02\x00....)"
    rb"\{'descr': '([^']+)', 'fortran_order': (True|False), 'shape': \(((?:\d{1,10}, ?)*\d{,10})\), \} *\n",
    re.DOTALL,
)
"""The head of an .npy file as NumPy writes it. Its own reader would evaluate what stands there."""

_PICKLE_SAYS = (b"ERROR", b"PK\x03\x04")
"""What a server that talks in pickles answers to a question that is none, and how its own begin."""


@dataclass(frozen=True, slots=True)
class Release:
    """What differs between the releases of the server: what is asked, and where the actions are."""

    backend: str
    data: Callable[[Tensors], object]
    actions: Callable[[object], object]
    """Refused where there are none."""


class GrootBackend:
    """A socket to a GR00T server, made when it is needed, and anew after each failure."""

    def __init__(self, model: Model, release: Release) -> None:
        """BackendError where the settings do not lead to a server. The server need not be there yet."""
        self._settings = server_of(model, release.backend, ("tcp",))
        self._release = release
        self._outputs = model.outputs
        self._token = read_token(self._settings)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket: zmq.Socket[bytes] | None = None

    def describe(self) -> None:
        """A server says nothing of its model; each of its answers is checked instead."""
        return None

    def warm_up(self, inputs: Tensors) -> None:
        self.run(inputs)

    def run(self, inputs: Tensors) -> Tensors:
        """The server's answer; ServerLost where there is none in time, or none that can be used."""
        with question(self._settings, self._hang_up) as deadline:
            return self._read(self._ask(pack(self._release.data(inputs), self._token), deadline))

    def close(self) -> None:
        self._hang_up()
        self._context.destroy(linger=0)

    def _ask(self, asked: bytes, deadline: Deadline) -> bytes:
        try:
            if self._socket is None:
                self._socket = self._context.socket(zmq.REQ)
                self._socket.linger = 0
                self._socket.maxmsgsize = LARGEST_ANSWER
                self._socket.connect(self._settings.address)
            self._socket.send(asked, zmq.NOBLOCK)
            if not self._socket.poll(math.ceil(deadline.left_s() * 1000)):
                raise TimeoutError
            return self._socket.recv(zmq.NOBLOCK)
        except zmq.Again as error:
            raise TimeoutError from error
        except zmq.ZMQError as error:
            raise ConnectionError(str(error)) from error

    def _hang_up(self) -> None:
        if self._socket is not None:
            self._socket.close(linger=0)
            self._socket = None

    def _read(self, answer: bytes) -> Tensors:
        if answer.startswith(_PICKLE_SAYS):
            raise Refused(
                "is that of a server that talks in pickles, as GR00T's did before September 2025; whoever "
                "reads those runs what is in them: update Isaac-GR00T there"
            )
        reply = unpack(answer)
        if isinstance(reply, dict) and "error" in reply:
            said = last_line(str(reply["error"]))
            raise (KeyRefused if said.startswith("Unauthorized") else ServerFailed)(said)
        found = self._release.actions(reply)
        return {name: actions(_one(_array(wanted(found, name)))) for name in self._outputs}


def load(model: Model) -> GrootBackend:
    """Get ready to ask a server; BackendError where the settings name none."""
    return GrootBackend(model, N16)


def pack(data: object, token: str) -> bytes:
    """The question for an action."""
    question = {"endpoint": "get_action", "data": data}
    return bytes(msgpack.packb(question | ({"api_token": token} if token else {})))


def _nested(inputs: Tensors) -> object:
    """Each input under its kind and name, with a batch and a time axis."""
    observation: dict[str, Any] = {}
    for name, array in inputs.items():
        kind, dot, key = name.partition(".")
        value = [[str(text)] for text in array] if array.dtype == object else packed(array)
        if dot:
            observation.setdefault(kind, {})[key] = value
        else:
            observation[name] = value
    return {"observation": observation, "options": None}


def _first(reply: object) -> object:
    if not isinstance(reply, list) or not reply:
        raise Refused("is not [actions, info]; is it a GR00T server, N1.6 or newer?")
    return reply[0]


N16 = Release("groot", _nested, _first)
"""N1.7 is the same."""


def packed(array: NDArray[Any]) -> object:
    """An input of numbers, with a time axis."""
    timed = array if array.ndim in (3, 5) else array[:, None]
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(timed))
    return {"__ndarray_class__": True, "as_npy": b"".join((file.getvalue(), timed.data))}


def _array(value: object) -> NDArray[Any]:
    data = value.get("as_npy") if isinstance(value, dict) and "__ndarray_class__" in value else None
    if not isinstance(data, bytes):
        raise Refused("has something else where an array must be")
    head = _NPY.match(data)
    if head is None:
        raise Refused("has an array that is no .npy file of numbers")
    dtype, fortran, sizes = (part.decode("ascii", "replace") for part in head.groups())
    shape = [int(size) for size in sizes.replace(" ", "").split(",") if size]
    return array_of(memoryview(data)[head.end() :], dtype, shape, "F" if fortran == "True" else "C")


def _one(array: NDArray[Any]) -> NDArray[Any]:
    """Without the batch axis, which must be 1."""
    if array.ndim == 0 or len(array) != 1:
        raise Refused(f"has actions of shape {array.shape}; one robot asked")
    return array.squeeze(0)
