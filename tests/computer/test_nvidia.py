"""NVIDIA GPUs, with NVML made up at the calls that are made of it."""

from math import isnan
from types import SimpleNamespace

import pynvml
import pytest

from vlad.computer.nvidia import gpu_bytes, open_gpus


class Nvml:
    """Two GPUs: a large one that has everything, and a laptop's without a power sensor and ECC."""

    def __init__(self, monkeypatch):
        self.memory = [SimpleNamespace(used=90, total=100), SimpleNamespace(used=1, total=4)]
        self.processes = [SimpleNamespace(pid=7, usedGpuMemory=500), SimpleNamespace(pid=8, usedGpuMemory=60)]
        self.lost = set()
        self.asked_for = []
        for name, answer in {
            "nvmlInit": lambda: None,
            "nvmlDeviceGetCount": lambda: 2,
            "nvmlDeviceGetHandleByIndex": lambda index: index,
            "nvmlDeviceGetMemoryInfo": lambda gpu: self.ask(gpu, self.memory[gpu]),
            "nvmlDeviceGetComputeRunningProcesses": lambda gpu: self.ask(gpu, self.processes),
            "nvmlDeviceGetUtilizationRates": lambda gpu: self.ask(gpu, SimpleNamespace(gpu=30, memory=9)),
            "nvmlDeviceGetTemperature": lambda gpu, sensor: self.ask(gpu, 54 + sensor),
            "nvmlDeviceGetPowerUsage": lambda gpu: self.ask(gpu, 215_400, only=0),
            "nvmlDeviceGetTotalEccErrors": self.ecc,
        }.items():
            monkeypatch.setattr(pynvml, name, answer)

    def ask(self, gpu, answer, only=None):
        if gpu in self.lost:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)
        if only not in (None, gpu):
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        return answer

    def ecc(self, gpu, kind, counter):
        self.asked_for.append((kind, counter))
        return self.ask(gpu, 3, only=0)


@pytest.fixture
def nvml(monkeypatch):
    return Nvml(monkeypatch)


def test_every_gpu_tells_all_that_it_knows_and_nothing_else(nvml, tmp_path):
    large, laptop = open_gpus(tmp_path)()
    assert (large.name, large.memory, large.busy, large.celsius) == ("gpu 0", 0.9, 0.3, 54)
    assert (large.watts, large.ecc_errors) == (215.4, 3)
    assert (laptop.name, laptop.memory, laptop.celsius) == ("gpu 1", 0.25, 54)
    assert isnan(laptop.watts)
    assert isnan(laptop.ecc_errors)


def test_memory_errors_are_those_that_could_not_be_corrected_since_it_started(nvml, tmp_path):
    open_gpus(tmp_path)()
    assert set(nvml.asked_for) == {(pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, pynvml.NVML_VOLATILE_ECC)}


def test_a_gpu_that_fell_off_the_bus_is_not_known_and_the_other_is(nvml, tmp_path):
    measure = open_gpus(tmp_path)
    nvml.lost = {0}
    lost, other = measure()
    values = (lost.memory, lost.busy, lost.celsius, lost.watts, lost.ecc_errors)
    assert all(isnan(value) for value in values)
    assert other.memory == 0.25


def test_a_gpu_without_memory_of_its_own_has_none_in_use(nvml, tmp_path):
    nvml.memory[1] = SimpleNamespace(used=0, total=0)
    assert isnan(open_gpus(tmp_path)()[1].memory)


def test_a_driver_that_does_not_answer_is_told_once_and_not_asked_again(monkeypatch, caplog, tmp_path):
    def missing():
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    monkeypatch.setattr(pynvml, "nvmlInit", missing)
    measure = open_gpus(tmp_path)
    assert measure() == measure() == ()
    assert caplog.text.count("the GPUs are not watched") == 1


def test_without_a_driver_nobody_is_asked(nvml, tmp_path):
    assert open_gpus(tmp_path / "none")() == ()


def test_what_a_process_has_of_all_gpus_together_is_counted(nvml, tmp_path):
    assert (gpu_bytes(7, tmp_path), gpu_bytes(8, tmp_path), gpu_bytes(9, tmp_path)) == (1_000, 120, 0)


def test_what_a_gpu_does_not_say_of_a_process_counts_nothing(nvml, tmp_path):
    nvml.processes[0].usedGpuMemory = None
    assert gpu_bytes(7, tmp_path) == 0
    nvml.lost = {0, 1}
    assert gpu_bytes(8, tmp_path) == 0
    assert gpu_bytes(8, tmp_path / "absent") == 0
