"""How much memory this process has in use; what a model takes is what it grows by.

ONNX Runtime takes memory in pieces of twice the size each time, and need not use all of the last: it counts.
"""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass

import psutil

from vlad.computer.nvidia import gpu_bytes


class _Mallinfo2(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks",
            "keepcost",
        )
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class InUse:
    """Bytes: the pages that are there, what of the heap is not free, and what GPUs have for this process."""

    resident: int
    heap: int
    gpu: int

    def grown_since(self, before: InUse, activations: int = 0) -> int:
        """What was taken since then. Pages that were free in the heap already show in the heap alone, and
        files that are mapped in the pages alone. `activations` are what a run takes and gives back.
        """
        resident, heap = self.resident - before.resident, self.heap - before.heap + activations
        return max(0, resident, heap) + max(0, self.gpu - before.gpu)


def in_use() -> InUse:
    """As of now."""
    return InUse(psutil.Process().memory_info().rss, heap_in_use(), gpu_bytes(os.getpid()))


def heap_in_use() -> int:
    """What was allocated and not freed [bytes], mallinfo(3); 0 where the C library does not say it."""
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallinfo2"):  # glibc has it from 2.33 on
        return 0
    libc.mallinfo2.restype = _Mallinfo2
    info = libc.mallinfo2()
    return int(info.uordblks + info.hblkhd)
