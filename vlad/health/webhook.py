"""Alerts by HTTP: each is posted as JSON."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

import vlad
from vlad.health.outlets import Deliver, DeliveryError

_TRY_AGAIN = (408, 425, 429)


def webhook(url: str, timeout_s: float) -> Deliver:
    """POST to `url`. Certificates are verified against those that this computer trusts; no proxy is used and
    no redirection followed.
    """
    parts = urlsplit(url)
    host, path = parts.hostname or "", parts.path or "/"
    target = f"{path}?{parts.query}" if parts.query else path
    headers = {"Content-Type": "application/json", "User-Agent": f"vlad/{vlad.__version__}"}

    def connect() -> http.client.HTTPConnection:
        if parts.scheme == "http":
            return http.client.HTTPConnection(host, parts.port, timeout=timeout_s)
        context = ssl.create_default_context()
        return http.client.HTTPSConnection(host, parts.port, timeout=timeout_s, context=context)

    def deliver(message: str) -> None:
        with contextlib.closing(connect()) as connection:
            try:
                connection.connect()
                with _hung_up(connection.sock, timeout_s):
                    connection.request("POST", target, message.encode(), headers)
                    status = connection.getresponse().status
            except (OSError, http.client.HTTPException) as error:
                raise DeliveryError(f"{host}: {error or type(error).__name__}", again=True) from None
        if not 200 <= status < 300:
            again = status >= 500 or status in _TRY_AGAIN
            raise DeliveryError(f"{host} answers with status {status}", again=again)

    return deliver


@contextlib.contextmanager
def _hung_up(connection: socket.socket, after_s: float) -> Iterator[None]:
    """The time-out of a socket starts anew with each byte: whoever sends them one by one is hung up on."""

    def hang_up() -> None:
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(after_s, hang_up)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
