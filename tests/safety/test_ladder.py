"""Every way between the modes, and none that must not be."""

from __future__ import annotations

import itertools

import pytest

from vlad.messages import Mode
from vlad.safety.faults import FAULTS, active
from vlad.safety.ladder import Facts, describe, next_mode, stop_cause, worst
from vlad.safety.reaction import Fault, Finding, Reaction

ROWS = {
    Reaction.REPORT: "obstacle_ahead", Reaction.SLOW: "battery_low", Reaction.STOP2: "signal_missing",
    Reaction.STOP1: "contact", Reaction.STOP0: "stop_failed", Reaction.ESTOP: "estop",
}  # fmt: skip


def fault(reaction: Reaction):
    row: Fault = FAULTS[ROWS[reaction]]
    assert row.reaction is reaction
    return active(Finding(row.id, "subject", "detail"), 0)


STOP = Facts(faults=(fault(Reaction.STOP2),))
SLOW = Facts(faults=(fault(Reaction.SLOW),))
REPORT = Facts(faults=(fault(Reaction.REPORT),))


@pytest.mark.parametrize(
    ("before", "facts", "after", "cause"),
    [
        (Mode.BOOT, Facts(), Mode.DISARMED, "started"),
        (Mode.BOOT, STOP, Mode.DISARMED, "started"),
        (Mode.DISARMED, STOP, Mode.DISARMED, None),
        (Mode.DISARMED, Facts(disarm="x", halt="y", at_rest=True), Mode.DISARMED, None),
        (Mode.ACTIVE, Facts(), Mode.ACTIVE, None),
        (Mode.ACTIVE, REPORT, Mode.ACTIVE, None),
        (Mode.ACTIVE, SLOW, Mode.DEGRADED, "battery_low: subject detail"),
        (Mode.DEGRADED, SLOW, Mode.DEGRADED, None),
        (Mode.DEGRADED, Facts(), Mode.ACTIVE, "the faults cleared"),
        (Mode.DEGRADED, STOP, Mode.STOPPING, "signal_missing: subject detail"),
        (Mode.ACTIVE, STOP, Mode.STOPPING, "signal_missing: subject detail"),
        (Mode.ACTIVE, Facts(disarm="x"), Mode.STOPPING, "disarm: x"),
        (Mode.ACTIVE, Facts(halt="x", disarm="y"), Mode.STOPPING, "stop: x"),
        (Mode.STOPPING, STOP, Mode.STOPPING, None),
        (Mode.STOPPING, Facts(), Mode.ACTIVE, "the faults cleared"),
        (Mode.STOPPING, SLOW, Mode.DEGRADED, "battery_low: subject detail"),
        (Mode.STOPPING, Facts(STOP.estop, STOP.faults, at_rest=True), Mode.STOPPED,
         "at rest; signal_missing: subject detail"),
        (Mode.STOPPING, Facts(halt="x", at_rest=True), Mode.STOPPED, "at rest; stop: x"),
        (Mode.STOPPING, Facts(disarm="x", at_rest=True), Mode.DISARMED, "disarm: x"),
        (Mode.STOPPING, Facts(disarm="x", halt="y", at_rest=True), Mode.DISARMED, "disarm: x"),
        (Mode.STOPPED, Facts(STOP.estop, STOP.faults, at_rest=True), Mode.STOPPED, None),
        (Mode.STOPPED, STOP, Mode.STOPPING, "not at rest any more; signal_missing: subject detail"),
        (Mode.STOPPED, Facts(disarm="x", at_rest=True), Mode.DISARMED, "disarm: x"),
        (Mode.STOPPED, Facts(disarm="x"), Mode.STOPPING, "not at rest any more; disarm: x"),
        (Mode.STOPPED, Facts(), Mode.ACTIVE, "the faults cleared"),
        (Mode.ESTOP, Facts(at_rest=True), Mode.ESTOP, None),
        (Mode.ESTOP, Facts(disarm="x", halt="y", at_rest=True), Mode.ESTOP, None),
    ],
)  # fmt: skip
def test_each_way_is_taken_for_its_cause(before, facts, after, cause):
    mode, why = next_mode(before, facts)
    assert mode is after
    if cause is not None:
        assert why == cause


@pytest.mark.parametrize("before", list(Mode))
def test_an_emergency_stop_is_reached_from_everywhere(before):
    assert next_mode(before, Facts(estop="smoke", disarm="x", at_rest=True)) == (Mode.ESTOP, "estop: smoke")


def test_the_ladder_by_itself_never_arms_and_never_leaves_an_emergency_stop():
    options = itertools.product(
        (None, "smoke"), ((), STOP.faults, SLOW.faults), (None, "x"), (None, "y"), (False, True)
    )
    for option in options:
        facts = Facts(*option)
        assert next_mode(Mode.ESTOP, facts)[0] is Mode.ESTOP
        assert next_mode(Mode.DISARMED, facts)[0] in (Mode.DISARMED, Mode.ESTOP)
        assert next_mode(Mode.BOOT, facts)[0] in (Mode.DISARMED, Mode.ESTOP)


def test_the_worst_comes_first_and_is_told():
    assert worst(()) is Reaction.REPORT
    assert worst(STOP.faults) is Reaction.STOP2
    assert stop_cause(Facts()) is None
    assert stop_cause(SLOW) is None
    assert describe(active(Finding("estop", "operator", ""), 0)) == "estop: operator"
