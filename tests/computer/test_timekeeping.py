"""What the kernel says of its wall clock."""

import ctypes

from vlad.computer.timekeeping import Timex, timekeeping, understand


def test_the_structure_is_as_large_as_the_kernels():
    assert ctypes.sizeof(Timex) == (208 if ctypes.sizeof(ctypes.c_long) == 8 else 128)


def test_this_kernel_answers_and_its_clock_is_not_touched():
    clock = timekeeping()
    assert clock is None or (abs(clock.offset_s) < 1 and 0 <= clock.error_s < 1_000)


def test_a_clock_that_something_steers_is_synchronised():
    clock = understand(0, Timex(status=0x2001, offset=-1_500_000, maxerror=2_500))
    assert (clock.synchronised, clock.offset_s, clock.error_s) == (True, -0.0015, 0.0025)


def test_an_offset_may_be_in_microseconds():
    assert understand(0, Timex(status=1, offset=1_500)).offset_s == 0.0015


def test_a_clock_that_nothing_steers_is_not():
    assert understand(5, Timex(status=0x0040)).synchronised is False
    assert understand(5, Timex(status=0)).synchronised is False
    assert understand(0, Timex(status=0x0040)).synchronised is False
