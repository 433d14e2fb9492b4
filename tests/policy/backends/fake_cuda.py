"""A GPU and pycuda as far as vlad uses it, without either.

What goes through a stream happens when the stream is synchronised, not before. What needs a CUDA context
fails in a thread that has none, as does what was made in another context.
"""

from __future__ import annotations

import threading
import types

import numpy as np


class Error(Exception):
    """pycuda.driver.Error."""


class Machine:
    """A robot with one GPU, and what was done on it."""

    def __init__(self, version="10.16.1.11", gpu="Orin", driver=True):
        self.version, self.gpu, self.driver = version, gpu, driver
        self.calls = []
        """What was asked of the GPU, in order."""
        self.memory, self.pinned, self.streams = {}, [], {}
        """What is allocated: address -> bytes, and the host's; handle -> stream."""
        self.contexts = []
        """Alive."""
        self.builds, self.configs, self.flags = 0, [], []
        self.fails = set()
        """Calls that fail."""
        self._stacks = threading.local()

    @property
    def stack(self):
        """This thread's contexts."""
        if not hasattr(self._stacks, "contexts"):
            self._stacks.contexts = []
        return self._stacks.contexts

    def now(self, call, *details, context=None):
        """Note a call, which needs a context: that one, where it is said."""
        if not self.stack:
            raise Error(f"{call}: no currently active context?")
        if context not in (None, self.stack[-1]):
            raise Error(f"{call}: made in another context")
        if call in self.fails:
            raise Error(f"{call} failed")
        self.calls.append((call, *details))
        return self.stack[-1]


def make_cuda(machine):
    """The module pycuda.driver."""

    class Context:
        def push(self):
            if self not in machine.contexts:
                raise Error("cuCtxPushCurrent failed: invalid device context")
            machine.stack.append(self)

        @staticmethod
        def pop():
            machine.stack.pop()

        def detach(self):
            assert machine.stack[-1] is self, "another thread can only leak it"
            machine.stack.pop()
            machine.contexts.remove(self)

    class Device:
        def __init__(self, number):
            if number > 0:
                raise Error("cuDeviceGet failed: invalid device ordinal")

        def name(self):
            return machine.gpu

        def compute_capability(self):
            return (8, 7)

        def make_context(self, flags=0):
            if "make_context" in machine.fails:
                raise Error("cuCtxCreate failed: out of memory")
            context = Context()
            machine.contexts.append(context)
            machine.stack.append(context)
            return context

    class Stream:
        def __init__(self):
            self.context = machine.now("Stream")
            self.work = []
            self.handle = id(self)
            machine.streams[self.handle] = self

        def synchronize(self):
            machine.now("synchronize", context=self.context)
            for job in self.work:
                job()
            self.work.clear()

        def __del__(self):
            if getattr(self, "context", None) in machine.contexts and machine.stack[-1:] != [self.context]:
                machine.calls.append(("leaked", "Stream"))

    class DeviceAllocation:
        def __init__(self, size):
            self.context = machine.now("mem_alloc", size)
            self.address = 4096 * (1 + len(machine.calls))
            machine.memory[self.address] = bytearray(size)

        def __int__(self):
            return self.address

        def free(self):
            machine.now("mem_free", context=self.context)
            del machine.memory[self.address]

    class PagelockedHostAllocation:
        def __init__(self, size):
            self.context = machine.now("mem_host_alloc", size)
            machine.pinned.append(self)

        def free(self):
            machine.now("mem_host_free", context=self.context)
            machine.pinned.remove(self)

    class PinnedArray:
        """An array whose base is the allocation: NumPy lets only C make one."""

        def __init__(self, count, dtype):
            self.array = np.zeros(count, dtype)
            self.nbytes = self.array.nbytes
            self.base = PagelockedHostAllocation(self.nbytes)

        def __getitem__(self, key):
            return self.array[key]

    def init(flags=0):
        if not machine.driver:
            raise Error("cuInit failed: no CUDA-capable device is detected")

    def pagelocked_empty(shape, dtype, order="C", mem_flags=0):
        return PinnedArray(shape, dtype)

    def mem_alloc(bytes):
        return DeviceAllocation(bytes)

    def memcpy_htod_async(dest, src, stream=None):
        machine.now("memcpy_htod_async", context=stream.context)

        def copy():
            machine.memory[int(dest)][:] = src.array.tobytes()

        stream.work.append(copy)

    def memcpy_dtoh_async(dest, src, stream=None):
        machine.now("memcpy_dtoh_async", context=stream.context)

        def copy():
            dest.array[:] = np.frombuffer(machine.memory[int(src)], dest.array.dtype)

        stream.work.append(copy)

    module = types.ModuleType("pycuda.driver")
    for value in (
        Error, Device, Stream, init, pagelocked_empty, mem_alloc, memcpy_htod_async, memcpy_dtoh_async,
    ):  # fmt: skip
        setattr(module, value.__name__, value)
    return module
