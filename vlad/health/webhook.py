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
    no redirection followed. What is told of errors names the host alone: the path may be a secret.
    """
    parts = urlsplit(url)
    host, path = parts.hostname or "", parts.path or "/"
    target = f"{path}?{parts.query}" if parts.query else path
    headers = {"Content-Type": "application/json", "User-Agent": f"vlad/{vlad.__version__}"}

    def deliver(message: str) -> None:
        kind = http.client.HTTPConnection if parts.scheme == "http" else http.client.HTTPSConnection
        try:
            with contextlib.closing(kind(host, parts.port)) as connection:
                plain = socket.create_connection((host, connection.port), timeout_s)
                with _hung_up(plain, timeout_s):
                    connection.sock = plain if parts.scheme == "http" else _encrypted(plain, host)
                    connection.request("POST", target, message.encode(), headers)
                    status = connection.getresponse().status
        except (OSError, http.client.HTTPException) as error:
            raise DeliveryError(f"{host}: {error or type(error).__name__}", again=True) from None
        if not 200 <= status < 300:
            again = status >= 500 or status in _TRY_AGAIN
            raise DeliveryError(f"{host} answers with status {status}", again=again)

    return deliver


def _encrypted(plain: socket.socket, host: str) -> ssl.SSLSocket:
    """Certificates are read anew each time: they may have been renewed."""
    return ssl.create_default_context().wrap_socket(plain, server_hostname=host)


@contextlib.contextmanager
def _hung_up(connection: socket.socket, after_s: float) -> Iterator[None]:
    """The time-out of a socket starts anew with each byte: whoever sends them one by one is hung up on."""
    with connection.dup() as same:  # the socket itself is taken over by TLS

        def hang_up() -> None:
            with contextlib.suppress(OSError):
                same.shutdown(socket.SHUT_RDWR)

        timer = threading.Timer(after_s, hang_up)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            connection.close()
