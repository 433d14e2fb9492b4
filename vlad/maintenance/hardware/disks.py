"""Disks: what smartctl tells of them, and eMMC by /sys.

Names and meanings are those of smartctl's JSON output (smartmontools 7), of the NVM Express specification
(SMART / Health Information log) and of JEDEC's eMMC standard (JESD84-B51, registers 267 to 269).
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vlad.maintenance.finding import Finding, State
from vlad.maintenance.settings_checks import HardwareCheckSettings

_BROKEN_SECTORS = {5: "reallocated", 187: "not correctable", 197: "pending", 198: "not readable"}
"""ATA attributes whose raw value counts sectors, the same with all makers: the disk begins to fail."""
_WEAR = (231, 233, 177, 173, 202)
"""ATA attributes whose normalised value falls from 100 as the flash wears; each maker has one of them."""
_CABLE, _CABLE_ERRORS = 199, 100
"""The count never falls: a few errors may be from the day when it was built in."""
_CRITICAL = (
    "too few spare blocks",
    "too hot or too cold",
    "unreliable",
    "read-only",
    "its memory backup failed",
)
"""The bits of NVMe's critical warning."""
_NOT_OPENED = 0b11
"""Bits of smartctl's exit status: it could not be asked."""
_WEEK_S = 8 * 86_400
_BACKUP = "back up now, and replace it"


def check_disks(
    settings: HardwareCheckSettings,
    told: Path,
    wall_s: float,
    root: Path = Path("/sys"),
    program: str = "smartctl",
) -> Iterator[Finding]:
    """`told`: a folder where root may leave what smartctl says, DISK.json: the service may not ask itself."""
    disks = sorted(path.name for path in (root / "block").glob("*") if (path / "device").exists())
    if not disks:
        yield Finding("unknown", "disks", "the kernel shows none", "mount /sys")
    for name in disks:
        if name.startswith("mmcblk"):
            yield _emmc(name, root / "block" / name / "device")
        else:
            yield from _smart(name, settings, told, wall_s, program)


def _smart(
    name: str, settings: HardwareCheckSettings, told: Path, wall_s: float, program: str
) -> Iterator[Finding]:
    """What smartctl says; what it said to root in the last week, where it may not be asked."""
    topic = f"disk {name}"
    report = ask(program, name, settings.timeout_s)
    if isinstance(report, dict):
        yield from judge(topic, report, settings)
        return
    stored = told / f"{name}.json"
    try:
        if 0 <= wall_s - stored.stat().st_mtime <= _WEEK_S:
            yield from judge(topic, json.loads(stored.read_bytes()), settings)
            return
    except (OSError, ValueError, TypeError):
        pass
    if not shutil.which(program):
        how = "apt-get install smartmontools"
    elif "permi" in report.lower():
        how = f"let root do this weekly (cron, systemd): smartctl --json --all /dev/{name} > {stored}"
    else:
        how = (
            "a virtual disk has nothing to tell; of a real one: smartctl --scan, and man smartctl on --device"
        )
    yield Finding("unknown", topic, report, how)


def ask(program: str, name: str, timeout_s: float) -> dict[str, Any] | str:
    """The report, or why there is none."""
    words = (program, "--json", "--all", f"/dev/{name}")
    try:
        done = subprocess.run(words, capture_output=True, timeout=timeout_s, check=False)
        report = json.loads(done.stdout)
        failed = int(report["smartctl"]["exit_status"]) & _NOT_OPENED
        said = "; ".join(str(line["string"]) for line in report["smartctl"].get("messages", ()))
    except FileNotFoundError:
        return "smartctl is not installed"
    except subprocess.TimeoutExpired:
        return f"smartctl did not answer within {timeout_s:g} s"
    except (OSError, ValueError, LookupError, TypeError) as error:
        return f"smartctl: {error}"
    return f"smartctl: {said or f'exit status {done.returncode}'}" if failed else dict(report)


