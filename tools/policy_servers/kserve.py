"""An inference server with the Open Inference Protocol (KServe's v2): what both of its transports have.

Bytes are little-endian and row-major; an element of BYTES is its length as 4 bytes and its own bytes, a text
in UTF-8, or a picture's file.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

Arrays: TypeAlias = dict[str, np.ndarray]

DTYPES = {"FP32": "<f4", "FP64": "<f8", "INT64": "<i8", "UINT8": "|u1"}


@dataclass
class Served:
    """A model on a server, and how the server behaves. What its model was asked is in `seen`."""

    answer: Callable[[Arrays], Arrays]
    inputs: dict[str, tuple[str, list[int]]] = field(default_factory=dict)
    outputs: dict[str, tuple[str, list[int]]] = field(default_factory=dict)
    name: str = "pi"
    versions: tuple[str, ...] = ("1", "2")
    token: str = ""
    takes_bytes: bool = True
    """False: no extension over HTTP, `contents` over gRPC."""
    server: str = "tests"
    """What the server calls itself over HTTP."""
    lists_bytes: bool = True
    """False: it takes bytes over HTTP, and does not say so."""
    wants_id: bool = False
    """It fails over HTTP where a question has no id to be handed on, as KServe's own server does."""
    keeps: bool | None = True
    """False: it hangs up after each answer; None: it does not even say so."""
    raw: bytes | None = None
    """What it says instead of an answer of its model: all of the HTTP answer, or the message of gRPC."""
    seen: list[Arrays] = field(default_factory=list)
    asked_for: list[str] = field(default_factory=list)
    """The version that was named with each question; empty: none."""
    texts: int = 0
    """So many inputs came as text in JSON over HTTP."""
    waste: int = 0
    """So many bytes more than the protocol asks for."""

    def metadata(self, name: str, version: str) -> dict[str, Any]:
        self.find(name, version)
        rows = {
            key: [{"name": name, "datatype": kind, "shape": shape} for name, (kind, shape) in tensors.items()]
            for key, tensors in (("inputs", self.inputs), ("outputs", self.outputs))
        }
        return {"name": self.name, "versions": list(self.versions), "platform": "tests"} | rows

    def find(self, name: str, version: str) -> None:
        if name != self.name or version not in ("", *self.versions):
            raise LookupError(f"Request for unknown model: '{name}' version '{version}' is not found")

    def infer(self, name: str, version: str, inputs: Arrays) -> Arrays:
        self.find(name, version)
        self.seen.append(inputs)
        self.asked_for.append(version)
        return self.answer(inputs)


def datatype(array: np.ndarray) -> str:
    return next((kind for kind, code in DTYPES.items() if code == array.dtype.str), "BYTES")


def from_bytes(kind: str, shape: Sequence[int], data: bytes) -> np.ndarray:
    if kind != "BYTES":
        return np.frombuffer(data, DTYPES[kind]).reshape(shape)
    elements = []
    while data:
        (length,) = struct.unpack_from("<I", data)
        elements.append(data[4 : 4 + length])
        data = data[4 + length :]
    return np.array(elements, object).reshape(shape)
