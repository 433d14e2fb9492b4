"""Memory, file systems and throttling in the hardware check, from folder trees like the kernel's."""

import pytest

from vlad.maintenance.hardware.counters import check_file_systems, check_memory, check_throttling

MC = "devices/system/edac/mc/mc0"
INTERRUPTS = """\
           CPU0       CPU1
  0:         44          0   IO-APIC    2-edge      timer
MCE:          {}          0   Machine check exceptions
MCP:          5          5   Machine check polls
"""


@pytest.fixture
def tree(tmp_path):
    def make(files):
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(f"{text}\n")
        return tmp_path

    return make


def states(findings):
    return {finding.topic: finding.state for finding in findings}


@pytest.mark.parametrize(
    ("corrected", "uncorrected", "state"), [(0, 0, "ok"), (3, 0, "warning"), (3, 1, "problem")]
)
def test_memory_errors_are_told(tree, corrected, uncorrected, state):
    root = tree(
        {f"{MC}/ce_count": corrected, f"{MC}/ue_count": uncorrected, "interrupts": INTERRUPTS.format(0)}
    )
    assert states(check_memory(root, root)) == {"memory mc0": state, "processor": "ok"}


def test_memory_that_nobody_watches_is_unknown_with_how_to_get_to_know(tree):
    (finding,) = check_memory(tree({"interrupts": "  0:  44  timer"}), tree({}))
    assert (finding.topic, finding.state) == ("memory", "unknown")
    assert "memtest86+" in finding.mend


def test_counters_that_cannot_be_read_are_unknown(tree):
    root = tree({f"{MC}/ce_count": "?", f"{MC}/ue_count": ""})
    assert states(check_memory(root, root / "none")) == {"memory mc0": "unknown", "processor": "unknown"}


def test_machine_check_exceptions_are_a_problem_and_polls_are_none(tree):
    root = tree({"interrupts": INTERRUPTS.format(2)})
    assert states(check_memory(root, root))["processor"] == "problem"


def test_errors_of_file_systems_are_told_by_their_names(tree):
    stats = "write_errs 0\nread_errs 4\nflush_errs 0\ncorruption_errs 0\ngeneration_errs 0"
    root = tree(
        {
            "fs/ext4/sda1/errors_count": 0, "fs/ext4/sdb1/errors_count": 7, "fs/ext4/features/casefold": "",
            "fs/btrfs/1b2c/devinfo/1/error_stats": stats,
            "fs/btrfs/1b2c/devinfo/2/error_stats": "write_errs 0",
            "fs/ext4/sdc1/errors_count": "",
        }
    )  # fmt: skip
    assert states(check_file_systems(root)) == {
        "file system sda1": "ok", "file system sdb1": "problem", "file system sdc1": "unknown",
        "file system 1b2c 1": "problem", "file system 1b2c 2": "ok",
    }  # fmt: skip


def test_a_computer_that_throttled_itself_is_told_and_for_what(tree):
    folder = "devices/system/cpu/cpu0/thermal_throttle"
    root = tree({f"{folder}/core_throttle_count": 0, f"{folder}/package_throttle_count": 12})
    (finding,) = check_throttling(root)
    assert (finding.topic, finding.state) == ("throttling of the processor", "warning")
    assert "12 times" in finding.what


def test_a_jetson_tells_of_over_current(tree):
    root = tree({"class/hwmon/hwmon3/oc1_event_cnt": 0, "class/hwmon/hwmon3/oc3_event_cnt": 2})
    assert states(check_throttling(root)) == {"throttling of the module": "warning"}


@pytest.mark.parametrize(
    ("word", "state", "words"),
    [("0", "ok", "never"), ("50000", "warning", "voltage was too low"),
     ("50005", "problem", "voltage is too low"), ("80008", "warning", "it is too hot")],
)  # fmt: skip
def test_a_raspberry_tells_of_its_power_supply_and_its_heat(tree, word, state, words):
    (finding,) = check_throttling(tree({"devices/platform/soc/soc:firmware/get_throttled": word}))
    assert finding.state == state
    assert words in finding.what


def test_a_computer_that_counts_nothing_is_unknown(tree):
    assert states(check_throttling(tree({}))) == {"throttling": "unknown"}
