"""What the daemon asks of the kernel and of Python to be on time, and what became of each request."""

from __future__ import annotations

import ctypes
import errno
import gc
import os
import sys
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import zmq

if TYPE_CHECKING:
    from vlad.config import RealtimeSettings

_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
_SPARE_BYTES = 4 << 20
_NAMES = 150_000
"""Enough to fill the table of a process like this one, and once more the larger one, whose place is kept."""
_MADV_COLLAPSE = 25
_HUGE_BYTES = 2 << 20
_LARGEST_HEAP_BYTES = 64 << 20
"""Larger ones are reserved rather than used, and filling their gaps would cost memory."""
_FAVOURED = -10
_YOUNG_EVERY_TICKS = 50
_NO_LIMIT_US = 2_000_000_000
"""PM_QOS_CPU_LATENCY_DEFAULT_VALUE."""


def apply(settings: RealtimeSettings) -> dict[str, str]:
    """Ask for all that is set. Returns request -> applied, off, or refused and why.

    Call it on the loop thread before other threads are made: SCHED_RESET_ON_FORK gives those the ordinary
    scheduler, so that inference never outranks the safety tick.
    """
    sys.setswitchinterval(settings.switch_interval_s)
    return {
        "fifo": fifo(settings.fifo_priority),
        "memory": lock_memory() if settings.lock_memory else "off",
        "cpus": _affinity(settings.cpus),
    }


def fifo(priority: int) -> str:
    """SCHED_FIFO for this thread, not for its children; 0: off."""
    if not priority:
        return "off"
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(priority))
    except OSError as error:
        return f"refused: {error.strerror}; give the service CAP_SYS_NICE or LimitRTPRIO={priority}"
    return "applied"


def favour_threads() -> str:
    """Where the main thread has SCHED_FIFO, let the others have the CPU before those of other processes.

    Python's lock knows no priorities: a thread that holds it and gets no CPU keeps the safety tick waiting.
    With four loops in other processes on two CPUs, and inference flat out, the tick's 99th percentile was 3
    to 8 ms late, and 0.4 ms with this. At -20 camera drivers lost frames to inference on all CPUs; at -10
    they lost none. What such a thread starts is ordinary again. Returns applied, off, or refused and why.
    """
    if os.sched_getscheduler(os.getpid()) & ~os.SCHED_RESET_ON_FORK != os.SCHED_FIFO:
        return "off"
    for thread in threading.enumerate():
        if thread.native_id in (None, os.getpid()):
            continue
        try:
            os.sched_setscheduler(
                thread.native_id, os.SCHED_OTHER | os.SCHED_RESET_ON_FORK, os.sched_param(0)
            )
            os.setpriority(os.PRIO_PROCESS, thread.native_id, _FAVOURED)
        except ProcessLookupError:
            continue  # it ended meanwhile
        except OSError as error:
            return f"refused: {error.strerror}; give the service CAP_SYS_NICE or LimitNICE={_FAVOURED}"
    return "applied"


def start_threads(number: int, name: str) -> ThreadPoolExecutor:
    """A pool of so many threads that all run already.

    Else the pool starts one when work comes, and Python waits until that runs: it has the ordinary scheduler,
    and where the CPUs are busy it kept the loop waiting for up to 110 ms.
    """
    pool, running = ThreadPoolExecutor(number, name), threading.Barrier(number + 1)
    for _ in range(number):
        pool.submit(running.wait)
    running.wait()
    return pool


