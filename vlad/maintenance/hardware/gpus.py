"""NVIDIA GPUs through NVML: memory errors, memory taken out of use, what slows them down now."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from vlad.maintenance.finding import Finding

_DRIVER = Path("/proc/driver/nvidia/version")
_SLOWED = {
    0x008: "its hardware slows it down", 0x020: "its software slows it down for heat",
    0x040: "its hardware slows it down for heat", 0x080: "its power supply brakes it",
}  # fmt: skip
"""nvmlClocksThrottleReason...: those that mean that something is wrong."""
_HOT = "cool it better: airflow, dust, a stronger supply"


def check_gpus(driver: Path = _DRIVER, root: Path = Path("/sys")) -> Iterator[Finding]:
    if not driver.exists():
        if _nvidia_card(root):
            yield Finding(
                "unknown", "gpu", "there is an NVIDIA GPU, and no driver", "install NVIDIA's driver"
            )
        return
    import pynvml

    try:
        pynvml.nvmlInit()
        count = pynvml.nvmlDeviceGetCount()
    except pynvml.NVMLError as error:
        yield Finding(
            "problem", "gpu", f"NVML says {error}", "nvidia-smi says more; does the driver fit the kernel?"
        )
        return
    try:
        for number in range(count):
            yield from _check(pynvml, number)
    finally:
        pynvml.nvmlShutdown()


def _nvidia_card(root: Path) -> bool:
    """A display controller (PCI class 0x03) of NVIDIA's (vendor 0x10de)."""
    for device in (root / "bus/pci/devices").glob("*"):
        try:
            ours = (device / "vendor").read_text().strip() == "0x10de"
            if ours and (device / "class").read_text().startswith("0x03"):
                return True
        except OSError:
            continue
    return False


def _check(nvml: Any, number: int) -> Iterator[Finding]:
    topic = f"gpu {number}"
    try:
        device = nvml.nvmlDeviceGetHandleByIndex(number)
    except nvml.NVMLError as error:
        yield Finding(
            "problem", topic, f"NVML says {error}", "is it lost? dmesg | grep NVRM; restart the computer"
        )
        return
    yield from _errors(nvml, topic, device)
    yield from _retired(nvml, topic, device)
    yield from _slowed(nvml, topic, device)


def _ask(nvml: Any, question: Callable[..., Any], *values: Any) -> Any:
    """None where this GPU does not know."""
    try:
        return question(*values)
    except nvml.NVMLError:
        return None


def _errors(nvml: Any, topic: str, device: Any) -> Iterator[Finding]:
    """Of its memory, over its whole life where it has ECC."""

    def count(kind: int) -> Any:
        return _ask(nvml, nvml.nvmlDeviceGetTotalEccErrors, device, kind, nvml.NVML_AGGREGATE_ECC)

    uncorrected = count(nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED)
    corrected = count(nvml.NVML_MEMORY_ERROR_TYPE_CORRECTED)
    if uncorrected is None:
        how = "where it has ECC, switch it on: nvidia-smi -e 1; else nothing counts them"
        yield Finding("unknown", topic, "its memory's errors are not counted", how)
    elif uncorrected:
        what = f"{uncorrected:,} memory errors in its life could not be corrected"
        yield Finding("warning", topic, what, "nvidia-smi -q -d ECC,ROW_REMAPPER; if they go on: replace it")
    else:
        yield Finding("ok", topic, f"{corrected or 0:,} memory errors in its life, all corrected")


def _retired(nvml: Any, topic: str, device: Any) -> Iterator[Finding]:
    """Memory that was taken out of use: pages of older GPUs, rows of newer ones."""
    if _ask(nvml, nvml.nvmlDeviceGetRetiredPagesPendingStatus, device):
        yield Finding("warning", topic, "bad memory pages wait to be retired", "restart the computer")
    pages = 0
    for cause in range(nvml.NVML_PAGE_RETIREMENT_CAUSE_COUNT):
        pages += len(_ask(nvml, nvml.nvmlDeviceGetRetiredPages, device, cause) or ())
    if pages:
        yield Finding("warning", topic, f"{pages} bad memory pages are retired", "60 of them: replace it")
    rows = _ask(nvml, nvml.nvmlDeviceGetRemappedRows, device)
    if rows is None:
        return
    _, uncorrected, pending, failed = rows
    if failed:
        yield Finding("problem", topic, "a bad row of its memory could not be remapped", "replace it")
    if pending:
        yield Finding("warning", topic, "bad rows of its memory wait to be remapped", "restart the computer")
    if uncorrected:
        yield Finding("warning", topic, f"{uncorrected} bad rows of its memory are remapped", "watch it")


def _slowed(nvml: Any, topic: str, device: Any) -> Iterator[Finding]:
    bits = _ask(nvml, nvml.nvmlDeviceGetCurrentClocksThrottleReasons, device)
    if bits is None:
        yield Finding("unknown", topic, "it does not say what slows it down", "nvidia-smi -q -d PERFORMANCE")
        return
    said = [what for bit, what in _SLOWED.items() if bits & bit]
    if said:
        yield Finding("warning", topic, ", ".join(said), _HOT)
    else:
        yield Finding("ok", topic, "nothing slows it down")
