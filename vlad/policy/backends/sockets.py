"""Connections to a policy's server; each step has a deadline, the looking up of its name as well."""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import ExitStack
from queue import Empty, SimpleQueue

from vlad.policy.backends.deadline import Deadline


def connect(host: str, port: int, tls: ssl.SSLContext | None, deadline: Deadline) -> socket.socket:
    """A connection, over TLS where `tls` says how. TimeoutError and OSError; of TLS it is ssl.SSLError."""
    with ExitStack() as failing:
        connection = failing.enter_context(_connected(host, port, deadline))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None:
            connection.settimeout(deadline.left_s())
            connection = tls.wrap_socket(connection, server_hostname=host)
        failing.pop_all()
    return connection


def _connected(host: str, port: int, deadline: Deadline) -> socket.socket:
    """A connection to the first of the host's addresses that takes one."""
    problem = OSError("has no address")
    for address in _looked_up(host, port, deadline):
        try:
            return socket.create_connection((address, port), deadline.left_s())
        except TimeoutError:
            raise
        except OSError as error:
            problem = error
    raise problem


def _looked_up(host: str, port: int, deadline: Deadline) -> list[str]:
    """The addresses of a host. The system's resolver knows no deadline: its thread may be left behind."""
    answers: SimpleQueue[list[str] | OSError] = SimpleQueue()

    def ask() -> None:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            answers.put([str(address[0]) for *_, address in found])
        except OSError as error:
            answers.put(error)

    threading.Thread(target=ask, name="name lookup", daemon=True).start()
    try:
        answer = answers.get(timeout=deadline.left_s())
    except Empty:
        raise TimeoutError from None
    if isinstance(answer, OSError):
        raise answer
    return answer
