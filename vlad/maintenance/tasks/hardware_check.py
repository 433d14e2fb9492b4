"""Look at disks, memory, GPUs, file systems, throttling and the sensors' rates.

What cannot be looked at is told as unknown, with how to get to know it.
"""

from __future__ import annotations

from collections.abc import Iterator

from vlad.maintenance.finding import Finding, result
from vlad.maintenance.hardware.counters import check_file_systems, check_memory, check_throttling
from vlad.maintenance.hardware.disks import check_disks
from vlad.maintenance.hardware.gpus import check_gpus
from vlad.maintenance.hardware.sensors import check_sensors
from vlad.maintenance.job import Job, Result


def run(job: Job) -> Result:
    return result(_findings(job))


def _findings(job: Job) -> Iterator[Finding]:
    told = job.settings.paths.state_dir / "smart"
    job.progress(0.0, "asking the disks")
    yield from check_disks(job.settings.maintenance.hardware_check, told, job.wall_ns / 1e9)
    job.progress(0.7, "looking at memory and file systems")
    yield from check_memory()
    yield from check_file_systems()
    yield from check_throttling()
    job.progress(0.8, "asking the GPUs")
    yield from check_gpus()
    job.progress(0.9, "looking at the sensors")
    yield from check_sensors(job.settings, job.status.get("signals") or {})
