"""A model in a process of its own, for when reading it would hold Python's lock, and so the safety tick.

`python -m vlad.policy.backends.apart` is that process. It is asked over a socket, its stdin, one question at
a time, each a JSON object; arrays lie in memory that both processes see, and only their layout is told, when
it changes. It ends when its stdin does, so with the daemon, however that ends.
"""

from __future__ import annotations

import contextlib
import json
import logging
import mmap
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import psutil
from numpy.typing import NDArray
from pydantic import TypeAdapter

from vlad.policy.backends import Backend, BackendError, Description, Model, Tensors, load_backend
from vlad.policy.memory import InUse, in_use

log = logging.getLogger(__name__)

_WORDS = (sys.executable, "-m", "vlad.policy.backends.apart")
_HUGE_PAGES = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
"""To read hundreds of megabytes into memory that only then gets its pages, small ones, is one system call,
in which the kernel may let no tick through on that CPU, not even of another process: 20 to 200 ms, measured.
"""
_LONGEST = 64 * 1024
"""Bytes of a question or an answer."""
_LONGEST_REASON = 8_000
"""Characters."""
_ALIGNED = 64
"""Bytes; for the vector units of any CPU."""
_OOM_SCORE = "500"
"""Where memory runs out, the kernel ends this process before the daemon."""

_MODEL, _DESCRIPTION = TypeAdapter(Model), TypeAdapter(Description)

_STDIN, _STDERR = 0, 2
_NONE: Tensors = {}

Message: TypeAlias = dict[str, Any]
Layout: TypeAlias = Sequence[tuple[str, str, Sequence[int], int]]
"""Of each array its name, type, shape, and where it begins [byte]."""


