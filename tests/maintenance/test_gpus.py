"""GPUs in the hardware check, with NVML made up at the calls that are made of it."""

import pynvml
import pytest

from vlad.maintenance.hardware.gpus import check_gpus


class Nvml:
    """One GPU that is well, until a test says otherwise; None: it does not know."""

    def __init__(self, monkeypatch):
        self.uncorrected, self.corrected, self.pages, self.pages_pending = 0, 0, 0, 0
        self.rows, self.throttled, self.lost, self.shut = (0, 0, 0, 0), 0x1, False, False
        errors = {0: lambda: self.corrected, 1: lambda: self.uncorrected}
        answers = {
            "nvmlInit": lambda: None,
            "nvmlShutdown": self.shutdown,
            "nvmlDeviceGetCount": lambda: 1,
            "nvmlDeviceGetHandleByIndex": lambda index: self.known(None if self.lost else "gpu"),
            "nvmlDeviceGetTotalEccErrors": lambda gpu, kind, counter: self.known(errors[kind]()),
            "nvmlDeviceGetRetiredPagesPendingStatus": lambda gpu: self.known(self.pages_pending),
            "nvmlDeviceGetRetiredPages": lambda gpu, cause: [0x1000] * self.pages if cause else [],
            "nvmlDeviceGetRemappedRows": lambda gpu: self.known(self.rows),
            "nvmlDeviceGetCurrentClocksThrottleReasons": lambda gpu: self.known(self.throttled),
        }
        for name, answer in answers.items():
            monkeypatch.setattr(pynvml, name, answer)

    def known(self, value):
        if value is None:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        return value

    def shutdown(self):
        self.shut = True


@pytest.fixture
def nvml(monkeypatch):
    return Nvml(monkeypatch)


def told(tmp_path):
    return [(finding.state, finding.what) for finding in check_gpus(driver=tmp_path)]


def test_a_good_gpu_is_well_and_nvml_is_left(nvml, tmp_path):
    assert {state for state, _ in told(tmp_path)} == {"ok"}
    assert nvml.shut


@pytest.mark.parametrize(
    ("changes", "state", "words"),
    [
        ({"uncorrected": 2}, "warning", "2 memory errors"),
        ({"uncorrected": None}, "unknown", "not counted"),
        ({"pages": 3}, "warning", "3 bad memory pages"),
        ({"pages_pending": 1}, "warning", "wait to be retired"),
        ({"rows": (0, 1, 0, 0)}, "warning", "1 bad rows"),
        ({"rows": (0, 1, 1, 0)}, "warning", "wait to be remapped"),
        ({"rows": (0, 1, 0, 1)}, "problem", "could not be remapped"),
        ({"throttled": 0x40}, "warning", "slows it down for heat"),
        ({"throttled": 0x80}, "warning", "power supply"),
        ({"throttled": None}, "unknown", "does not say"),
        ({"lost": True}, "problem", "NVML says"),
    ],
)
def test_each_sign_of_a_bad_gpu_is_told(nvml, tmp_path, changes, state, words):
    for name, value in changes.items():
        setattr(nvml, name, value)
    assert any(found == state and words in what for found, what in told(tmp_path)), told(tmp_path)


def test_a_gpu_that_is_idle_or_at_its_power_cap_is_well(nvml, tmp_path):
    nvml.throttled, nvml.rows, nvml.pages_pending = 0x1 | 0x2 | 0x4, None, None
    assert {state for state, _ in told(tmp_path)} == {"ok"}


def test_a_driver_that_does_not_answer_is_a_problem(monkeypatch, tmp_path):
    def mismatch():
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH)

    monkeypatch.setattr(pynvml, "nvmlInit", mismatch)
    assert [state for state, _ in told(tmp_path)] == ["problem"]


def test_an_nvidia_card_without_a_driver_is_unknown_and_no_card_is_nothing(tmp_path):
    none = tmp_path / "version"
    assert list(check_gpus(none, tmp_path)) == []
    card = tmp_path / "bus/pci/devices/0000:01:00.0"
    card.mkdir(parents=True)
    (card / "vendor").write_text("0x10de\n")
    (card / "class").write_text("0x030200\n")
    assert [finding.state for finding in check_gpus(none, tmp_path)] == ["unknown"]
