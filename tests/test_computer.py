"""Measuring this computer, for real where it can be and with what the libraries would say where it cannot."""

import time
from math import isnan
from types import SimpleNamespace

import psutil
import pynvml
import pytest

from vlad import computer
from vlad.clock import SystemClock
from vlad.computer import ComputerMonitor, nvidia_memory


def measured(folder, **options):
    monitor = ComputerMonitor(folder, SystemClock(), period_s=0.01, **options)
    end_s = time.monotonic() + 10
    while monitor.newest.puts < 3:
        assert time.monotonic() < end_s
        time.sleep(0.005)
    monitor.close()
    return monitor.newest.peek()


def test_what_is_used_is_measured_off_the_loop(tmp_path):
    found = measured(tmp_path)
    assert 0 <= found.cpu <= 1
    assert 0 < found.memory < 1
    assert 0 < found.disk <= 1
    assert 0 <= time.monotonic_ns() - found.stamp_ns < 10e9


def test_a_disk_that_cannot_be_looked_at_is_not_measured(tmp_path):
    assert isnan(measured(tmp_path / "gone").disk)


def test_the_hottest_sensor_counts(tmp_path, monkeypatch):
    sensor = lambda celsius: SimpleNamespace(current=celsius)  # noqa: E731
    sensors = {"cpu": [sensor(41.0), sensor(77.0)], "disk": [sensor(50.0)], "none": []}
    monkeypatch.setattr(psutil, "sensors_temperatures", lambda: sensors)
    assert measured(tmp_path).celsius == 77.0
    monkeypatch.setattr(psutil, "sensors_temperatures", dict)
    assert isnan(measured(tmp_path).celsius)


def test_closing_ends_the_thread_at_once(tmp_path):
    monitor = ComputerMonitor(tmp_path, SystemClock(), period_s=100.0)
    began_s = time.monotonic()
    monitor.close()
    assert time.monotonic() - began_s < 0.9
    assert monitor.newest.peek() is None


@pytest.fixture
def gpus(monkeypatch):
    """NVML with two GPUs, as far as it is asked here."""
    monkeypatch.setattr(pynvml, "nvmlInit", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetCount", lambda: 2)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByIndex", lambda index: index)
    memory = [SimpleNamespace(used=2, total=10), SimpleNamespace(used=9, total=10)]
    monkeypatch.setattr(pynvml, "nvmlDeviceGetMemoryInfo", lambda index: memory[index])
    return memory


def test_the_fullest_gpu_counts(gpus, tmp_path, monkeypatch):
    assert nvidia_memory()() == 0.9
    monkeypatch.setattr(computer, "_NVIDIA_DRIVER", tmp_path)
    assert measured(tmp_path).gpu_memory == 0.9


def test_a_gpu_that_fell_off_the_bus_is_not_measured(gpus, monkeypatch):
    measure = nvidia_memory()

    def lost(index):
        raise pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)

    monkeypatch.setattr(pynvml, "nvmlDeviceGetMemoryInfo", lost)
    assert isnan(measure())


def test_a_driver_that_does_not_answer_is_told_once_and_not_asked_again(monkeypatch, caplog):
    def missing():
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    monkeypatch.setattr(pynvml, "nvmlInit", missing)
    assert nvidia_memory() is None
    assert "the GPU's memory is not watched" in caplog.text
