"""What the policy servers' backends share: where the server is, questions to it, numbers from the network.

Nothing that a server sends is believed. An array is a type, a shape and bytes, and all three are checked
before any memory is taken; nothing is ever unpickled or evaluated.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, TypeAlias

import msgpack
import numpy as np
from numpy.typing import NDArray

from vlad.policy.backends import BackendError, Model, ServerLost
from vlad.policy.backends.deadline import Deadline
from vlad.policy.backends.tls import unreachable
from vlad.server_settings import ServerSettings

LARGEST_ANSWER = 16 * 1024 * 1024
"""Bytes. A chunk has some thousand numbers; this leaves room for what a server may add to it."""

Reply: TypeAlias = Mapping[Any, Any]

_DTYPE = re.compile(r"[<>|=]?(b1|[iu][1248]|f[248])")
_MOST_AXES = 8
_LONGEST_REASON = 500
"""Characters."""


class Refused(ValueError):  # noqa: N818 - says of the answer what the reader of the error needs
    """An answer, or a part of it, is not what the protocol says."""


class ServerFailed(Exception):  # noqa: N818 - what the server says of itself
    """The server answers that it cannot do what was asked; the message is the server's."""


class KeyRefused(ServerFailed):
    """The server answers that the robot's key is wrong, or not enough."""


def server_of(model: Model, backend: str, schemes: tuple[str, ...]) -> ServerSettings:
    """Where the model runs; BackendError where the settings do not say it, or name another kind of server."""
    example = f'address = "{schemes[0]}://HOST:PORT"'
    where = f"{model.path}: the backend {backend} runs its model on a server"
    if model.server is None:
        raise BackendError(f"{where}; write [policy.server] with {example} into the settings")
    scheme = model.server.address.partition("://")[0]
    if scheme not in schemes:
        raise BackendError(
            f"{where} at {' or '.join(f'{name}://' for name in schemes)}, but policy.server.address is "
            f"{model.server.address!r}; write {example}"
        )
    return model.server


def read_token(settings: ServerSettings) -> str:
    """The server's key, without the space around it; empty: it wants none. BackendError without the file."""
    if settings.token_file is None:
        return ""
    try:
        token = settings.token_file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BackendError(
            f"{settings.token_file}: cannot be read as a key ({error}); put the server's key there, or "
            f"remove policy.server.token_file"
        ) from error
    if not token or not token.isprintable():
        raise BackendError(f"{settings.token_file}: must hold the server's key, in one line")
    return token


@contextmanager
def question(settings: ServerSettings, hang_up: Callable[[], None]) -> Iterator[Deadline]:
    """Ask the server within this, and before the deadline: ServerLost says why nothing came of it.

    After a failure the connection is thrown away, and with it whatever still comes over it: the answer to an
    older question is never taken for that to a newer one.
    """
    address = settings.address
    with ExitStack() as failing:
        failing.callback(hang_up)
        try:
            yield Deadline(settings.timeout_s)
        except TimeoutError as error:
            raise ServerLost(
                f"{address}: no answer within {settings.timeout_s:g} s (policy.server.timeout_s); see "
                f"whether the policy server and the network to it are well"
            ) from error
        except OSError as error:
            raise unreachable(settings, error.strerror or error) from error
        except Refused as error:
            raise ServerLost(f"{address}: its answer {error}") from error
        except KeyRefused as error:
            raise ServerLost(
                f"{address}: refuses the robot's key: {error}; policy.server.token_file names the file that "
                f"holds the server's"
            ) from error
        except ServerFailed as error:
            raise ServerLost(f"{address}: the server failed: {error}; see its log") from error
        failing.pop_all()


def last_line(text: str) -> str:
    """What a traceback comes to."""
    return text.strip().rpartition("\n")[2]


def reason(text: str) -> str:
    """What a server says of its failure, in one line: all of it, and of a traceback what it comes to."""
    said = last_line(text) if text.startswith("Traceback") else " ".join(text.split())
    return said[:_LONGEST_REASON]


def unpack(data: bytes) -> Any:
    """One msgpack object; Refused where it is none."""
    try:
        return msgpack.unpackb(data)
    except ValueError as error:
        raise Refused(f"is not msgpack ({error or type(error).__name__})") from error


def array_of(data: object, dtype: object, shape: object, order: Any = "C") -> NDArray[Any]:
    """An array of numbers over bytes from the network, without a copy; Refused where they do not agree."""
    if not isinstance(dtype, str) or not _DTYPE.fullmatch(dtype):
        raise Refused(f"has an array of type {dtype!r:.40}; only numbers are taken")
    if not isinstance(shape, Iterable) or not isinstance(data, bytes | memoryview):
        raise Refused("has an array without a shape or without data")
    sizes = tuple(shape)
    if len(sizes) > _MOST_AXES or not all(type(size) is int and size >= 0 for size in sizes):
        raise Refused(f"has an array of shape {sizes!r:.80}")
    kind = np.dtype(dtype)
    if math.prod(sizes) * kind.itemsize != len(data):
        raise Refused(f"has an array of {len(data)} bytes; {dtype} of shape {sizes} has another size")
    return np.frombuffer(data, kind).reshape(sizes, order=order)


def actions(array: NDArray[Any]) -> NDArray[np.float32]:
    """An array of the answer as the model's output: float32, and with a batch axis of 1 in front.

    A single number is a head, of shape (1, 1).
    """
    with np.errstate(over="ignore", invalid="ignore"):
        numbers = np.ascontiguousarray(array, np.float32)
    return numbers.reshape(1, 1) if numbers.size == 1 and array.ndim < 2 else numbers[None]


def wanted(reply: object, name: str) -> object:
    """What the answer has under this name; Refused where it has nothing."""
    if not isinstance(reply, dict):
        raise Refused(f"is no map but {type(reply).__name__}")
    if name not in reply:
        names = ", ".join(sorted(key for key in reply if isinstance(key, str)))
        raise Refused(f"has no {name!r} but {names or 'nothing'}; correct the output's name in the bundle")
    return reply[name]
