"""Time: the clocks that are passed to every part, and the ticker that paces the safety tick."""

from __future__ import annotations

import asyncio
import ctypes
import os
import time
from dataclasses import dataclass
from typing import Protocol

NS_PER_S = 1_000_000_000
_TFD_NONBLOCK = os.O_NONBLOCK
_TFD_CLOEXEC = os.O_CLOEXEC
_TFD_TIMER_ABSTIME = 1
_SOON_NS = 300_000
"""A turn of the safety loop takes up to this long when it comes out of sleep."""
_ROOM_NS = 2_000_000
_TURN_S = 0.001


class Clock(Protocol):
    """What a part may know about time."""

    def now_ns(self) -> int:
        """Nanoseconds of CLOCK_MONOTONIC: for every interval, age and deadline."""
        ...

    def wall_ns(self) -> int:
        """Nanoseconds since 1970: for people and logs only; it may jump."""
        ...


class SystemClock:
    """The clocks of this machine."""

    def now_ns(self) -> int:
        return time.monotonic_ns()

    def wall_ns(self) -> int:
        return time.time_ns()


class FakeClock:
    """A clock that stands still until a test moves it; the wall clock can be made to jump by itself."""

    def __init__(self, now_ns: int = 1_000 * NS_PER_S, wall_ns: int = 1_700_000_000 * NS_PER_S) -> None:
        self._now_ns = now_ns
        self._wall_ns = wall_ns

    def now_ns(self) -> int:
        return self._now_ns

    def wall_ns(self) -> int:
        return self._wall_ns

    def advance(self, seconds: float) -> None:
        """Move both clocks on by `seconds` (>= 0: the monotonic clock never goes back)."""
        if seconds < 0:
            raise ValueError("a monotonic clock does not go back; use jump_wall for the wall clock")
        self._now_ns += round(seconds * NS_PER_S)
        self._wall_ns += round(seconds * NS_PER_S)

    def jump_wall(self, seconds: float) -> None:
        """Set the wall clock forward or back, as an NTP step or a dead battery does."""
        self._wall_ns += round(seconds * NS_PER_S)


@dataclass(frozen=True, slots=True)
class Tick:
    """One turn of the safety loop.

    `due_ns` is when the newest period began, `missed` how many whole periods before it went by unserved, and
    `late_ns` how long after the first of all these the loop ran: a stall is as late as it was long. `early`
    marks a turn between two periods that `Ticker.wake` asked for; it has no lateness.
    """

    due_ns: int
    late_ns: int
    missed: int
    early: bool


class _Timespec(ctypes.Structure):
    _fields_ = (("tv_sec", ctypes.c_long), ("tv_nsec", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("it_interval", _Timespec), ("it_value", _Timespec))


def _timespec(ns: int) -> _Timespec:
    return _Timespec(ns // NS_PER_S, ns % NS_PER_S)


def _arm_timerfd(first_ns: int, period_ns: int) -> int:
    """A non-blocking timerfd that fires at the absolute CLOCK_MONOTONIC time `first_ns`, then every period.

    timerfd_create(2): Python has it from 3.13 on; until that is the oldest Python we run on, ctypes.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    fd = int(libc.timerfd_create(time.CLOCK_MONOTONIC, _TFD_NONBLOCK | _TFD_CLOEXEC))
    if fd < 0:
        raise OSError(ctypes.get_errno(), "timerfd_create failed; vlad needs Linux 2.6.27 or newer")
    spec = _Itimerspec(_timespec(period_ns), _timespec(first_ns))
    if libc.timerfd_settime(fd, _TFD_TIMER_ABSTIME, ctypes.byref(spec), None) != 0:
        error = ctypes.get_errno()
        os.close(fd)
        raise OSError(error, f"timerfd_settime failed for a period of {period_ns} ns")
    return fd


class Ticker:
    """Periodic turns at absolute deadlines, which do not drift, and turns in between on request.

    A timerfd is watched by the event loop: libuv's own timers are 1 ms coarse and may fire early. The kernel
    counts the periods that nobody served, so none is lost without being noticed.
    """

    def __init__(self, period_ns: int, clock: Clock) -> None:
        if period_ns <= 0:
            raise ValueError(f"the tick period must be positive, got {period_ns} ns")
        self.period_ns = period_ns
        self._clock = clock
        self._fd = -1
        self._due_ns = 0
        self._expired = 0
        self._woken = False
        self._closed = False
        self._waiter: asyncio.Future[None] | None = None

    def start(self) -> None:
        """Arm the timer; the first period is due one period from now. Call it on the running loop."""
        self._due_ns = self._clock.now_ns()
        self._fd = _arm_timerfd(self._due_ns + self.period_ns, self.period_ns)
        asyncio.get_running_loop().add_reader(self._fd, self._on_timer)

    def close(self) -> None:
        """Disarm; a coroutine that waits, or does so later, is cancelled."""
        self._closed = True
        if self._fd >= 0:
            asyncio.get_running_loop().remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1
        if self._waiter is not None:
            self._waiter.cancel()

    def wake(self) -> None:
        """Ask for a turn now, between two periods. Only from the loop's own thread.

        Where the next period is due any moment, it is that turn: another before it would make it late.
        """
        if self._clock.now_ns() > self._due_ns + self.period_ns - _SOON_NS:
            return
        self._woken = True
        self._release()

    def room_in_s(self) -> float:
        """How long [s] work of a millisecond or two should wait so that it makes no turn late: 0 where there
        is room for it before the next period, else until that has had its turn.
        """
        left_ns = self._due_ns + self.period_ns - self._clock.now_ns()
        if left_ns > min(_ROOM_NS, self.period_ns // 2):
            return 0.0
        return max(0, left_ns) / NS_PER_S + _TURN_S

    async def wait(self) -> Tick:
        """The next turn: a period that is due, or one that `wake` asked for."""
        if self._closed:
            raise asyncio.CancelledError
        if not self._expired and not self._woken:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        else:
            await asyncio.sleep(0)  # turns that ask for turns must leave the loop to others
        now_ns = self._clock.now_ns()
        self._woken = False
        if not self._expired:
            return Tick(self._due_ns, 0, 0, early=True)
        missed, self._expired = self._expired - 1, 0
        first_ns = self._due_ns - missed * self.period_ns
        return Tick(self._due_ns, now_ns - first_ns, missed, early=False)

    def _on_timer(self) -> None:
        try:
            count = int.from_bytes(os.read(self._fd, 8), "little")
        except BlockingIOError:
            return
        self._expired += count
        self._due_ns += count * self.period_ns
        self._release()

    def _release(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
