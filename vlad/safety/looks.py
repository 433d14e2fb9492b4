"""What was seen in a sample is remembered until there is a new one."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from vlad.messages import Data, Sample
from vlad.robot import Robot
from vlad.safety.reaction import Finding

Look = Callable[[str, Data, Robot], Iterator[Finding]]
"""A pure look at what a signal says: its topic, the data, the robot's limits."""


class Looks:
    """The findings of each look at each signal's newest sample."""

    def __init__(self, robot: Robot) -> None:
        self._robot = robot
        self._seen: dict[tuple[str, Look], tuple[Sample, tuple[Finding, ...]]] = {}

    def at(self, topic: str, sample: Sample, look: Look) -> tuple[Finding, ...]:
        """What `look` finds in the sample; the same sample twice costs nothing."""
        seen = self._seen.get((topic, look))
        if seen is None or seen[0] is not sample:
            seen = self._seen[(topic, look)] = (sample, tuple(look(topic, sample.data, self._robot)))
        return seen[1]
