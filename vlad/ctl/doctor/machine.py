"""Real time, the clock and the processor of this machine."""

from __future__ import annotations

import os
import resource
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from vlad.config import RealtimeSettings
from vlad.ctl.doctor.finding import Finding

_GOOD_CLOCKS = {"tsc", "arch_sys_counter", "kvm-clock", "hyperv_clocksource_tsc_page", "riscv_clocksource"}
_CAP_IPC_LOCK = 14
_RUN_AS = "as the daemon's user; the service has what it needs, see systemd/vlad.service"


def check_realtime(settings: RealtimeSettings) -> Iterator[Finding]:
    """What the user who asks would get. What a running daemon got is in its own status."""
    if settings.fifo_priority:
        yield _fifo(settings.fifo_priority)
    else:
        yield Finding("warning", "real time", "fifo_priority is 0: ticks are late under load", "set it to 50")
    if settings.lock_memory:
        yield _memory()
    present = os.cpu_count() or 1
    missing = [cpu for cpu in settings.cpus if cpu >= present]
    if missing:
        mend = f"set realtime.cpus to some of 0 to {present - 1}"
        yield Finding("problem", "real time", f"CPUs {missing} are not there", mend)


def check_clock(root: Path = Path("/sys/devices/system/clocksource/clocksource0")) -> Iterator[Finding]:
    try:
        source = (root / "current_clocksource").read_text().strip()
    except OSError:
        yield Finding("warning", "clock", "the kernel does not tell its clock source", "mount /sys")
        return
    if source in _GOOD_CLOCKS:
        yield Finding("ok", "clock", f"clock source {source}")
    else:
        mend = "boot with clocksource=tsc tsc=reliable, if the processor has a steady one"
        yield Finding("warning", "clock", f"clock source {source}: slow to read, and coarse", mend)


def check_governor(root: Path = Path("/sys/devices/system/cpu")) -> Iterator[Finding]:
    files = root.glob("cpu[0-9]*/cpufreq/scaling_governor")
    governors = Counter(file.read_text().strip() for file in files)
    if not governors:
        yield Finding("ok", "processor", "its frequency is not scaled by this kernel")
    elif set(governors) == {"performance"}:
        yield Finding("ok", "processor", "frequency governor performance")
    else:
        seen = ", ".join(f"{name} on {count} CPUs" for name, count in governors.items())
        mend = "cpupower frequency-set -g performance"
        yield Finding("warning", "processor", f"frequency governor {seen}: slow to wake", mend)


def _fifo(priority: int) -> Finding:
    """Asked of the kernel for a moment: limits and capabilities are only half of what decides it."""
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(priority))
    except OSError as error:
        mend = f"run doctor {_RUN_AS}; else CAP_SYS_NICE or LimitRTPRIO={priority}"
        return Finding("warning", "real time", f"SCHED_FIFO {priority} is refused: {error.strerror}", mend)
    os.sched_setscheduler(0, policy, parameters)
    return Finding("ok", "real time", f"SCHED_FIFO {priority} is permitted")


def _memory() -> Finding:
    soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if soft == resource.RLIM_INFINITY or _capable(_CAP_IPC_LOCK):
        return Finding("ok", "real time", "memory may be locked")
    mend = f"run doctor {_RUN_AS}; else CAP_IPC_LOCK or LimitMEMLOCK=infinity"
    return Finding("warning", "real time", f"only {soft // 1024} KiB of memory may be locked", mend)


def _capable(capability: int) -> bool:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> capability & 1)
    return False
