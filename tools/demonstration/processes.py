"""The demo's processes: started with their output in a log file, ended in order."""

from __future__ import annotations

import ctypes
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

import psutil

_PR_SET_PDEATHSIG = 1
_TAIL_LINES = 12


class ProcessDiedError(Exception):
    """A process of the demo ended though nobody asked it to; the text has its last words."""


def _end_with_parent() -> None:
    """In the child: SIGTERM when the demo itself is killed, so that nothing is left running."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


class Process:
    """A program in a process group of its own: Ctrl-C in the terminal reaches the demo alone."""

    def __init__(self, name: str, command: Sequence[str], folder: Path, log: Path) -> None:
        self.name = name
        self.log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                command, cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                process_group=0, preexec_fn=_end_with_parent,
            )  # fmt: skip
        self.pid = self._process.pid
        self._usage = psutil.Process(self.pid)

    def check(self) -> None:
        """ProcessDiedError if it has ended."""
        status = self._process.poll()
        if status is not None:
            raise ProcessDiedError(f"{self.name} ended with status {status}; its last words:\n{self.tail()}")

    def tail(self) -> str:
        """The last lines of its log."""
        lines = self.log.read_text(errors="replace").splitlines()[-_TAIL_LINES:]
        return "\n".join(f"    {line}" for line in lines) or "    (none)"

    def usage(self) -> tuple[float, int]:
        """Processor time so far [s] and resident memory [bytes]; zeros where it is gone."""
        try:
            times, memory = self._usage.cpu_times(), self._usage.memory_info()
        except psutil.NoSuchProcess:
            return 0.0, 0
        return times.user + times.system, int(memory.rss)

    def stop(self, timeout_s: float = 12.0) -> bool:
        """SIGTERM, and SIGKILL if that does not end it in time. False: it did not end in order on SIGTERM."""
        if self._process.poll() is not None:
            return True
        self._process.terminate()
        try:
            return self._process.wait(timeout_s) == 0
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            return False
