"""What the tests of both policy servers' backends share."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
from hypothesis import strategies as st

from tools.benchmarks.rig import ROOT
from vlad.config import ServerSettings
from vlad.policy.backends import Model, load_backend

LARGE = np.zeros((1, 2160, 3840, 3), np.uint8)
"""More than the sockets' buffers take, so that sending it waits for the server."""

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.binary(), inner, max_size=4),
)
"""Whatever msgpack can say."""


@contextlib.contextmanager
def asking(kind, address, *outputs, timeout_s=20.0, **settings):
    """A backend that asks the server there."""
    server = ServerSettings(address=address, timeout_s=timeout_s, **settings)
    backend = load_backend(kind, Model(Path("models/pi/1"), "float32", outputs, 1, server=server))
    try:
        yield backend
    finally:
        backend.close()


@contextlib.contextmanager
def process(kind):
    """The address of a server in a process of its own, and its process id."""
    port = free_port()
    words = [sys.executable, "-m", "tools.benchmarks.policy_server", kind, str(port)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, cwd=ROOT) as server:
        try:
            assert server.stdout.readline() == b"listening\n"
            yield f"{'ws' if kind == 'openpi' else 'tcp'}://127.0.0.1:{port}", server.pid
        finally:
            os.kill(server.pid, signal.SIGCONT)
            server.kill()


def free_port():
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


@st.composite
def spoilt(draw, good):
    """`good`, but that some of its bytes are others, more or fewer."""
    data = bytearray(good)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        match draw(st.sampled_from(["change", "remove", "insert", "cut"])):
            case "change" if data:
                data[at] = draw(st.integers(0, 255))
            case "remove":
                del data[at : at + draw(st.integers(1, 8))]
            case "insert":
                data[at:at] = draw(st.binary(min_size=1, max_size=8))
            case "cut":
                del data[at:]
    return bytes(data)
