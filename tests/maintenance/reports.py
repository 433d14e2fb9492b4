"""What smartctl --json --all says of disks, made by hand of the fields that its documentation has."""

from copy import deepcopy
from typing import Any


def attribute(
    number: int, name: str, value: int, raw: int, thresh: int = 0, when_failed: str = ""
) -> dict[str, Any]:
    return {
        "id": number, "name": name, "value": value, "worst": value, "thresh": thresh,
        "when_failed": when_failed,
        "flags": {"value": 50, "prefailure": False}, "raw": {"value": raw, "string": str(raw)},
    }  # fmt: skip


SATA: dict[str, Any] = {
    "json_format_version": [1, 0],
    "smartctl": {"version": [7, 3], "exit_status": 0},
    "device": {"name": "/dev/sda", "type": "sat", "protocol": "ATA"},
    "model_name": "Samsung SSD 870 EVO 500GB",
    "smart_status": {"passed": True},
    "temperature": {"current": 34},
    "power_on_time": {"hours": 8123},
    "ata_smart_attributes": {
        "revision": 1,
        "table": [
            attribute(5, "Reallocated_Sector_Ct", 100, 0, 10),
            attribute(9, "Power_On_Hours", 98, 8123),
            attribute(177, "Wear_Leveling_Count", 97, 41),
            attribute(187, "Uncorrectable_Error_Cnt", 100, 0),
            attribute(190, "Airflow_Temperature_Cel", 66, 34),
            attribute(199, "CRC_Error_Count", 100, 2),
        ],
    },
}

NVME: dict[str, Any] = {
    "json_format_version": [1, 0],
    "smartctl": {"version": [7, 3], "exit_status": 0},
    "device": {"name": "/dev/nvme0n1", "type": "nvme", "protocol": "NVMe"},
    "model_name": "WD_BLACK SN770 1TB",
    "smart_status": {"passed": True, "nvme": {"value": 0}},
    "nvme_smart_health_information_log": {
        "critical_warning": 0, "temperature": 41, "available_spare": 100, "available_spare_threshold": 10,
        "percentage_used": 3, "data_units_written": 1234567, "power_on_hours": 2100, "unsafe_shutdowns": 12,
        "media_errors": 0, "num_err_log_entries": 0,
    },
    "temperature": {"current": 41},
    "power_on_time": {"hours": 2100},
}  # fmt: skip

REFUSED: dict[str, Any] = {
    "json_format_version": [1, 0],
    "smartctl": {
        "version": [7, 3],
        "messages": [
            {"string": "Smartctl open device: /dev/sda failed: Permission denied", "severity": "error"}
        ],
        "exit_status": 2,
    },
}


def sata(number: int, value: int, raw: int, when_failed: str = "") -> dict[str, Any]:
    """With one attribute changed, or added."""
    report = deepcopy(SATA)
    table = report["ata_smart_attributes"]["table"]
    table[:] = [row for row in table if row["id"] != number]
    table.append(attribute(number, f"attribute {number}", value, raw, when_failed=when_failed))
    return report


def nvme(**log: int) -> dict[str, Any]:
    """With parts of its health log changed."""
    report = deepcopy(NVME)
    report["nvme_smart_health_information_log"] |= log
    return report
