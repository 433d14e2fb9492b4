"""The checks: pure functions from what is known now to what is wrong with it.

Each yields findings, whose fault ids are rows of faults.py. Whether a number is finite is looked at before
it meets any comparison. What is unknown, stale or missing counts as unsafe.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from vlad.safety.checks import action, body, compute, joints, links, operator, signals, space, stopping
from vlad.safety.faults import FAULTS
from vlad.safety.reaction import Finding
from vlad.safety.view import View

CHECKS: tuple[Callable[[View], Iterator[Finding]], ...] = (
    operator.estop, operator.deadman,
    signals.present, signals.frozen, signals.feedback, signals.scan, signals.stand_ins, signals.conduct,
    body.body,
    space.contact, space.force, space.obstacle, space.workspace, space.separation,
    action.chunks,
    compute.inference, compute.tick, compute.parts, compute.computer,
    joints.limits, joints.deviation, joints.jump,
    links.guard, links.driver, links.applied, links.policy,
    stopping.stopping,
)  # fmt: skip
"""All of them, in the order in which a person would ask."""


def findings(view: View) -> list[Finding]:
    """What is wrong now."""
    return [
        finding
        for check in CHECKS
        for finding in check(view)
        if view.armed or not FAULTS[finding.fault].only_armed
    ]
