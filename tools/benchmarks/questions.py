"""What a question to a policy server costs, beside one by a client that only sends the same bytes."""

from __future__ import annotations

import http.client
import random
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import grpc
import numpy as np
import zmq
from websockets.sync.client import connect

from tools.benchmarks.report import percentiles
from tools.policy_servers.process import ServerProcess
from vlad.policy.backends import Model, Tensors, groot, kserve_grpc, kserve_http, load_backend, openpi
from vlad.policy.backends.kserve_tensors import Place
from vlad.server_settings import ServerSettings

_NS_PER_MS = 1e6
_INPUTS = {"openpi": "observation/image", "groot": "video.front", "kserve": "camera"}
_OUTPUTS = {"openpi": "actions", "groot": "base", "kserve": "actions"}

Ask: TypeAlias = Callable[[], object]


def cost(kind: str, count: int, size: tuple[int, int]) -> dict[str, Any]:
    """A question with one picture by the backend, and its bytes by a bare client, whichever comes first."""
    picture = np.random.default_rng(0).integers(0, 255, (1, *size, 3), np.uint8)
    with ServerProcess(kind) as server, ExitStack() as ending:
        server.start()
        inputs, output = {_INPUTS[server.backend]: picture}, _OUTPUTS[server.backend]
        settings = ServerSettings(address=server.address, timeout_s=5.0)
        model = Model(Path("bench"), "float32", (output,), 1, server=settings, name="bench")
        backend = ending.enter_context(closing(load_backend(server.backend, model)))
        bare = _BARE[kind](server.address, inputs, ending)
        asked: list[float] = []
        sent: list[float] = []
        ways: list[tuple[list[float], Ask]] = [(asked, lambda: backend.run(inputs)), (sent, bare)]
        for _ in range(count):
            for times_ms, ask in random.sample(ways, 2):
                times_ms.append(_timed_ms(ask))
    return {
        "asked": percentiles(asked, "ms"),
        "bare": percentiles(sent, "ms"),
        "more_p50_ms": round(float(np.median(np.subtract(asked, sent))), 4),
    }


def _openpi(address: str, inputs: Tensors, ending: ExitStack) -> Ask:
    packed = openpi.pack(inputs)
    link = ending.enter_context(connect(address, compression=None, max_size=None))
    link.recv()

    def ask() -> object:
        link.send(packed)
        return link.recv()

    return ask


def _groot(address: str, inputs: Tensors, ending: ExitStack) -> Ask:
    packed = groot.pack(groot.N16.data(inputs), "")
    request: zmq.Socket[bytes] = ending.enter_context(zmq.Context.instance().socket(zmq.REQ))
    request.connect(address)

    def ask() -> object:
        request.send(packed)
        return request.recv()

    return ask


def _http(address: str, inputs: Tensors, ending: ExitStack) -> Ask:
    parts = kserve_http.question(inputs, ("actions",), binary=True)
    packed, where = b"".join(parts), urlsplit(address)
    headers = {kserve_http.HEAD_LENGTH: str(len(parts[0]))}
    link = ending.enter_context(closing(http.client.HTTPConnection(where.hostname or "", where.port)))

    def ask() -> object:
        link.request("POST", "/v2/models/bench/infer", packed, headers)
        return link.getresponse().read()

    return ask


def _grpc(address: str, inputs: Tensors, ending: ExitStack) -> Ask:
    place = Place("", 0, "bench", "")
    packed = kserve_grpc.question(place, inputs, ("actions",))
    options = (("grpc.max_send_message_length", -1),)
    channel = ending.enter_context(grpc.insecure_channel(urlsplit(address).netloc, options))
    call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
    return lambda: call(packed)


_BARE = {"openpi": _openpi, "groot": _groot, "kserve-http": _http, "kserve-grpc": _grpc}
"""Send and receive with the usual client of each protocol, without any encoding."""


def _timed_ms(call: Ask) -> float:
    began_ns = time.monotonic_ns()
    call()
    return (time.monotonic_ns() - began_ns) / _NS_PER_MS
