"""The [maintenance] table of vlad.toml."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field, StrictBool

from vlad.maintenance.settings_checks import (
    CalibrationCheckSettings,
    HardwareCheckSettings,
    PerformanceReviewSettings,
    SecurityScanSettings,
)
from vlad.maintenance.task_settings import Priority, TaskSettings, When
from vlad.schema import NotNegative, Positive, Section

_HOST_PATH = re.compile(r"rsync://[A-Za-z0-9\[]\S*|[A-Za-z0-9][A-Za-z0-9._@-]*:(?!:|//)\S.*")


def _leads_somewhere(target: str) -> str:
    if not target.startswith("/") and not _HOST_PATH.fullmatch(target):
        raise ValueError("is neither a folder with its whole path, nor HOST:PATH or rsync://HOST/PATH")
    return target


Target = Annotated[str, AfterValidator(_leads_somewhere)]


def by_rsync(target: str) -> bool:
    """Whether a backup's target is on another computer."""
    return not target.startswith("/")


class HealthCheckSettings(TaskSettings):
    """All that `vladctl doctor` looks at."""

    schedule: When = "daily 04:00, warning"
    priority: Priority = "high"
    time_limit_s: Positive = 300.0


class BackupSettings(TaskSettings):
    """Copies of settings, databases, bundles' manifests and calibration."""

    schedule: When = "daily 03:00"
    priority: Priority = "high"
    time_limit_s: Positive = 1800.0
    targets: tuple[Target, ...] = ()
    """Folders, HOST:PATH or rsync://HOST/MODULE/PATH for rsync; empty: `backups` of the state folder."""
    keep: Annotated[int, Field(ge=1, le=1000, strict=True)] = 7
    """So many are kept in each target, the newest."""
    rsync_timeout_s: Annotated[int, Field(ge=1, le=3600, strict=True)] = 60
    """rsync gives up when it hears nothing for so long."""


class CleanUpSettings(TaskSettings):
    """Deleting what is old, or too much."""

    schedule: When = "daily 03:30"
    recordings_days: NotNegative = 90.0
    """Recordings that are older are deleted; 0: only for want of room, by the bounds under [record]."""
    copies_days: NotNegative = 30.0
    """What was moved aside, a corrupt database or what a restore replaced, is deleted when it is older."""


class VacuumSettings(TaskSettings):
    """Giving back the room that deleted events left."""

    schedule: When = "weekly sun 03:45"
    priority: Priority = "low"
    only_disarmed: StrictBool = True


class MaintenanceSettings(Section):
    """What looks after this computer and its data. Each task is a process of its own, one at a time."""

    warning_interval_s: NotNegative = 6 * 3600.0
    """A task that runs on a warning does not do so more often than this."""
    health_check: HealthCheckSettings = HealthCheckSettings()
    backup: BackupSettings = BackupSettings()
    clean_up: CleanUpSettings = CleanUpSettings()
    vacuum: VacuumSettings = VacuumSettings()
    calibration_check: CalibrationCheckSettings = CalibrationCheckSettings()
    hardware_check: HardwareCheckSettings = HardwareCheckSettings()
    security_scan: SecurityScanSettings = SecurityScanSettings()
    performance_review: PerformanceReviewSettings = PerformanceReviewSettings()

    def of(self, name: str) -> TaskSettings:
        """Those of one task."""
        settings = getattr(self, name)
        assert isinstance(settings, TaskSettings)
        return settings
