"""What the kernel knows of its wall clock, by adjtimex(2): whether something steers it, and how well."""

from __future__ import annotations

import ctypes

from vlad.computer.measured import Timekeeping

_TIME_ERROR = 5
_STA_UNSYNC, _STA_NANO = 0x0040, 0x2000


class _Timeval(ctypes.Structure):
    _fields_ = (("tv_sec", ctypes.c_long), ("tv_usec", ctypes.c_long))


class Timex(ctypes.Structure):
    """struct timex of <sys/timex.h>; `modes` 0 changes nothing and needs no permission."""

    _fields_ = (
        ("modes", ctypes.c_uint), ("offset", ctypes.c_long), ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long), ("esterror", ctypes.c_long), ("status", ctypes.c_int),
        ("constant", ctypes.c_long), ("precision", ctypes.c_long), ("tolerance", ctypes.c_long),
        ("time", _Timeval), ("tick", ctypes.c_long), ("ppsfreq", ctypes.c_long), ("jitter", ctypes.c_long),
        ("shift", ctypes.c_int), ("stabil", ctypes.c_long), ("jitcnt", ctypes.c_long),
        ("calcnt", ctypes.c_long), ("errcnt", ctypes.c_long), ("stbcnt", ctypes.c_long),
        ("tai", ctypes.c_int), ("reserved", ctypes.c_int * 11),
    )  # fmt: skip


def timekeeping() -> Timekeeping | None:
    """None where the kernel may not be asked, as in some containers and fenced services."""
    timex = Timex()
    state = int(ctypes.CDLL(None).adjtimex(ctypes.byref(timex)))
    return None if state < 0 else understand(state, timex)


def understand(state: int, timex: Timex) -> Timekeeping:
    """`state` is what adjtimex returned. The offset is in nanoseconds or microseconds, as the status says."""
    unit_s = 1e-9 if timex.status & _STA_NANO else 1e-6
    return Timekeeping(
        synchronised=state != _TIME_ERROR and not timex.status & _STA_UNSYNC,
        offset_s=timex.offset * unit_s,
        error_s=timex.maxerror * 1e-6,
    )
