"""How much of this computer is used: measured once a second in a thread of its own, off the loop.

A file for each source: psutil, NVML, /sys, the network, the clock. What cannot be measured is NaN.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from vlad.clock import Clock
from vlad.computer.machine import cpu_used, disk_used, memory_used
from vlad.computer.measured import Measured
from vlad.computer.network import Network
from vlad.computer.nvidia import open_gpus
from vlad.computer.sysfs import Sysfs
from vlad.computer.timekeeping import timekeeping
from vlad.queues import Latest
from vlad.safety.view import Computer

_PERIOD_S = 1.0
_CLOSE_TIMEOUT_S = 1.0


class ComputerMonitor:
    """`newest` has what the safety tick judges, `measured` all there is; they come after about a second."""

    def __init__(
        self,
        disk: Path,
        clock: Clock,
        interfaces: tuple[str, ...] = (),
        on_measured: Callable[[Measured], None] = lambda measured: None,
        period_s: float = _PERIOD_S,
    ) -> None:
        """`disk` is a folder on the disk that is looked at, `interfaces` those of the network that must be
        up. `on_measured` gets everything, in this thread.
        """
        self.newest: Latest[Computer] = Latest()
        self.measured: Latest[Measured] = Latest()
        self._disk = disk
        self._clock = clock
        self._period_s = period_s
        self._interfaces = interfaces
        self._on_measured = on_measured
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="computer", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread; one that a dead disk holds up is left behind."""
        self._closing.set()
        self._thread.join(_CLOSE_TIMEOUT_S)

    def _run(self) -> None:
        gpus, sysfs, network = open_gpus(), Sysfs(), Network(self._interfaces)
        cpu_used()
        while not self._closing.wait(self._period_s):
            now_ns = self._clock.now_ns()
            measured = Measured(
                stamp_ns=now_ns,
                cpu=cpu_used(),
                memory=memory_used(),
                disk=disk_used(self._disk),
                celsius=sysfs.celsius(),
                rails=sysfs.watts(),
                gpus=gpus() or sysfs.gpus(),
                interfaces=network.measure(now_ns),
                clock=timekeeping(),
            )
            self.newest.put(measured.for_the_kernel())
            self.measured.put(measured)
            self._on_measured(measured)
