"""A faulty joint that the robot can do without is parked and left out; the others go on.

The findings that show such a joint faulty become `joint_parked`, which slows the robot instead of stopping it
and stays until a reset. From then on the joint heads for its safe position, whatever the policy says.
"""

from __future__ import annotations

import numpy as np

from vlad.robot import Robot
from vlad.safety.motion import Vector
from vlad.safety.reaction import ActiveFault, Finding

PARKING = frozenset(("position_limit", "effort_limit", "current_limit", "joint_hot", "following_error"))
"""The faults of one joint alone."""


class Parking:
    """Which joints may be parked, and where."""

    def __init__(self, robot: Robot) -> None:
        names = list(robot.axes)
        spare = set() if robot.critical is None else set(names) - set(robot.critical)
        self._at = {
            name: (names.index(name), axis.safe_position)
            for name, axis in robot.axes.items()
            if name in spare and axis.safe_position is not None
        }
        self._helpers = {name: ", ".join(robot.axes[name].compensated_by) for name in self._at}

    def park(self, findings: list[Finding]) -> list[Finding]:
        """The findings, with `joint_parked` in place of those for which their joint is parked."""
        if not self._at:
            return findings
        parked: dict[str, Finding] = {}
        others = []
        for finding in findings:
            if finding.subject not in self._at or finding.fault not in PARKING:
                others.append(finding)
            elif finding.subject not in parked:
                parked[finding.subject] = self._parked(finding)
        return [*parked.values(), *others]

    def _parked(self, finding: Finding) -> Finding:
        helpers = self._helpers[finding.subject]
        takes_over = f"; {helpers} take over" if helpers else ""
        return Finding("joint_parked", finding.subject, f"{finding.fault}: {finding.detail}{takes_over}")

    def steer(self, target: Vector | None, faults: tuple[ActiveFault, ...]) -> Vector | None:
        """The positions to head for: those of the policy, but the safe one of each joint that is parked."""
        parked = [self._at[fault.subject] for fault in faults if fault.fault.id == "joint_parked"]
        if target is None or not parked:
            return target
        steered = target.copy()
        axes, positions = zip(*parked, strict=True)
        steered[np.array(axes)] = positions
        return steered
