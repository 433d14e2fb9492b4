"""How long a fault must last to act, and how it ends."""

from __future__ import annotations

import pytest

from tests.safety.rig import S
from vlad.safety.faults import FAULTS
from vlad.safety.memory import Memory
from vlad.safety.reaction import Clears, Finding, Reaction


def finding(fault: str, subject: str = "x") -> Finding:
    return Finding(fault, subject, "")


def ids(faults):
    return [fault.fault.id for fault in faults]


def test_nothing_found_is_nothing_acting():
    assert Memory().update((), 0, armed=True) == ()


def test_a_cause_acts_after_its_hold_time_and_not_if_it_was_interrupted():
    memory, hold_ns = Memory(), S // 10
    found = [finding("collision_predicted")]
    assert memory.update(found, 0, armed=True) == ()
    assert memory.update(found, hold_ns - 1, armed=True) == ()
    acting = memory.update(found, hold_ns, armed=True)
    assert ids(acting) == ["collision_predicted"]
    assert acting[0].since_ns == hold_ns
    memory = Memory()
    memory.update(found, 0, armed=True)
    memory.update((), hold_ns // 2, armed=True)
    assert memory.update(found, hold_ns, armed=True) == ()


def test_a_fault_that_clears_by_itself_lingers_for_its_clear_time():
    memory, clear_ns = Memory(), round(FAULTS["silence"].clear_s * S)
    memory.update([finding("silence")], S, armed=True)
    assert ids(memory.update((), S + clear_ns - 1, armed=True)) == ["silence"]
    assert memory.update((), S + clear_ns, armed=True) == ()


def test_the_newest_detail_is_told_and_the_first_time_kept():
    memory = Memory()
    memory.update([Finding("silence", "policy", "1 s")], S, armed=True)
    acting = memory.update([Finding("silence", "policy", "2 s")], 2 * S, armed=True)
    assert (acting[0].detail, acting[0].since_ns) == ("2 s", S)


def test_the_first_moment_of_all_counts_like_any_other():
    memory = Memory()
    found = [finding("silence"), finding("signal_stale")]
    assert len(memory.update(found, 0, armed=True)) == 2
    assert [fault.since_ns for fault in memory.update(found, S, armed=True)] == [0, 0]
    memory = Memory()
    memory.update(found, 0, armed=True)
    assert [(fault.fault.id, fault.since_ns) for fault in memory.latched()] == [("signal_stale", 0)]
    assert {*ids(memory.update((), S // 10, armed=True))} == {"silence", "signal_stale"}


def test_of_one_reaction_the_higher_level_comes_first():
    memory = Memory()
    found = [finding(fault) for fault in FAULTS]
    memory.update(found, 0, armed=True)
    acting = memory.update(found, 100 * S, armed=True)
    order = [(fault.fault.reaction, fault.fault.level) for fault in acting if fault.since_ns == 0]
    assert order == sorted(order, reverse=True)


@pytest.mark.parametrize("row", [row for row in FAULTS.values() if row.clears is not Clears.ITSELF],
                         ids=lambda row: row.id)  # fmt: skip
def test_what_waits_for_a_person_waits(row):
    memory = Memory()
    for now in (S, 2 * S):
        memory.update([finding(row.id)], now, armed=True)
    assert ids(memory.update((), 100 * S, armed=True)) == [row.id]
    assert ids(memory.latched()) == [row.id]
    memory.disarmed()
    assert ids(memory.latched()) == ([] if row.clears is Clears.DISARM else [row.id])
    memory.reset()
    assert ids(memory.latched()) == ([row.id] if row.clears is Clears.NEVER else [])


@pytest.mark.parametrize("row", [row for row in FAULTS.values() if row.clears is not Clears.ITSELF],
                         ids=lambda row: row.id)  # fmt: skip
def test_before_arming_only_emergency_stops_and_dead_parts_latch(row):
    memory = Memory()
    for now in (S, 2 * S):
        memory.update([finding(row.id)], now, armed=False)
    stays = row.reaction is Reaction.ESTOP or row.clears is Clears.NEVER
    assert bool(memory.update((), 100 * S, armed=False)) == stays


def test_a_fault_raised_before_arming_latches_if_it_is_still_there_when_armed():
    memory = Memory()
    memory.update([finding("battery_critical")], S, armed=False)
    memory.update([finding("battery_critical")], 2 * S, armed=False)
    memory.update([finding("battery_critical")], 3 * S, armed=True)
    assert ids(memory.latched()) == ["battery_critical"]


def test_what_waits_for_a_person_waits_though_its_cause_is_seen_on_after_the_disarm():
    memory = Memory()
    memory.update([finding("signal_stale")], S, armed=True)
    memory.disarmed()
    memory.update([finding("signal_stale")], 2 * S, armed=False)
    assert ids(memory.latched()) == ["signal_stale"]
    assert ids(memory.update((), 100 * S, armed=False)) == ["signal_stale"]


def test_arming_forgets_stops_that_only_linger_and_keeps_the_rest():
    memory = Memory()
    found = [finding("signal_stale"), finding("inference_late"), finding("estop_pressed")]
    memory.update(found, S, armed=False)
    memory.armed()
    assert ids(memory.update((), S + 1, armed=True)) == ["estop_pressed", "inference_late"]


def test_the_worst_comes_first_then_the_oldest():
    memory = Memory()
    memory.update([finding("overrun"), finding("signal_stale", "b")], S, armed=True)
    acting = memory.update(
        [finding("overrun"), finding("signal_stale", "a"), finding("signal_stale", "b"), finding("contact")],
        2 * S, armed=True,
    )  # fmt: skip
    assert [(fault.fault.id, fault.subject) for fault in acting] == [
        ("contact", "x"), ("signal_stale", "b"), ("signal_stale", "a"), ("overrun", "x"),
    ]  # fmt: skip
