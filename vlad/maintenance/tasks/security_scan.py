"""Look for files, keys, ports, packages, units and accounts that are not as they should be."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from vlad.maintenance.finding import Finding, result
from vlad.maintenance.job import Job, Result
from vlad.maintenance.security import files, values
from vlad.maintenance.security.accounts import check_accounts
from vlad.maintenance.security.packages import check_packages
from vlad.maintenance.security.ports import check_ports
from vlad.maintenance.security.units import check_units


def run(job: Job) -> Result:
    return result(_findings(job))


def _findings(job: Job) -> Iterator[Finding]:
    settings = job.settings
    job.progress(0.0, "looking at files")
    yield from files.check_settings_files(job.config, settings.robot.limits)
    yield from files.check_keys(settings)
    yield from files.check_named_files(settings)
    yield from files.check_state(settings.paths.state_dir)
    yield from files.check_sockets(settings.paths.run_dir)
    job.progress(0.1, "looking at ports and accounts")
    own = values.own_ports(settings)
    yield from check_ports(job.status.get("pid"), own, settings.maintenance.security_scan.ports)
    yield from check_accounts(settings.operator.group)
    yield from check_units(Path(sys.prefix))
    yield from check_packages(
        Path(sys.prefix), lambda part: job.progress(0.1 + 0.9 * part, "comparing packages with their lock")
    )
