"""The line that cuts the motors' power: a GPIO's value file, a serial line, or a stand-in for them."""

from __future__ import annotations

import os
import stat
from pathlib import Path


class Relay:
    """Writes `stop` or `run`, once at each change, and again as long as it could not be written.

    `problem` is empty, or why the line does not say what it shall. OSError where it cannot be opened.
    """

    def __init__(self, path: Path, stop: bytes, run: bytes) -> None:
        self.problem = ""
        self._path = path
        self._words = {False: stop, True: run}
        self._written: bool | None = None
        self._fd = os.open(path, os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
        self._regular = stat.S_ISREG(os.fstat(self._fd).st_mode)

    def set(self, *, run: bool) -> None:
        """Let the motors run, or cut them."""
        if run is self._written:
            return
        word = self._words[run]
        self._written = None
        try:
            self._write(word)
        except OSError as error:
            self.problem = f"the relay {self._path} cannot be written ({error.strerror or error})"
        else:
            self.problem = ""
            self._written = run

    def close(self) -> None:
        """The line stays as it is."""
        os.close(self._fd)

    def _write(self, word: bytes) -> None:
        if self._regular:
            written = os.pwrite(self._fd, word, 0)
            os.ftruncate(self._fd, len(word))
        else:
            written = os.write(self._fd, word)
        if written != len(word):
            raise OSError(f"it took {written} of {len(word)} bytes")
