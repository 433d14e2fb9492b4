"""How much of this computer is used: measured once a second in a thread of its own, off the loop.

CPU, memory and disk as psutil says; temperature of the hottest sensor in sysfs; memory of the fullest NVIDIA
GPU through NVML, where a driver is loaded. What cannot be measured is NaN.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from math import nan
from pathlib import Path

import psutil

from vlad.clock import Clock
from vlad.queues import Latest
from vlad.safety.view import Computer

log = logging.getLogger(__name__)

_PERIOD_S = 1.0
_CLOSE_TIMEOUT_S = 1.0
_NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")


class ComputerMonitor:
    """`newest` has the newest measurement; the first comes after about a second."""

    def __init__(self, disk: Path, clock: Clock, period_s: float = _PERIOD_S) -> None:
        """`disk` is a folder on the disk that is looked at."""
        self.newest: Latest[Computer] = Latest()
        self._disk = disk
        self._clock = clock
        self._period_s = period_s
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="computer", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread; one that a dead disk holds up is left behind."""
        self._closing.set()
        self._thread.join(_CLOSE_TIMEOUT_S)

    def _run(self) -> None:
        gpu_memory = nvidia_memory() if _NVIDIA_DRIVER.exists() else None
        psutil.cpu_percent()  # the first call has nothing to compare with
        while not self._closing.wait(self._period_s):
            self.newest.put(
                Computer(
                    stamp_ns=self._clock.now_ns(),
                    cpu=psutil.cpu_percent() / 100,
                    memory=psutil.virtual_memory().percent / 100,
                    gpu_memory=gpu_memory() if gpu_memory is not None else nan,
                    disk=_disk_used(self._disk),
                    celsius=_hottest(),
                )
            )


def _disk_used(folder: Path) -> float:
    """Of what an ordinary user may fill, as `df` says; NaN while the folder cannot be looked at."""
    try:
        return float(psutil.disk_usage(str(folder)).percent) / 100
    except OSError:
        return nan


def _hottest() -> float:
    """Degrees Celsius."""
    sensors = psutil.sensors_temperatures().values()
    return max((float(sensor.current) for group in sensors for sensor in group), default=nan)


def nvidia_memory() -> Callable[[], float] | None:
    """What measures the memory in use of the fullest GPU, 0 to 1; None where NVML does not answer."""
    import pynvml  # takes time and memory that a computer without a GPU need not spend

    try:
        pynvml.nvmlInit()
        devices = [pynvml.nvmlDeviceGetHandleByIndex(k) for k in range(pynvml.nvmlDeviceGetCount())]
    except pynvml.NVMLError as error:
        log.warning("the GPU's memory is not watched: NVML says %s", error)
        return None

    def measure() -> float:
        try:
            known = [pynvml.nvmlDeviceGetMemoryInfo(device) for device in devices]
        except pynvml.NVMLError:
            return nan
        return max((float(memory.used) / float(memory.total) for memory in known), default=nan)

    return measure
