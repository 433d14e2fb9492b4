"""What can be wrong with a message, and reading the keys of its header without trusting them."""

from __future__ import annotations

from enum import StrEnum
from math import isfinite, isinf
from typing import Any, TypeAlias

Buffer: TypeAlias = bytes | memoryview
Header: TypeAlias = dict[str, Any]
Encoded: TypeAlias = tuple[Header, memoryview | None]
"""Keys of the header, and the payload if the type has one."""

_UNIT_TOLERANCE = 0.02
_MAX_INT = 2**63
_NUMBERS = frozenset((int, float))


class Reason(StrEnum):
    """Why a message is no good; the words under which `vladctl status` counts them."""

    VERSION = "version"
    MALFORMED = "malformed"
    UNKNOWN_TOPIC = "unknown_topic"
    UNKNOWN_TYPE = "unknown_type"
    WRONG_TYPE = "wrong_type"
    SIZE = "size"
    TOO_LARGE = "too_large"
    NON_FINITE = "non_finite"
    RANGE = "range"
    STAMP_FUTURE = "stamp_future"
    STAMP_OLD = "stamp_old"
    SEQ = "seq"
    CRC = "crc"


class BadMessage(Exception):  # noqa: N818 - a message is bad, vlad is not in error
    """Bytes that are not a good message. `reason` is for counting, `detail` for the log."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


def number_of(header: Header, key: str) -> float:
    value = header.get(key)
    if type(value) is not float and type(value) is not int:
        raise BadMessage(Reason.MALFORMED, f"{key} is not a number")
    if not isfinite(value):
        raise BadMessage(Reason.NON_FINITE, key)
    return float(value)


def fraction_of(header: Header, key: str) -> float:
    value = number_of(header, key)
    if not 0 <= value <= 1:
        raise BadMessage(Reason.RANGE, f"{key} {value} is not in 0 to 1")
    return value


def measured_of(header: Header, key: str) -> float:
    """A finite number, or NaN for what the sender does not measure."""
    value = header.get(key)
    if type(value) is not float and type(value) is not int:
        raise BadMessage(Reason.MALFORMED, f"{key} is not a number")
    if isinf(value):
        raise BadMessage(Reason.NON_FINITE, key)
    return float(value)


def text_of(header: Header, key: str) -> str:
    value = header.get(key)
    if type(value) is not str:
        raise BadMessage(Reason.MALFORMED, f"{key} is not a text")
    return value


def flag_of(header: Header, key: str) -> bool:
    value = header.get(key)
    if type(value) is not bool:
        raise BadMessage(Reason.MALFORMED, f"{key} is not true or false")
    return value


def vector_of(header: Header, key: str, size: int) -> Any:
    """A tuple of `size` finite floats."""
    values = header.get(key)
    if type(values) is not list or len(values) != size or not _NUMBERS.issuperset(map(type, values)):
        raise BadMessage(Reason.MALFORMED, f"{key} is not a list of {size} numbers")
    if not all(map(isfinite, values)):
        raise BadMessage(Reason.NON_FINITE, key)
    return tuple(map(float, values))


def quaternion_of(header: Header, key: str) -> Any:
    x, y, z, w = values = vector_of(header, key, 4)
    if abs(x * x + y * y + z * z + w * w - 1) > 2 * _UNIT_TOLERANCE:
        raise BadMessage(Reason.RANGE, f"{key} is not a unit quaternion")
    return values


def names_of(header: Header, key: str, least: int = 1) -> tuple[str, ...]:
    """A list of different texts, at least so many."""
    values = header.get(key)
    if type(values) is not list or len(values) < least or not set(map(type, values)) <= {str}:
        raise BadMessage(Reason.MALFORMED, f"{key} is not a list of texts")
    if len(set(values)) != len(values):
        raise BadMessage(Reason.MALFORMED, f"{key} has a name twice")
    return tuple(values)


def texts_of(header: Header, key: str, missing: tuple[str, ...] | None = None) -> tuple[str, ...]:
    """A list of texts; `missing` is what stands for a key that is not there."""
    if key not in header and missing is not None:
        return missing
    values = header.get(key)
    if type(values) is not list or not all(type(value) is str for value in values):
        raise BadMessage(Reason.MALFORMED, f"{key} is not a list of texts")
    return tuple(values)


def natural_of(header: dict[str, Any], key: str) -> int:
    value = header.get(key)
    if type(value) is not int or not 0 <= value < _MAX_INT:
        raise BadMessage(Reason.MALFORMED, f"{key} is not a whole number from 0 up")
    return value


def member_of(kinds: Any, header: dict[str, Any], key: str) -> Any:
    value = header.get(key)
    if type(value) in (int, str):
        try:
            return kinds(value)
        except ValueError:
            pass
    raise BadMessage(Reason.MALFORMED, f"{key} is {value!r:.40}")


def maps_of(header: Header, key: str) -> list[Header]:
    values = header.get(key)
    if type(values) is not list or not all(type(value) is dict for value in values):
        raise BadMessage(Reason.MALFORMED, f"{key} is not a list of maps")
    return values
