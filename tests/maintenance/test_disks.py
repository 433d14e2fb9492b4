"""Disks in the hardware check: reports as smartctl writes them, a program in its place, and the real one."""

import json
import os
import shutil

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.maintenance import reports
from vlad.maintenance.hardware.disks import ask, check_disks, judge
from vlad.maintenance.settings_checks import HardwareCheckSettings

SETTINGS = HardwareCheckSettings()
WALL_S = 1_790_000_000.0


def told(report):
    return [(finding.state, finding.what) for finding in judge("disk sda", report, SETTINGS)]


@pytest.mark.parametrize("report", [reports.SATA, reports.NVME], ids=["sata", "nvme"])
def test_a_healthy_disk_is_well_with_its_name_and_age(report):
    ((state, what),) = told(report)
    assert state == "ok"
    assert report["model_name"] in what
    assert f"{report['power_on_time']['hours']:,} h" in what


@pytest.mark.parametrize(
    ("report", "state", "words"),
    [
        ({**reports.SATA, "smart_status": {"passed": False}}, "problem", "says that it fails"),
        (reports.sata(5, 90, 8), "warning", "8 sectors are reallocated"),
        (reports.sata(197, 100, 16), "problem", "16 sectors are pending"),
        (reports.sata(198, 100, 1), "problem", "1 sectors are not readable"),
        (reports.sata(10, 1, 9, when_failed="now"), "problem", "below its threshold"),
        (reports.sata(199, 100, 4_000), "warning", "4,000 errors on its cable"),
        (reports.sata(177, 12, 900), "warning", "88% of its rated life"),
        (reports.nvme(critical_warning=0b1001), "problem", "read-only"),
        (reports.nvme(media_errors=5), "problem", "5 times data could not be read"),
        (reports.nvme(available_spare=4), "problem", "4 % spare blocks are left"),
        (reports.nvme(percentage_used=85), "warning", "85% of its rated life"),
        (reports.nvme(percentage_used=130), "problem", "130% of its rated life"),
        ({**reports.NVME, "temperature": {"current": 78}}, "warning", "78 degrees"),
    ],
)
def test_each_sign_of_a_failing_disk_is_told_and_it_is_not_called_well(report, state, words):
    findings = told(report)
    assert any(found == state and words in what for found, what in findings), findings
    assert not any(found == "ok" for found, _ in findings)


def test_a_few_old_errors_on_the_cable_are_no_news():
    assert told(reports.sata(199, 100, 3))[0][0] == "ok"


def test_a_disk_without_a_verdict_is_unknown_and_not_well():
    report = {key: value for key, value in reports.SATA.items() if key != "smart_status"}
    assert [state for state, _ in told(report)] == ["unknown"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 300) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["smart_status", "passed", "ata_smart_attributes", "table", "id", "raw", "value", "temperature",
             "current", "nvme_smart_health_information_log", "critical_warning", "when_failed"]
        ),
        inner,
        max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip


@given(json_values)
@example({"smart_status": {"passed": 0}})
def test_whatever_a_report_says_is_told_and_only_a_passed_one_is_well(report):
    passed = isinstance(report, dict) and isinstance(report.get("smart_status"), dict)
    findings = told(report)
    assert findings
    if not passed or report["smart_status"].get("passed") is not True:
        assert not any(state == "ok" for state, _ in findings)


@pytest.fixture
def computer(tmp_path):
    """A computer with the disks that it is given, and a smartctl that says what it is told to."""

    class Computer:
        told = tmp_path / "smart"
        program = tmp_path / "smartctl"

        def disks(self, *names, **files):
            for name in names:
                (tmp_path / "sys/block" / name / "device").mkdir(parents=True)
                for file, text in files.items():
                    (tmp_path / "sys/block" / name / "device" / file).write_text(text)

        def says(self, text):
            (tmp_path / "answer").write_text(text)
            self.program.write_text(f"#!/bin/sh\ncat {tmp_path}/answer\n")
            self.program.chmod(0o755)

        def check(self, program=None):
            program = str(program or self.program)
            return list(check_disks(SETTINGS, self.told, WALL_S, tmp_path / "sys", program))

    (tmp_path / "sys/block/loop0").mkdir(parents=True)
    return Computer()


def test_each_disk_is_asked_and_what_is_none_is_not(computer):
    computer.disks("sda", "nvme0n1")
    computer.says(json.dumps(reports.SATA))
    assert [(one.topic, one.state) for one in computer.check()] == [
        ("disk nvme0n1", "ok"),
        ("disk sda", "ok"),
    ]


@pytest.mark.parametrize(
    "answer", ["", "{", "[]", "{}", '{"smartctl": 3}', '{"smartctl": {"exit_status": "x"}}']
)
def test_a_smartctl_that_talks_nonsense_leaves_the_disk_unknown(computer, answer):
    computer.disks("sda")
    computer.says(answer)
    assert [finding.state for finding in computer.check()] == ["unknown"]


def test_without_smartctl_a_disk_is_unknown_with_how_to_install_it(computer):
    computer.disks("sda")
    (finding,) = computer.check(program=computer.told / "none")
    assert (finding.state, finding.mend) == ("unknown", "apt-get install smartmontools")


def test_what_root_left_is_judged_where_the_service_may_not_ask_and_only_while_it_is_fresh(computer):
    computer.disks("sda")
    computer.says(json.dumps(reports.REFUSED))
    (finding,) = computer.check()
    assert finding.state == "unknown"
    assert "Permission denied" in finding.what
    assert f"> {computer.told}/sda.json" in finding.mend
    computer.told.mkdir()
    left = computer.told / "sda.json"
    left.write_text(json.dumps(reports.sata(197, 100, 3)))
    os.utime(left, (WALL_S - 3600, WALL_S - 3600))
    assert [one.state for one in computer.check()] == ["problem"]
    os.utime(left, (WALL_S - 30 * 86_400, WALL_S - 30 * 86_400))
    assert [one.state for one in computer.check()] == ["unknown"]
    left.write_text("{")
    os.utime(left, (WALL_S, WALL_S))
    assert [one.state for one in computer.check()] == ["unknown"]


@pytest.mark.parametrize(
    ("life", "reserve", "state"),
    [("0x01 0x02", "0x01", "ok"), ("0x09 0x01", "0x01", "warning"), ("0x02 0x02", "0x02", "warning"),
     ("0x0b 0x01", "0x01", "problem"), ("0x01 0x01", "0x03", "problem"), ("0x00 0x00", "0x00", "unknown")],
)  # fmt: skip
def test_an_emmc_tells_its_wear_by_the_kernel(computer, life, reserve, state):
    computer.disks("mmcblk0", life_time=life, pre_eol_info=reserve)
    assert [finding.state for finding in computer.check()] == [state]


def test_an_sd_card_tells_nothing_and_is_unknown(computer):
    computer.disks("mmcblk0")
    assert [finding.state for finding in computer.check()] == ["unknown"]


@pytest.mark.skipif(
    shutil.which("smartctl") is None, reason="smartctl is missing: apt-get install smartmontools"
)
def test_the_real_smartctl_is_understood(tmp_path):
    answer = ask("smartctl", "null", 30.0)
    assert isinstance(answer, str)
    assert "/dev/null" in answer
