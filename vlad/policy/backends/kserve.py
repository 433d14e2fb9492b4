"""Inference servers that speak the Open Inference Protocol, which is KServe's v2: Triton, OpenVINO Model
Server, and what is served by it with KServe or Ray Serve.

The model on the server is that of the bundle's name, and of the version that the server prefers; an address
with a path says otherwise: http://HOST:PORT/v2/models/NAME/versions/V, or the same behind grpc://, https://
or grpcs://. Inputs and outputs have the bundle's names, and the batch axis of 1. gRPC packs all numbers as
they are; over HTTP only OpenVINO Model Server, and servers that list the extension "binary_tensor_data"
as Triton does, take them so, and others as text, which costs tens of milliseconds a picture.

Seen to work, over both: Triton 2.51 (of nvidia-pytriton 0.7.0), MLServer 1.7.1, and KServe's own server
0.21.0. MLServer, and KServe's server over HTTP, make a Python list of each picture, which takes tens to
hundreds of milliseconds: ask KServe's over gRPC. tests/policy/backends/test_kserve_real.py says how to see it
again.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeAlias
from urllib.parse import unquote, urlsplit

import numpy as np
from numpy.typing import NDArray

from vlad.policy.backends import BackendError, Description, Model, Tensors, TensorSpec
from vlad.policy.backends.kserve_http import HttpLink
from vlad.policy.backends.kserve_tensors import Link, Place
from vlad.policy.backends.remote import question, read_token, server_of
from vlad.policy.backends.tls import tls_of
from vlad.server_settings import ServerSettings

_PATH = re.compile(r"/v2/models/([^/]+)(?:/versions/([^/]+))?/?")

_Shaped: TypeAlias = Callable[[NDArray[Any]], NDArray[Any]]


class KserveBackend:
    """A connection to an inference server, made when it is needed, and anew after each failure."""

    def __init__(self, model: Model) -> None:
        """BackendError where the settings do not lead to a server. The server need not be there yet."""
        self._settings = server_of(model, "kserve", ("http", "https", "grpc", "grpcs"))
        self._outputs = model.outputs
        self._link = _link(self._settings, place_of(self._settings.address, model.name))
        self._jpeg = model.jpeg
        self._shaped: dict[str, _Shaped] = {}
        """What the server's model wants of those texts and files that it does not want as (1,) BYTES."""

    def describe(self) -> Description:
        """What the server says of its model; ServerLost where it is not there.

        A text or file can be sent as the model wants it, so that is not compared.
        """
        with question(self._settings, self._link.close) as deadline:
            said = self._link.metadata(deadline)
        found = {name: _shaped(spec, name in self._jpeg) for name, spec in said.inputs.items()}
        self._shaped = {name: shaped for name, shaped in found.items() if shaped is not None}
        alike = dict.fromkeys(self._shaped, TensorSpec("object", (1,)))
        return replace(said, inputs={**said.inputs, **alike})

    def warm_up(self, inputs: Tensors) -> None:
        self.run(inputs)

    def run(self, inputs: Tensors) -> Tensors:
        """The server's answer; ServerLost where there is none in time, or none that can be used."""
        shaped = {
            name: self._shaped[name](array) if name in self._shaped else array
            for name, array in inputs.items()
        }
        with question(self._settings, self._link.close) as deadline:
            return self._link.infer(shaped, self._outputs, deadline)

    def close(self) -> None:
        self._link.close()


def _shaped(spec: TensorSpec, is_jpeg: bool) -> _Shaped | None:
    """How a text or a JPEG file, (1,), is made what the server says of the input; None: it cannot be.

    Texts are BYTES with any number of axes. A file is that too where the model decodes it, or for Triton's
    DALI uint8 (1, N); for an input of pixels, (1, H, W, 3), OpenVINO Model Server decodes BYTES (1,).
    """
    if spec.shape is None:
        return None
    axes, ones = len(spec.shape), {*spec.shape} <= {1, None}
    if spec.dtype == "object" and ones:
        return lambda array: array.reshape((1,) * axes)
    if is_jpeg and spec.dtype == "uint8" and ones and spec.shape[-1:] == (None,):
        return lambda array: np.frombuffer(array[0], np.uint8).reshape((1,) * (axes - 1) + (-1,))
    if is_jpeg and spec.dtype != "object" and axes == 4 and spec.shape[3] in (3, None):
        return lambda array: array
    return None


def load(model: Model) -> KserveBackend:
    """Get ready to ask a server; BackendError where the settings name none."""
    return KserveBackend(model)


def place_of(address: str, name: str) -> Place:
    """The server and its model: the one in the address's path, else the one of this name."""
    parts = urlsplit(address)
    path = _PATH.fullmatch(parts.path)
    if path is None and parts.path not in ("", "/"):
        raise BackendError(
            f"policy.server.address: {address!r} has a path that names no model; write "
            f"{parts.scheme}://HOST:PORT/v2/models/NAME or {parts.scheme}://HOST:PORT/v2/models/NAME/versions/V"
        )
    model, version = path.groups() if path else (name, None)
    return Place(parts.hostname or "", parts.port or 0, unquote(model), unquote(version or ""))


def _link(settings: ServerSettings, place: Place) -> Link:
    token, tls = read_token(settings), tls_of(settings)
    if settings.address.startswith("http"):
        return HttpLink(place, token, tls)
    # Only here: over HTTP it works without these packages.
    from vlad.policy.backends.kserve_grpc import GrpcLink

    return GrpcLink(place, token, settings)
