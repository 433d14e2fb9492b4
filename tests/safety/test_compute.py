"""The computer and the parts of the daemon: late, hung, used up, hot, and all that with hysteresis."""

from dataclasses import replace
from math import nan

import pytest

from tests.safety.rig import Rig, S
from vlad.safety.view import Computer

CALM = {"cpu": 0.1, "memory": 0.1, "gpu_memory": 0.1, "disk": 0.1, "celsius": 40.0}


class Hot(Rig):
    """A rover whose computer is measured with every tick."""

    def __init__(self):
        super().__init__()
        self.measured = dict(CALM)
        self.age_s = 0.0

    def sense(self):
        inputs = super().sense()
        stamp_ns = inputs.now_ns - round(self.age_s * S)
        return replace(inputs, computer=Computer(stamp_ns, **self.measured))


LIMITS = [
    ("cpu", 0.95, 0.05, "cpu_high"), ("memory", 0.95, 0.05, "memory_high"),
    ("gpu_memory", 0.95, 0.05, "gpu_memory_high"), ("disk", 0.95, 0.05, "disk_full"),
    ("celsius", 90.0, 5.0, "computer_hot"),
]  # fmt: skip


@pytest.mark.parametrize(("what", "limit", "below", "fault"), LIMITS)
def test_what_is_used_up_stays_a_fault_until_it_is_clearly_less(what, limit, below, fault):
    rig = Hot().armed()
    for value, expected in (
        (limit - 0.01 * below, set()), (limit + 0.01 * below, {fault}), (limit - 0.9 * below, {fault}),
        (limit - 1.1 * below, set()), (limit - 0.5 * below, set()),
    ):  # fmt: skip
        rig.measured[what] = value
        rig.tick(1200)
        assert rig.ids() == expected, value


@pytest.mark.parametrize("what", list(CALM))
def test_what_is_not_measured_is_no_fault(what):
    rig = Hot().armed()
    rig.measured[what] = nan
    rig.tick(500)
    assert rig.ids() == set()


def test_a_short_peak_is_no_fault():
    rig = Hot().armed()
    rig.measured["cpu"] = 1.0
    rig.tick(200)
    rig.measured["cpu"] = 0.3
    rig.tick(500)
    assert rig.ids() == set()


def test_an_old_measurement_is_judged_no_more():
    rig = Hot().armed()
    rig.measured["disk"] = 1.0
    rig.tick(150)
    assert rig.ids() == {"disk_full"}
    rig.age_s = 5.1
    rig.tick(600)
    assert rig.ids() == set()


def test_an_inference_is_late_then_hung():
    rig = Rig().driving()
    rig.inputs["inference_since_ns"] = rig.now_ns
    rig.tick(29)
    assert rig.ids() == set()
    rig.tick(5)
    assert rig.ids() == {"inference_late"}
    rig.tick(165)
    assert rig.verdict.mode == "degraded"
    rig.tick(5)
    assert "inference_hung" in rig.ids()
    assert rig.verdict.mode == "stopping"


def test_what_queues_lose_is_told_for_a_while():
    rig = Rig().armed()
    rig.inputs["overflows"] = 5
    verdict = rig.tick()
    assert [(fault.fault.id, fault.detail) for fault in verdict.faults] == [
        ("queue_overflow", "5 entries lost")
    ]
    rig.tick(600)
    assert rig.ids() == set()
