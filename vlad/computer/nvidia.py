"""NVIDIA GPUs through NVML, where a driver is loaded."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from math import nan
from pathlib import Path
from typing import Any, TypeAlias

from vlad.computer.measured import Gpu

log = logging.getLogger(__name__)

_DRIVER = Path("/proc/driver/nvidia/version")

Gpus: TypeAlias = Callable[[], tuple[Gpu, ...]]


def open_gpus(driver: Path = _DRIVER) -> Gpus:
    """What measures every GPU; nothing to measure where there is no `driver`, or NVML does not answer."""
    if not driver.exists():
        return tuple
    import pynvml  # takes time and memory that a computer without a GPU need not spend

    try:
        pynvml.nvmlInit()
        devices = [pynvml.nvmlDeviceGetHandleByIndex(k) for k in range(pynvml.nvmlDeviceGetCount())]
    except pynvml.NVMLError as error:
        log.warning("the GPUs are not watched: NVML says %s", error)
        return tuple
    return lambda: tuple(_measure(pynvml, f"gpu {k}", device) for k, device in enumerate(devices))


def gpu_bytes(pid: int, driver: Path = _DRIVER) -> int:
    """What all GPUs together have for this process; 0: nothing, or NVML does not know."""
    if not driver.exists():
        return 0
    import pynvml  # as above

    total = 0
    with contextlib.suppress(pynvml.NVMLError):
        pynvml.nvmlInit()
        for index in range(pynvml.nvmlDeviceGetCount()):
            device = pynvml.nvmlDeviceGetHandleByIndex(index)
            for process in pynvml.nvmlDeviceGetComputeRunningProcesses(device):
                if process.pid == pid:
                    total += process.usedGpuMemory or 0
    return total


def _measure(nvml: Any, name: str, device: Any) -> Gpu:
    """What this GPU tells of itself: laptops have no power sensor, most GPUs no ECC, lost ones nothing."""

    def ask(question: Callable[..., Any], *values: Any) -> Any:
        try:
            return question(device, *values)
        except nvml.NVMLError:
            return None

    memory = ask(nvml.nvmlDeviceGetMemoryInfo)
    return Gpu(
        name=name,
        memory=memory.used / memory.total if memory and memory.total else nan,
        busy=_number(getattr(ask(nvml.nvmlDeviceGetUtilizationRates), "gpu", None), 100),
        celsius=_number(ask(nvml.nvmlDeviceGetTemperature, nvml.NVML_TEMPERATURE_GPU)),
        watts=_number(ask(nvml.nvmlDeviceGetPowerUsage), 1_000),
        ecc_errors=_number(
            ask(
                nvml.nvmlDeviceGetTotalEccErrors,
                nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED,
                nvml.NVML_VOLATILE_ECC,
            )
        ),
    )


def _number(value: float | None, divisor: float = 1) -> float:
    return nan if value is None else value / divisor
