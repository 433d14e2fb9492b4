"""Tensors as the Open Inference Protocol names and packs them, the same over HTTP and gRPC.

A tensor is a name, a datatype, a shape, and its bytes, row-major and little-endian. Texts and files are of
datatype BYTES: each element is its length (4 bytes) and its own bytes, those of a text in UTF-8.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vlad.policy.backends import Description, Tensors, TensorSpec
from vlad.policy.backends.deadline import Deadline
from vlad.policy.backends.remote import Refused, array_of

Bytes: TypeAlias = bytes | memoryview

TEXT = "BYTES"
CODES = {
    "BOOL": "|b1",
    "UINT8": "|u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
    "INT8": "|i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
}
"""The protocol's datatypes of numbers -> NumPy's codes. NumPy has none for BF16."""

_FLOATS = ("FP16", "FP32", "FP64")
_NUMBERS = (int, float, type(None))

_DATATYPES = {code: datatype for datatype, code in CODES.items()}


@dataclass(frozen=True, slots=True)
class Place:
    """A model on a server; without a version the server takes the one that it holds for the best."""

    host: str
    port: int
    model: str
    version: str

    @property
    def authority(self) -> str:
        """host:port, as it stands in an address."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Link(Protocol):
    """A connection to a server, made when it is needed.

    TimeoutError after the deadline, OSError where the connection is lost, Refused where the answer is not
    what the protocol says, ServerFailed where the server says that it failed: then it must be closed.
    """

    def metadata(self, deadline: Deadline) -> Description:
        """What the server says of its model."""
        ...

    def infer(self, inputs: Tensors, outputs: tuple[str, ...], deadline: Deadline) -> Tensors:
        """Those outputs for these inputs."""
        ...

    def close(self) -> None:
        """Hang up, and drop whatever still comes. What is asked next is asked on a new connection."""
        ...


def datatype(array: NDArray[Any]) -> str:
    """What the protocol calls the type of an input; an array of objects has texts or files."""
    return TEXT if array.dtype == object else _DATATYPES[array.dtype.str]


def pack(array: NDArray[Any]) -> Bytes:
    """An input's bytes on the wire; of numbers without a copy."""
    if array.dtype != object:
        return array.data.cast("B")
    elements = [item if isinstance(item, bytes) else str(item).encode() for item in array.flat]
    return b"".join(struct.pack("<I", len(element)) + element for element in elements)


def unpack(data: object, kind: object, shape: object) -> NDArray[Any]:
    """An output from its bytes; Refused where they do not agree with its datatype and shape."""
    return array_of(data, _code(kind), shape)


def numbers(values: object, kind: object, shape: object) -> NDArray[Any]:
    """An output from a list of its numbers, flat or nested; Refused as for `unpack`.

    JSON has no NaN: servers write null, which is one among numbers with a fraction.
    """
    try:
        found = np.asarray(values)
        if found.ndim and kind in _FLOATS and all(type(item) in _NUMBERS for item in found.flat):
            found = found.astype(np.float64)
    except (ValueError, OverflowError) as error:
        raise Refused(f"has an output that is no array ({error})") from error
    if found.dtype.kind not in "biuf":
        raise Refused("has an output of something else than numbers")
    with np.errstate(over="ignore", invalid="ignore"):
        cast = found.astype(_code(kind))
    return array_of(cast.tobytes(), cast.dtype.str, shape)


def spec(kind: object, shape: object) -> TensorSpec:
    """What the server says of an input or output. Sizes of -1 are open; BYTES are NumPy's objects."""
    if not isinstance(kind, str) or not isinstance(shape, Iterable):
        raise Refused("has a tensor without a datatype or a shape")
    sizes = tuple(shape)
    if not all(type(size) is int for size in sizes):
        raise Refused(f"has a tensor of shape {sizes!r:.80}")
    named = "object" if kind == TEXT else np.dtype(CODES[kind]).name if kind in CODES else kind
    return TensorSpec(named, tuple(None if size < 0 else size for size in sizes))


def _code(kind: object) -> str:
    if not isinstance(kind, str) or kind not in CODES:
        raise Refused(f"has an output of datatype {kind!r:.40}; only numbers are taken")
    return CODES[kind]
