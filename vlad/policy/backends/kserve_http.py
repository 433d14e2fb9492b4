"""The Open Inference Protocol over HTTP.

GET /v2 says what the server can do, GET /v2/models/NAME[/versions/V] what its model takes and gives, and POST
on that path with /infer behind it runs it. Question and answer are JSON, with the numbers in it. Where /v2
has "binary_tensor_data" among its "extensions", their bytes follow the JSON, in its order, each with its
"binary_data_size", and the header Inference-Header-Content-Length says how long the JSON is. OpenVINO
Model Server does so without a word of it in /v2. An error is another status than 200 and {"error": text}, or
{"detail": list} of a server made with FastAPI that does not understand the question. The protocol lets a
question's "id" be left out; KServe's own server then fails where its model hands it on.

http.client reads the answer, but each of its reads has a time-out of its own: a server that sends a byte now
and then would hold the caller for ever. So what it reads from is a socket on which a deadline stands.
"""

from __future__ import annotations

import io
import json
import re
import socket
import ssl
from http.client import HTTPException, HTTPResponse, RemoteDisconnected
from typing import Any
from urllib.parse import quote

from numpy.typing import NDArray

from vlad.policy.backends import Description, Tensors, TensorSpec
from vlad.policy.backends.deadline import Deadline
from vlad.policy.backends.kserve_tensors import Bytes, Place, datatype, numbers, pack, spec, unpack
from vlad.policy.backends.remote import LARGEST_ANSWER, KeyRefused, Refused, ServerFailed, reason, wanted
from vlad.policy.backends.sockets import connect

HEAD_LENGTH = "Inference-Header-Content-Length"

_TAKES_BYTES = "OpenVINO Model Server"
"""A server that takes bytes and does not list it, by the name that it gives itself.

KServe's own server is like that too, but is sent text: of bytes it makes lists and texts, which is no faster
and loses files.
"""


