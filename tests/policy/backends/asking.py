"""What the tests of the policy servers' backends share."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from hypothesis import strategies as st

from tools.policy_servers.groot import GrootServer
from tools.policy_servers.kserve import Served
from tools.policy_servers.kserve_grpc import GrpcServer
from tools.policy_servers.kserve_http import HttpServer
from tools.policy_servers.openpi import OpenpiServer
from tools.policy_servers.process import ServerProcess
from vlad.policy.backends import Model, load_backend
from vlad.server_settings import ServerSettings

LARGE = np.zeros((1, 2160, 3840, 3), np.uint8)
"""More than the sockets' buffers take, so that sending it waits for the server."""

STATE = np.array([[0.5, -1.0]], np.float32)

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.binary(), inner, max_size=4),
)
"""Whatever msgpack can say."""


@dataclass(frozen=True)
class Protocol:
    """How a server of this kind is asked, by names that suit it.

    `serve` starts one, of the model "pi", whose `answer` makes a plan (4, 2) from the state (2,) and whose
    reply has it as `output`. A process of its own has a `camera`, and its plan as `plan`.
    """

    kind: str
    backend: str
    schemes: tuple[str, ...]
    state: str
    output: str
    camera: str
    plan: str
    serve: Callable

    def asking(self, address, **settings):
        return asking(self.backend, address, self.output, **settings)


def _kserve(server):
    def start(answer, port=0, token="", tls=None):
        served = Served(lambda seen: {"actions": answer(seen["state"][0])[None]}, token=token)
        return server(served, port, tls)

    return start


PROTOCOLS = (
    Protocol("openpi", "openpi", ("ws", "wss"), "state", "actions", "observation/image", "actions",
             lambda answer, *options, **named: OpenpiServer(
                 lambda seen: {"actions": answer(seen["state"])}, *options, **named)),
    Protocol("groot", "groot", ("tcp",), "state.arm", "arm", "video.front", "base",
             lambda answer, *options, **named: GrootServer(
                 lambda seen: {"arm": answer(seen["state"]["arm"][0, 0])[None]}, *options, **named)),
    Protocol("groot-n1.5", "groot-n1.5", ("tcp",), "state.arm", "action.arm", "video.front", "action.base",
             lambda answer, *options, **named: GrootServer(
                 lambda seen: {"action.arm": answer(seen["state.arm"][0, 0])[None]}, *options, **named,
                 release="n1.5")),
    Protocol("kserve-http", "kserve", ("http", "https"), "state", "actions", "camera", "actions",
             _kserve(HttpServer)),
    Protocol("kserve-grpc", "kserve", ("grpc", "grpcs"), "state", "actions", "camera", "actions",
             _kserve(GrpcServer)),
)  # fmt: skip


@contextlib.contextmanager
def asking(backend, address, *outputs, timeout_s=20.0, **settings):
    """A backend that asks the server there, of a bundle that is called "pi"."""
    server = ServerSettings(address=address, timeout_s=timeout_s, **settings)
    model = Model(Path("models/pi/1"), "float32", outputs, 1, server=server, name="pi")
    asked = load_backend(backend, model)
    try:
        yield asked
    finally:
        asked.close()


@contextlib.contextmanager
def process(protocol, identity=None):
    """A server in a process of its own, and its address."""
    with ServerProcess(protocol.kind, identity) as server:
        server.start()
        yield server, server.address + ("/v2/models/bench" if protocol.backend == "kserve" else "")


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