class Apart:
    """A backend whose model is in a process of its own. One that ended is started again at the next use."""

    def __init__(self, backend: str, model: Model) -> None:
        """Load `model` with the backend of that name; BackendError where it cannot be loaded."""
        self._backend = backend
        self._model = model
        self._process: subprocess.Popen[bytes] | None = None
        self._start()

    @property
    def pid(self) -> int | None:
        """None: the process ended."""
        return self._process.pid if self._process else None

    def describe(self) -> Description:
        if self._process is None:
            self._start()
        answer, _ = self._ask({"do": "describe"})
        described = _DESCRIPTION.validate_python(answer["description"])
        device = f"{described.device}, in a process of its own"
        return replace(described, device=device, elsewhere=answer["memory"], activations=0)

    def warm_up(self, inputs: Tensors) -> None:
        if self._process is None:
            self._start()
        self._ask({"do": "warm_up"}, inputs)

    def run(self, inputs: Tensors) -> Tensors:
        if self._process is None:
            self.warm_up(inputs)
        _, outputs = self._ask({"do": "run"}, inputs)
        return {name: array.copy() for name, array in outputs.items()}

    def close(self) -> None:
        self._end()

    def _start(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._line = Line(ours)
        try:
            with theirs:
                self._process = subprocess.Popen(
                    _WORDS,
                    stdin=theirs.fileno(),
                    stdout=_STDERR,  # what a library prints goes where the daemon's errors go
                    env=_HUGE_PAGES | os.environ,
                )
        except OSError as error:
            self._line.close()
            raise BackendError(
                f"{self._model.path}: no process can be started for it: {error.strerror}; free some memory, "
                f"or let the service have more tasks"
            ) from error
        log.info("%s: runs in a process of its own, %d", self._model.path, self._process.pid)
        model = _MODEL.dump_python(replace(self._model, server=None), mode="json")
        try:
            self._ask({"do": "load", "backend": self._backend, "model": model})
        except BackendError:
            self._end()
            raise

    def _ask(self, question: Message, inputs: Tensors = _NONE) -> tuple[Message, Tensors]:
        try:
            self._line.send(question, inputs)
            answer, outputs = self._line.receive()
        except OSError as error:
            how = self._end()
            raise BackendError(
                f"{self._model.path}: the process that runs it ended by {how}; see the log for why"
            ) from error
        if "error" in answer:
            raise BackendError(answer["error"])
        return answer, outputs

    def _end(self) -> str:
        """End the process if it has not ended; by what it did."""
        process, self._process = self._process, None
        if process is None:
            return ""
        self._line.close()
        process.kill()
        status = process.wait()
        return signal.Signals(-status).name if status < 0 else f"itself, with status {status}"


class Line:
    """One end of the socket, and the arrays that go over it."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._forms: dict[str, tuple[str, tuple[int, ...]]] = {}
        self._sent: dict[str, NDArray[Any]] = {}
        self._received: dict[str, NDArray[Any]] = {}

    def send(self, message: Message, arrays: Tensors = _NONE) -> None:
        """Say this, with these arrays of numbers or of texts; OSError where nobody is there."""
        texts = {name: array.tolist() for name, array in arrays.items() if array.dtype == object}
        numbers = {name: array for name, array in arrays.items() if array.dtype != object}
        if texts:
            message = {**message, "texts": texts}
        forms = {name: (array.dtype.str, array.shape) for name, array in numbers.items()}
        with contextlib.ExitStack() as closing:
            memory = []
            if arrays and forms != self._forms:
                message = {**message, "layout": (layout := _layout(numbers))}
                memory.append(os.memfd_create("vlad-arrays"))
                closing.callback(os.close, memory[0])
                os.ftruncate(memory[0], sum(array.nbytes + _ALIGNED for array in numbers.values()))
                self._forms, self._sent = forms, _arrays(memory[0], layout)
            for name, array in numbers.items():
                np.copyto(self._sent[name], array)
            socket.send_fds(self._connection, [json.dumps(message).encode()], memory)

    def receive(self) -> tuple[Message, Tensors]:
        """What the other end says, with its arrays, until it says the next; OSError where nobody is there."""
        said, memory, _, _ = socket.recv_fds(self._connection, _LONGEST, 1)
        if not said:
            raise ConnectionError
        message = json.loads(said)
        if memory:
            try:
                self._received = _arrays(memory[0], message["layout"])
            finally:
                os.close(memory[0])
        texts = {name: np.array(value, object) for name, value in message.get("texts", {}).items()}
        return message, self._received | texts

    def close(self) -> None:
        """The other end hears of it; the memory goes with the last array that lies in it."""
        self._connection.close()
        self._sent, self._received = {}, {}


def _layout(arrays: Tensors) -> Layout:
    layout, at = [], 0
    for name, array in arrays.items():
        layout.append((name, array.dtype.str, array.shape, at))
        at += -(-array.nbytes // _ALIGNED) * _ALIGNED
    return layout


def _arrays(memory: int, layout: Layout) -> dict[str, NDArray[Any]]:
    """Those arrays, over the memory behind this descriptor; they keep it."""
    mapped = mmap.mmap(memory, 0)
    return {name: np.ndarray(shape, dtype, mapped, at) for name, dtype, shape, at in layout}


def serve(connection: socket.socket) -> None:
    """Load a model and run it, as it is asked, until nobody asks any more."""
    line, backends = Line(connection), list[Backend]()
    with contextlib.suppress(ConnectionError):
        while True:
            question, inputs = line.receive()
            try:
                answer, outputs = _answer(question, inputs, backends)
            except BackendError as error:
                answer, outputs = {"error": str(error)[:_LONGEST_REASON]}, _NONE
            line.send(answer, outputs)


def _answer(question: Message, inputs: Tensors, backends: list[Backend]) -> tuple[Message, Tensors]:
    match question["do"]:
        case "load":
            backends.append(load_backend(question["backend"], _MODEL.validate_python(question["model"])))
        case "describe":
            described = backends[0].describe()
            assert described is not None  # only a server may not say it
            taken = replace(in_use(), resident=psutil.Process().memory_full_info().uss)
            memory = taken.grown_since(InUse(0, 0, 0), described.activations)
            return {"description": _DESCRIPTION.dump_python(described, mode="json"), "memory": memory}, _NONE
        case "warm_up":
            backends[0].warm_up(inputs)
        case "run":
            return {}, backends[0].run(inputs)
    return {}, _NONE


def main() -> int:
    """Until stdin ends; the exit status. Signals are for the daemon, which ends it then."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE)
    logging.basicConfig(format="%(message)s")
    threading.Thread(target=_end_with, args=(_STDIN,), daemon=True).start()
    serve(socket.socket(fileno=_STDIN))
    return 0


def _end_with(connection: int) -> None:
    """End at once when nobody is at the other end, whatever the model does."""
    waiting = select.poll()
    waiting.register(connection, 0)
    waiting.poll()
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