class HttpLink:
    """A connection that is kept from one question to the next."""

    def __init__(self, place: Place, token: str, tls: ssl.SSLContext | None) -> None:
        version = f"/versions/{quote(place.version, safe='')}" if place.version else ""
        self._path = f"/v2/models/{quote(place.model, safe='')}{version}"
        self._place = place
        self._tls = tls
        self._headers = {"Host": place.authority} | ({"Authorization": f"Bearer {token}"} if token else {})
        self._socket: socket.socket | None = None
        self._binary: bool | None = None
        """Whether the server takes bytes; None: it was not asked yet."""

    def metadata(self, deadline: Deadline) -> Description:
        reply = _json(self._ask("GET", self._path, {}, [], deadline)[1])
        return Description(_specs(reply, "inputs"), _specs(reply, "outputs"), self._place.authority)

    def infer(self, inputs: Tensors, outputs: tuple[str, ...], deadline: Deadline) -> Tensors:
        if self._binary is None:
            self._binary = self._takes_bytes(deadline)
        if not self._binary and any(isinstance(array.flat[0], bytes) for array in inputs.values()):
            raise Refused("to what it can do lacks binary_tensor_data, without which it can be sent no JPEG")
        parts = question(inputs, outputs, self._binary)
        headers = {"Content-Type": "application/json"}
        if self._binary:
            headers = {"Content-Type": "application/octet-stream", HEAD_LENGTH: str(len(parts[0]))}
        return read(*self._ask("POST", f"{self._path}/infer", headers, parts, deadline), outputs)

    def close(self) -> None:
        self._binary = None
        self._hang_up()

    def _takes_bytes(self, deadline: Deadline) -> bool:
        try:
            said = _json(self._ask("GET", "/v2", {}, [], deadline)[1])
        except ServerFailed:
            return False
        listed, name = said.get("extensions"), said.get("name")
        return (isinstance(listed, list) and "binary_tensor_data" in listed) or name == _TAKES_BYTES

    def _ask(
        self, method: str, path: str, headers: dict[str, str], parts: list[Bytes], deadline: Deadline
    ) -> tuple[str | None, bytes]:
        """How long the JSON in the answer is, where the server says so, and the answer.

        Servers hang up on connections that they kept for a while, also in the moment of a question: then it
        is asked once more, on a new one.
        """
        was_kept = self._socket is not None
        try:
            return self._exchange(method, path, headers, parts, deadline)
        except (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError):
            if not was_kept:
                raise
            self._hang_up()
            return self._exchange(method, path, headers, parts, deadline)

    def _exchange(
        self, method: str, path: str, headers: dict[str, str], parts: list[Bytes], deadline: Deadline
    ) -> tuple[str | None, bytes]:
        connection = self._connected(deadline)
        headers = self._headers | headers | {"Content-Length": str(sum(len(part) for part in parts))}
        lines = [f"{method} {path} HTTP/1.1", *(f"{key}: {value}" for key, value in headers.items()), "", ""]
        connection.settimeout(deadline.left_s())
        connection.sendall(b"".join(["\r\n".join(lines).encode(), *parts]))
        try:
            answer = HTTPResponse(_Timed(connection, deadline), method=method)  # type: ignore[arg-type]
            answer.begin()
            data = answer.read(LARGEST_ANSWER + 1)
        except RemoteDisconnected as error:
            raise ConnectionError("hung up") from error
        except HTTPException as error:
            raise Refused(f"is not HTTP ({type(error).__name__})") from error
        if len(data) > LARGEST_ANSWER:
            raise Refused(f"is larger than {LARGEST_ANSWER} bytes")
        if answer.length:
            raise ConnectionError("hung up")
        if answer.will_close:
            self._hang_up()
        if answer.status != 200:
            failed = KeyRefused if answer.status in (401, 403) else ServerFailed
            raise failed(_complaint(data, f"{answer.status} {answer.reason}"))
        return answer.getheader(HEAD_LENGTH), data

    def _connected(self, deadline: Deadline) -> socket.socket:
        """The connection, if it still stands and nothing waits on it; else a new one."""
        if self._socket is not None and not _is_quiet(self._socket):
            self._hang_up()
        if self._socket is None:
            self._socket = connect(self._place.host, self._place.port, self._tls, deadline)
        return self._socket

    def _hang_up(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class _Timed(io.RawIOBase):
    """What comes from a socket until a deadline."""

    def __init__(self, connection: socket.socket, deadline: Deadline) -> None:
        self._connection = connection
        self._deadline = deadline

    def makefile(self, mode: str) -> io.BufferedReader:
        """As http.client asks a socket for it; closing it leaves the socket open."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._connection.settimeout(self._deadline.left_s())
        return self._connection.recv_into(buffer)


def question(inputs: Tensors, outputs: tuple[str, ...], binary: bool) -> list[Bytes]:
    """The JSON that asks for these outputs, and what follows it."""
    tensors: list[dict[str, Any]] = []
    parts: list[Bytes] = []
    for name, array in inputs.items():
        tensor: dict[str, Any] = {"name": name, "shape": array.shape, "datatype": datatype(array)}
        if binary:
            parts.append(pack(array))
            tensor["parameters"] = {"binary_data_size": len(parts[-1])}
        else:
            tensor["data"] = array.ravel().tolist()
        tensors.append(tensor)
    options = {"parameters": {"binary_data": True}} if binary else {}
    asked = {"id": "vlad", "inputs": tensors, "outputs": [{"name": name, **options} for name in outputs]}
    return [json.dumps(asked).encode(), *parts]


def read(head_length: str | None, data: bytes, outputs: tuple[str, ...]) -> Tensors:
    """Those outputs from an answer to `question`, as numbers in the JSON or as bytes behind it."""
    if head_length is not None and not re.fullmatch("[0-9]{1,9}", head_length):
        raise Refused(f"has a header {HEAD_LENGTH} of {head_length!r:.40}")
    at = len(data) if head_length is None else int(head_length)
    found: dict[str, tuple[dict[str, Any], Bytes | None]] = {}
    rest = memoryview(data)[at:]
    for output in _listed(_json(data[:at]), "outputs"):
        options = output.get("parameters")
        size = options.get("binary_data_size") if isinstance(options, dict) else None
        is_binary = type(size) is int and size >= 0
        found[output["name"]] = (output, rest[:size] if is_binary else None)
        rest = rest[size:] if is_binary else rest
    return {name: _array(wanted(found, name)) for name in outputs}


def _array(found: Any) -> NDArray[Any]:
    output, data = found
    if data is None:
        return numbers(output.get("data"), output.get("datatype"), output.get("shape"))
    return unpack(data, output.get("datatype"), output.get("shape"))


def _specs(reply: dict[str, Any], key: str) -> dict[str, TensorSpec]:
    return {row["name"]: spec(row.get("datatype"), row.get("shape")) for row in _listed(reply, key)}


def _listed(reply: dict[str, Any], key: str) -> list[dict[str, Any]]:
    """The tensors under this key: maps, each with a name."""
    rows = reply.get(key)
    if not isinstance(rows, list) or not all(
        isinstance(row, dict) and isinstance(row.get("name"), str) for row in rows
    ):
        raise Refused(f"has no list of tensors as {key!r}")
    return rows


def _json(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Refused(f"is not JSON ({type(error).__name__})") from error
    if not isinstance(value, dict):
        raise Refused(f"is no map but {type(value).__name__}")
    return value


def _complaint(data: bytes, status: str) -> str:
    """What the server says of its error, else the status."""
    try:
        told = _json(data)
    except Refused:
        return status
    said = told.get("error")
    if isinstance(detail := told.get("detail"), list):
        said = json.dumps(detail)
    return reason(said) if isinstance(said, str) and said.strip() else status


def _is_quiet(connection: socket.socket) -> bool:
    """Whether the connection stands and nothing waits: what the server said unasked is nobody's answer."""
    try:
        connection.settimeout(0)
        connection.recv(1)
    except (BlockingIOError, ssl.SSLWantReadError):
        return True
    except OSError:
        return False
    return False
