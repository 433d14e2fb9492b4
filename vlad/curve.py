"""Sockets: binding, connecting, CURVE keys, and who may connect over TCP.

Key files are those of `zmq.auth.create_certificates`.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

import zmq
from zmq.auth import load_certificate, load_certificates
from zmq.utils import z85

_ZAP_ENDPOINT = "inproc://zeromq.zap.01"
_ZAP_DOMAIN = "vlad"
_REQUESTS_A_TURN = 16
_RECONNECT_MS, _RECONNECT_MAX_MS = 20, 200
_TCP_HEARTBEAT_MS, _TCP_TIMEOUT_MS = 500, 1500


class KeyFileError(Exception):
    """A key file cannot be used: which one, why, and what to do."""


@dataclass(frozen=True, slots=True)
class ClientKeys:
    """What a driver needs to connect over TCP: its own key pair and the daemon's public key."""

    public: bytes
    secret: bytes
    server: bytes

    @classmethod
    def load(cls, own: Path, server: Path) -> ClientKeys:
        """From the driver's own secret key file (*.key_secret) and the daemon's public one (*.key)."""
        public, secret = _load_pair(own)
        return cls(public, secret, _load(server)[0])

    def apply(self, socket: zmq.Socket[bytes]) -> None:
        """Before connecting."""
        socket.curve_publickey = self.public
        socket.curve_secretkey = self.secret
        socket.curve_serverkey = self.server


def _load(path: Path) -> tuple[bytes, bytes | None]:
    try:
        return load_certificate(path)
    except (OSError, ValueError) as error:
        raise KeyFileError(f"{path}: no usable CURVE key ({error}); make one with `vladctl keys`") from None


def _load_pair(path: Path) -> tuple[bytes, bytes]:
    public, secret = _load(path)
    if secret is None:
        raise KeyFileError(f"{path}: holds no secret key; name the file that ends in .key_secret")
    return public, secret


def bind_curve(socket: zmq.Socket[bytes], endpoint: str, secret_key: Path) -> None:
    """Bind `socket` to a TCP endpoint with CURVE; what it bound before stays as it was.

    KeyFileError, or OSError where the address cannot be bound. A Gate must be there before.
    """
    public, secret = _load_pair(secret_key)
    socket.curve_publickey = public
    socket.curve_secretkey = secret
    socket.curve_server = True
    socket.zap_domain = _ZAP_DOMAIN.encode()
    bind(socket, endpoint)


def bind(socket: zmq.Socket[bytes], endpoint: str) -> None:
    """Bind, or OSError that says where and what to do. An ipc socket is for its user and group only."""
    try:
        socket.bind(endpoint)
    except zmq.ZMQError as error:
        hint = "is another program using it? does the folder exist, and is the path short enough?"
        raise OSError(error.errno, f"cannot bind {endpoint} ({error.strerror}); {hint}") from None
    if endpoint.startswith("ipc://"):
        Path(endpoint.removeprefix("ipc://")).chmod(0o660)


def connect(socket: zmq.Socket[bytes], endpoint: str, keys: ClientKeys | None) -> None:
    """Connect, and come back soon after the other end was started anew."""
    socket.linger = 0
    socket.reconnect_ivl = _RECONNECT_MS
    socket.reconnect_ivl_max = _RECONNECT_MAX_MS
    if endpoint.startswith("tcp:"):
        socket.heartbeat_ivl = _TCP_HEARTBEAT_MS
        socket.heartbeat_timeout = _TCP_TIMEOUT_MS
    if keys is not None:
        keys.apply(socket)
    socket.connect(endpoint)


class Gate:
    """Answers libzmq's question, for every TCP client of its context, whether its key is among those allowed.

    The protocol is ZAP, RFC 27. The allowed keys are read once, from the public key files (*.key) in
    `clients`. It binds at once, so that no client slips in before `start`; those are answered then.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], clients: Path) -> None:
        try:
            self._allowed = {z85.decode(key) for key in load_certificates(clients)}
        except (OSError, ValueError) as error:
            raise KeyFileError(f"{clients}: the drivers' keys cannot be read ({error})") from None
        self._socket = context.socket(zmq.ROUTER)
        self._socket.linger = 0
        self._socket.bind(_ZAP_ENDPOINT)
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Answer from now on, on the running loop."""
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket.fileno(), self._answer)
        self._answer()

    def close(self) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.remove_reader(self._socket.fileno())
        self._loop = None
        self._socket.close()

    def _answer(self) -> None:
        if self._loop is None:
            return
        for _ in range(_REQUESTS_A_TURN):
            try:
                frames = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            self._socket.send_multipart(self._judge(frames), zmq.NOBLOCK)
        self._loop.call_soon(self._answer)

    def _judge(self, frames: list[bytes]) -> list[bytes]:
        """Frames: route, empty, then version, request id, domain, address, identity, mechanism, key."""
        split = frames.index(b"") + 1
        version, request, *rest = frames[split:]
        allowed = (
            len(rest) == 5
            and version == b"1.0"
            and rest[0] == _ZAP_DOMAIN.encode()
            and rest[3] == b"CURVE"
            and rest[4] in self._allowed
        )
        status, text = (b"200", b"OK") if allowed else (b"400", b"key not allowed")
        return [*frames[:split], b"1.0", request, status, text, b"", b""]
