"""The thread that runs a model."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import TypeVar

from vlad import realtime
from vlad.policy.policy import Policy

_CLOSE_TIMEOUT_S = 1.0
_T = TypeVar("_T")


class ModelThread:
    """One thread that runs the policy. A daemon thread, unlike an executor's: a hung model ends with us."""

    def __init__(self, policy: Policy) -> None:
        """Returns once the thread runs, which may take a while: not on the loop's thread, while one moves."""
        self.policy = policy
        self._keeps = False
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="inference", daemon=True)
        self._thread.start()
        realtime.favour_threads()

    def submit(self, job: Callable[[], _T], done: Callable[[_T | BaseException], object]) -> None:
        """Do it; `done` is called in the worker's thread with what came of it, or the error."""
        self._jobs.put(lambda: _do(job, done))

    def close(self, *, keep: bool = False) -> bool:
        """Let the thread end and close the policy, or `keep` it; False if it did not end within a second.

        The policy is closed then as soon as the thread ends.
        """
        self._keeps = keep
        self._jobs.put(None)
        self._thread.join(_CLOSE_TIMEOUT_S)
        ended = not self._thread.is_alive()
        self._keeps = keep and ended
        return ended

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
        if not self._keeps:
            self.policy.close()


def _do(job: Callable[[], _T], done: Callable[[_T | BaseException], object]) -> None:
    try:
        outcome: _T | BaseException = job()
    except BaseException as error:  # handed to the loop, where the supervisor sees it
        outcome = error
    with contextlib.suppress(RuntimeError):  # the loop is closed, nobody waits for it
        done(outcome)