def lock_memory() -> str:
    """Lock pages as they are touched: locking all that is mapped would take gigabytes of thread stacks.

    What is freed is kept for what comes next, mallopt(3): to give a model of 140 MB back to the kernel took
    20 to 30 ms, in which Python's lock was held and no tick came through.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if hasattr(libc, "mallopt"):  # glibc
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, -1)
    if libc.mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT) != 0:
        reason = os.strerror(ctypes.get_errno())
        return f"refused: {reason}; give the service CAP_IPC_LOCK or LimitMEMLOCK=infinity"
    return "applied"


def prefault_heap() -> None:
    """Take now what the heap will need at times, where memory is locked and what was freed is kept.

    Pages are not made while the robot moves then. Most of it is for the feed to a process that stands still
    for some seconds: 20 messages a second of up to 50 kB each. mlockall(2) says how it is done.
    """
    libc = ctypes.CDLL(None)
    libc.malloc.restype = ctypes.c_void_p
    libc.free.argtypes = (ctypes.c_void_p,)
    if block := libc.malloc(ctypes.c_size_t(_SPARE_BYTES)):
        ctypes.memset(block, 0, _SPARE_BYTES)
        libc.free(block)


def prefault_names() -> None:
    """Let Python's table of interned strings grow now, once all modules are there.

    A string that is gone leaves its place taken until the table is made anew, which takes megabytes and a
    millisecond: pathlib interns the parts of every path, so the name of each recording uses up a place.
    """
    for number in range(_NAMES):
        sys.intern(f"vlad name {number}")


def prefault_receiver(context: zmq.Context[zmq.Socket[bytes]]) -> None:
    """Do as `prefault_heap` for the heap of libzmq's own thread, where lies what came and was not read yet.

    One message to ourselves, as long as all that may wait there; its memory stays with that thread.
    """
    address = f"ipc://@vlad-{uuid.uuid4().hex}"
    with context.socket(zmq.PULL) as receiver, context.socket(zmq.PUSH) as sender:
        receiver.bind(address)
        sender.connect(address)
        sender.send(bytes(_SPARE_BYTES))
        receiver.recv(copy=False)


def use_huge_pages(maps: Path = Path("/proc/self/maps")) -> str:
    """Move the heap, as start-up has left it, onto huge pages, madvise(2): applied, off, or refused and why.

    A tick that wakes up finds the CPU's address caches cold; with huge pages there is less to look up. In a
    virtual machine an idle daemon takes a tenth less CPU. Linux before 6.1 cannot: off. What comes later is
    left on small ones: to give a whole huge page to what is hardly used would only take memory.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    applied, refused = False, 0
    for begin, end in _heaps(maps.read_text()):
        if libc.madvise(begin, end - begin, _MADV_COLLAPSE) == 0:
            applied = True
        elif ctypes.get_errno() != errno.EINVAL:  # not that of a stack of which nothing is used yet
            refused = ctypes.get_errno()
    if refused:
        return f"refused: {os.strerror(refused)}; the memory is not there in one piece"
    return "applied" if applied else "off"


def _heaps(maps: str) -> list[tuple[int, int]]:
    """The whole huge pages within each private, writable mapping of no file but [heap]: first byte, end."""
    found = []
    for line in maps.splitlines():
        span, mode, _, _, _, *name = line.split()
        begin, end = (int(address, 16) for address in span.split("-"))
        begin, end = -(-begin // _HUGE_BYTES) * _HUGE_BYTES, end // _HUGE_BYTES * _HUGE_BYTES
        if mode == "rw-p" and name in ([], ["[heap]"]) and 0 < end - begin <= _LARGEST_HEAP_BYTES:
            found.append((begin, end))
    return found


def _affinity(cpus: tuple[int, ...]) -> str:
    if not cpus:
        return "off"
    try:
        os.sched_setaffinity(0, cpus)
    except OSError as error:
        return f"refused: {error.strerror}; this machine has CPUs 0 to {(os.cpu_count() or 1) - 1}"
    return "applied"


class Wakefulness:
    """Keeps the CPUs from deep sleep while the robot is armed: no frame and no stop waits for them to wake.

    The kernel's PM QoS: a number written to /dev/cpu_dma_latency counts for as long as the file is open.
    """

    def __init__(self, latency_us: int, device: Path = Path("/dev/cpu_dma_latency")) -> None:
        """`state` becomes applied, off, or refused and why."""
        self._latency_us = latency_us
        self._held_us = _NO_LIMIT_US
        self._device = -1
        self.state = "off"
        if latency_us < 0:
            return
        try:
            self._device = os.open(device, os.O_WRONLY | os.O_CLOEXEC)
        except OSError as error:
            self.state = f"refused: {error.strerror}; let the service write to {device}"
        else:
            self.state = "applied"

    def hold(self, *, armed: bool) -> None:
        """Called by every tick; writes only when it changes."""
        wanted_us = self._latency_us if armed else _NO_LIMIT_US
        if self._device >= 0 and wanted_us != self._held_us:
            os.write(self._device, wanted_us.to_bytes(4, sys.byteorder))
            self._held_us = wanted_us

    def close(self) -> None:
        if self._device >= 0:
            os.close(self._device)
            self._device = -1


class Collector:
    """Garbage collection at chosen moments: right after a command went out, and in full only at rest.

    `freeze` moves all that start-up made out of the collector's sight; a full collection of that takes
    75 ms with torch imported, and nothing afterwards.
    """

    def __init__(self) -> None:
        self._ticks = 0

    def freeze(self) -> None:
        gc.collect()
        gc.freeze()
        gc.disable()

    def after_tick(self, *, at_rest: bool) -> None:
        """Collect the young objects twice a second; when the robot is at rest, the older ones as well."""
        self._ticks += 1
        if self._ticks % _YOUNG_EVERY_TICKS == 0:
            gc.collect(1 if at_rest else 0)

    def thaw(self) -> None:
        gc.enable()
        gc.unfreeze()
