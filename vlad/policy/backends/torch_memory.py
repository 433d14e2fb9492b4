"""What a run of torch's takes of the computer's memory while it runs, and gives back."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

# Kineto, torch's profiler, writes lines to stderr that are meant for its makers. It reads this once.
os.environ.setdefault("KINETO_LOG_LEVEL", "99")

import torch
from torch.autograd.profiler import profile
from torch.profiler import kineto_available

_MEMORY = "[memory]"
_ONE_AT_A_TIME = threading.Lock()
"""Kineto is one for the process."""


def most_in_use(run: Callable[[], object]) -> int:
    """The most bytes that `run`, once, has allocated in this thread at a time; 0: this torch cannot tell.

    Nor is it asked where CUDA is in use, whose own profiler it would start: a GPU's memory stays with torch,
    and is seen when the run is over.
    """
    if torch.cuda.is_initialized() or not kineto_available():  # type: ignore[no-untyped-call]
        run()
        return 0
    with _ONE_AT_A_TIME, profile(use_cpu=True, profile_memory=True) as measured:
        run()
    now = most = 0
    for event in measured.kineto_results.events() if measured.kineto_results else ():
        if event.name() == _MEMORY:
            now += event.nbytes()
            most = max(most, now)
    return most
