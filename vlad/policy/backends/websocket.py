"""A WebSocket connection on which every step has a deadline.

The client that comes with the `websockets` library sends without one: a server that is frozen while a frame
is on its way would hold the caller for ever. So only its protocol is used, and the socket is our own. There
is no thread either, which spares two switches a call.
"""

from __future__ import annotations

import ssl
from collections import deque
from contextlib import ExitStack, suppress

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidStatus, WebSocketException
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.uri import parse_uri

from vlad.policy.backends.deadline import Deadline
from vlad.policy.backends.remote import LARGEST_ANSWER, KeyRefused
from vlad.policy.backends.sockets import connect

_PIECE = 256 * 1024


class ConnectionLost(ConnectionError):  # noqa: N818 - a state, not a defect of ours
    """The connection is gone, or what comes over it is no WebSocket; the message says why."""


class WebSocket:
    """A connection to one server. TimeoutError and ConnectionLost from everything: then it must be closed."""

    def __init__(
        self, address: str, headers: dict[str, str], tls: ssl.SSLContext | None, deadline: Deadline
    ) -> None:
        """Connect and shake hands. It is this server or none: no redirection is followed, no proxy used."""
        uri = parse_uri(address)
        self._protocol = ClientProtocol(uri, max_size=LARGEST_ANSWER)
        self._messages: deque[bytes | str] = deque()
        self._parts: list[bytes] = []
        self._is_text = self._open = False
        try:
            self._socket = connect(uri.host, uri.port, tls, deadline)
        except TimeoutError:
            raise
        except OSError as error:
            raise ConnectionLost(error.strerror or str(error)) from error
        with ExitStack() as failing:
            failing.callback(self._socket.close)
            request = self._protocol.connect()
            request.headers.update(headers)
            self._protocol.send_request(request)
            self._flush(deadline)
            while not self._open:
                self._take_in(deadline)
            failing.pop_all()

    def send(self, data: bytes, deadline: Deadline) -> None:
        """One binary message."""
        self._protocol.send_binary(data)
        self._flush(deadline)

    def receive(self, deadline: Deadline) -> bytes | str:
        """The next message."""
        while not self._messages:
            self._take_in(deadline)
        return self._messages.popleft()

    def is_quiet(self, deadline: Deadline) -> bool:
        """Whether the connection stands and no message waits. What came is read, and pings are answered."""
        try:
            while True:
                deadline.left_s()
                self._socket.settimeout(0)
                try:
                    data = self._socket.recv(_PIECE)
                except (BlockingIOError, ssl.SSLWantReadError):
                    return not (self._messages or self._parts or self._protocol.close_rcvd)
                self._feed(data, deadline)
        except OSError:
            return False

    def close(self) -> None:
        """Say goodbye if that can be done at once, and hang up."""
        with suppress(OSError, WebSocketException):
            self._socket.settimeout(0)
            self._protocol.send_close()
            self._socket.sendall(b"".join(self._protocol.data_to_send()))
        self._socket.close()

    def _take_in(self, deadline: Deadline) -> None:
        """Wait for the next bytes."""
        self._socket.settimeout(deadline.left_s())
        try:
            data = self._socket.recv(_PIECE)
        except TimeoutError:
            raise
        except OSError as error:
            raise ConnectionLost(error.strerror or str(error)) from error
        self._feed(data, deadline)

    def _feed(self, data: bytes, deadline: Deadline) -> None:
        protocol = self._protocol
        try:
            if data:
                protocol.receive_data(data)
            else:
                protocol.receive_eof()
        except EOFError as error:
            raise ConnectionLost("hung up") from error
        for event in protocol.events_received():
            if isinstance(event, Response):
                self._open = protocol.handshake_exc is None
            elif isinstance(event, Frame):
                self._put(event)
        refused = protocol.handshake_exc
        if isinstance(refused, InvalidStatus) and refused.response.status_code in (401, 403):
            raise KeyRefused(f"HTTP {refused.response.status_code}")
        if problem := protocol.handshake_exc or protocol.parser_exc:
            raise ConnectionLost(str(problem) if data else "hung up") from problem
        if not data or (protocol.close_rcvd is not None and not self._messages):
            said = protocol.close_rcvd
            raise ConnectionLost(f"hung up: {said}" if said else "hung up")
        self._flush(deadline)

    def _put(self, frame: Frame) -> None:
        """Join the frames of a message."""
        if frame.opcode in (Opcode.TEXT, Opcode.BINARY):
            self._is_text = frame.opcode is Opcode.TEXT
        elif frame.opcode is not Opcode.CONT:
            return
        self._parts.append(bytes(frame.data))
        if frame.fin:
            whole = b"".join(self._parts)
            self._parts.clear()
            self._messages.append(whole.decode(errors="replace") if self._is_text else whole)

    def _flush(self, deadline: Deadline) -> None:
        data = b"".join(self._protocol.data_to_send())
        if data:
            self._socket.settimeout(deadline.left_s())
            try:
                self._socket.sendall(data)
            except TimeoutError:
                raise
            except OSError as error:
                raise ConnectionLost(error.strerror or str(error)) from error