def judge(topic: str, report: Any, settings: HardwareCheckSettings) -> Iterator[Finding]:
    """`report`: smartctl's, of any kind of disk; what it does not say is not judged."""
    passed = _get(report, "smart_status", "passed")
    name = _get(report, "model_name") or _get(report, "scsi_model_name") or "disk"
    problems: list[Finding] = []
    if passed is False:
        problems.append(Finding("problem", topic, f"{name} says that it fails", _BACKUP))
    problems += _ata(topic, report, settings)
    problems += _nvme(topic, report, settings)
    celsius = _number(report, "temperature", "current")
    if celsius is not None and celsius > settings.disk_temperature:
        what = f"{celsius:.0f} degrees Celsius, at most {settings.disk_temperature:g}"
        problems.append(Finding("warning", topic, what, "cool it: airflow, a heat sink"))
    yield from problems
    if not isinstance(passed, bool):
        how = f"smartctl --all /dev/{topic.split()[-1]} shows what it can tell"
        yield Finding("unknown", topic, f"{name} has no SMART verdict", how)
    elif not problems:
        hours = _number(report, "power_on_time", "hours")
        yield Finding("ok", topic, f"{name}: well" + (f", {hours:,.0f} h" if hours is not None else ""))


def _ata(topic: str, report: Any, settings: HardwareCheckSettings) -> Iterator[Finding]:
    table = _get(report, "ata_smart_attributes", "table")
    for row in table if isinstance(table, list) else ():
        number, value, raw = _get(row, "id"), _number(row, "value"), _number(row, "raw", "value")
        if _get(row, "when_failed") == "now":
            yield Finding("problem", topic, f"{_get(row, 'name')} is below its threshold", _BACKUP)
        elif number in _BROKEN_SECTORS and raw:
            what = f"{raw:,.0f} sectors are {_BROKEN_SECTORS[number]}"
            yield Finding("problem" if number in (197, 198) else "warning", topic, what, _BACKUP)
        elif number == _CABLE and raw and raw >= _CABLE_ERRORS:
            yield Finding("warning", topic, f"{raw:,.0f} errors on its cable", "replace the cable")
        elif number in _WEAR and value is not None and 0 < value <= 100:
            yield from _worn(topic, 1 - value / 100, settings)


def _nvme(topic: str, report: Any, settings: HardwareCheckSettings) -> Iterator[Finding]:
    log = _get(report, "nvme_smart_health_information_log")
    bits = int(_number(log, "critical_warning") or 0)
    for bit, what in enumerate(_CRITICAL):
        if bits >> bit & 1:
            yield Finding("problem", topic, f"NVMe says: {what}", _BACKUP)
    if errors := _number(log, "media_errors"):
        yield Finding("problem", topic, f"{errors:,.0f} times data could not be read or kept", _BACKUP)
    spare, least = _number(log, "available_spare"), _number(log, "available_spare_threshold")
    if spare is not None and least is not None and spare < least:
        yield Finding(
            "problem", topic, f"{spare:.0f} % spare blocks are left, {least:.0f} % are needed", _BACKUP
        )
    if (used := _number(log, "percentage_used")) is not None:
        yield from _worn(topic, used / 100, settings)


def _worn(topic: str, used: float, settings: HardwareCheckSettings) -> Iterator[Finding]:
    if used >= settings.disk_worn:
        state: State = "problem" if used >= 1 else "warning"
        yield Finding(state, topic, f"{used:.0%} of its rated life is used up", "plan to replace it")


def _emmc(name: str, device: Path) -> Finding:
    """Two estimates of the life used up, in steps of a tenth, and of the reserve blocks."""
    topic = f"disk {name}"
    try:
        lives = [int(word, 16) for word in (device / "life_time").read_text().split()]
        reserve = int((device / "pre_eol_info").read_text(), 16)
    except (OSError, ValueError):
        how = "SD cards do not tell; use an eMMC or an SSD, or replace the card every year"
        return Finding("unknown", topic, "it does not tell how worn it is", how)
    used = max(lives, default=0)
    if reserve >= 3 or used > 10:
        return Finding("problem", topic, "its rated life is used up", _BACKUP)
    if reserve == 2 or used >= 9:
        return Finding(
            "warning", topic, f"about {used * 10} % of its rated life is used up", "plan to replace it"
        )
    if reserve == 0 or used == 0:
        how = "its maker's own tool may tell: mmc extcsd read"
        return Finding("unknown", topic, "it does not tell how worn it is", how)
    return Finding("ok", topic, f"at most {used * 10} % of its rated life is used up")


def _get(node: Any, *keys: str) -> Any:
    """What lies at `keys`, or None."""
    for key in keys:
        node = node.get(key) if isinstance(node, dict) else None
    return node


def _number(node: Any, *keys: str) -> float | None:
    value = _get(node, *keys)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
