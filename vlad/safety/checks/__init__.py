"""The checks: pure functions from what is known now to what is wrong with it.

Each yields findings, whose fault ids are rows of faults.py. Whether a number is finite is looked at before
it meets any comparison. What is unknown, stale or missing counts as unsafe.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

from vlad.safety.checks import action, body, compute, joints, links, operator, signals, space, stopping
from vlad.safety.faults import FAULTS
from vlad.safety.reaction import Finding
from vlad.safety.view import View

Check: TypeAlias = Callable[[View], Iterator[Finding]]

AT_TICKS: tuple[Check, ...] = (
    signals.present, signals.frozen, signals.feedback, signals.scan, signals.stand_ins, signals.conduct,
    body.body,
    compute.inference, compute.tick, compute.parts, compute.computer,
    links.driver, links.applied, links.policy,
)  # fmt: skip
"""What a tick sees soon enough; a turn between two ticks goes by what the last tick saw."""
AT_ONCE: tuple[Check, ...] = (
    operator.estop, operator.deadman,
    space.contact, space.force, space.obstacle, space.workspace, space.separation,
    action.chunks,
    joints.limits, joints.deviation, joints.jump,
    links.guard,
    stopping.stopping,
)  # fmt: skip
"""What is looked at in every turn."""


def findings(view: View, checks: tuple[Check, ...] = AT_TICKS + AT_ONCE) -> list[Finding]:
    """What is wrong now."""
    return [
        finding
        for check in checks
        for finding in check(view)
        if view.armed or not FAULTS[finding.fault].only_armed
    ]
