"""Measuring this computer for real, as far as it can be."""

import time
from math import isfinite, isnan, nan

import psutil

from vlad.clock import SystemClock
from vlad.computer import ComputerMonitor
from vlad.computer.machine import disk_used
from vlad.computer.measured import Gpu, Measured, highest


def measured(folder):
    everything = []
    monitor = ComputerMonitor(folder, SystemClock(), on_measured=everything.append, period_s=0.01)
    end_s = time.monotonic() + 10
    while len(everything) < 3:
        assert time.monotonic() < end_s
        time.sleep(0.005)
    monitor.close()
    assert monitor.newest.peek() is not None
    return everything[-1], monitor.newest.peek()


def test_what_is_used_is_measured_off_the_loop(tmp_path):
    everything, judged = measured(tmp_path)
    assert 0 <= judged.cpu <= 1
    assert 0 < judged.memory < 1
    assert 0 < judged.disk <= 1
    assert 0 <= time.monotonic_ns() - judged.stamp_ns < 10e9
    assert everything.for_the_kernel().memory == everything.memory


def test_a_disk_that_cannot_be_looked_at_is_not_measured(tmp_path):
    assert isnan(measured(tmp_path / "gone")[1].disk)


def test_a_disk_is_told_to_the_byte(tmp_path):
    used = disk_used(tmp_path)
    assert abs(used - psutil.disk_usage(str(tmp_path)).percent / 100) < 0.002
    assert isfinite(used)


def test_the_kernel_judges_the_hottest_sensor_and_the_fullest_gpu():
    gpus = (Gpu("gpu 0", memory=0.2), Gpu("gpu 1", memory=0.9), Gpu("gpu 2"))
    judged = Measured(1, celsius={"cpu": 41.0, "nvme": 77.0}, gpus=gpus).for_the_kernel()
    assert (judged.celsius, judged.gpu_memory) == (77.0, 0.9)


def test_what_was_not_measured_is_not_a_number():
    judged = Measured(1).for_the_kernel()
    assert all(isnan(value) for value in (judged.cpu, judged.memory, judged.gpu_memory, judged.celsius))
    assert isnan(highest([nan, nan]))


def test_closing_ends_the_thread_at_once(tmp_path):
    monitor = ComputerMonitor(tmp_path, SystemClock(), period_s=100.0)
    began_s = time.monotonic()
    monitor.close()
    assert time.monotonic() - began_s < 0.9
    assert monitor.newest.peek() is None
