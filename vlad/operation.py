"""How the robot was used: counted since the start of this process, stored with what earlier ones counted.

| name | counts |
|---|---|
| uptime_s, level_safe_s ... level_emergency_s | how long vlad ran, and at which level |
| armed_s, moving_s | how long the robot was armed, and how long it moved |
| distance_m, joint_travel_rad | the way of a base; the ways of all joints together, of sliding ones in m |
| tasks, tasks_done, tasks_failed | instructions, and what `task_result` said of them |
| interventions | a person stopped the armed robot: an e-stop, or the enabling switch let go |
| estops, stops_category_2, _1, _0 | emergency stops, and stops by the category that they began with |
| faults, errors, fault/ID | faults that began while it was armed; those from DANGER up; each by its id |
| inferences, missed_ticks | answers of the policy that drives; periods of the tick that nobody served |
| starts, clean_ends | starts of the daemon, and how many of them ended in order |
| counted_since_s | when counting began, in seconds since 1970 (made with the database) |

An operator who disarms the robot ends its work in order: neither an intervention nor a stop.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from math import hypot

import numpy as np

from vlad.clock import NS_PER_S
from vlad.messages import CommandMode, Kind, Level, Mode, Sample, TaskResult
from vlad.robot import Robot
from vlad.safety.kernel import Verdict
from vlad.safety.ladder import ARMED, MOVING, Transition
from vlad.safety.motion import Feedback, Limits, Vector
from vlad.safety.reaction import ActiveFault

_PEOPLE = ("estop", "estop_pressed", "guard_estop", "deadman_released")
"""Faults by which a person takes the robot away from the policy."""
_CATEGORIES = {CommandMode.HOLD: 2, CommandMode.STOP1: 1, CommandMode.STOP0: 0}
_VELOCITIES = (Kind.TWIST, Kind.JOINT_VELOCITY)
_STEP_NS = NS_PER_S // 10
_REPEATED_NS = NS_PER_S
_BELIEVED = 10
"""Times its limit; no robot is faster, and who measures that measures wrongly."""
_LONGEST_NS = NS_PER_S
"""A gap in the measurements: nobody knows how far the robot went."""


class Operation:
    """Fed by the safety tick; all on the loop's thread."""

    def __init__(self, robot: Robot, now_ns: int, feedback: Callable[[], Sample | None]) -> None:
        """`feedback` gives the newest measurement of how the robot moves; None: there is none."""
        self.counts: Counter[str] = Counter(starts=1)
        self._began_ns = self._now_ns = now_ns
        self._level_ns = dict.fromkeys(Level, 0)
        self._armed_ns = self._moving_ns = 0
        self._distance_m = self._travel_rad = 0.0
        self._was_armed = False
        self._has_feedback = bool(robot.feedback)
        self._newest = feedback
        self._feedback = Feedback(robot)
        limits = Limits(robot)
        self._rest, self._fastest = limits.rest, _BELIEVED * limits.velocity
        self._joints = robot.command is not Kind.TWIST
        self._linear = [index for index, name in enumerate(robot.axes) if name.startswith("linear")]
        self._sample: Sample | None = None
        self._measured_ns = now_ns
        self._result: TaskResult | None = None
        self._result_ns = now_ns

    def totals(self) -> dict[str, float]:
        """All of them, since the start."""
        levels = {f"level_{level.name.lower()}_s": ns / NS_PER_S for level, ns in self._level_ns.items()}
        return {
            "uptime_s": (self._now_ns - self._began_ns) / NS_PER_S,
            "armed_s": self._armed_ns / NS_PER_S,
            "moving_s": self._moving_ns / NS_PER_S,
            "distance_m": self._distance_m,
            "joint_travel_rad": self._travel_rad,
            **levels,
            **self.counts,
        }

    def turn(self, now_ns: int, verdict: Verdict, began: tuple[ActiveFault, ...]) -> None:
        """One judgement; `began` are the faults that are new in it."""
        passed_ns = now_ns - self._now_ns
        self._now_ns = now_ns
        self._level_ns[verdict.level] += passed_ns
        if verdict.mode in ARMED:
            self._armed_ns += passed_ns
        for change in verdict.transitions:
            self._change(change, verdict.command_mode)
        if began and (self._was_armed or verdict.mode in ARMED):
            self._fault(began)
        self._was_armed = verdict.mode in ARMED
        if now_ns - self._measured_ns >= _STEP_NS:
            self._measure(now_ns, verdict)

    def task_ended(self, result: TaskResult, now_ns: int) -> bool:
        """Whether that is news: one who says the same again within a second only repeats it."""
        news = result != self._result or now_ns - self._result_ns > _REPEATED_NS
        self._result, self._result_ns = result, now_ns
        if news:
            self.counts["tasks_done" if result.success else "tasks_failed"] += 1
        return news

    def _change(self, change: Transition, command: CommandMode) -> None:
        if change.after is Mode.ESTOP and change.before in ARMED:
            self.counts["estops"] += 1
        stopped = change.before in MOVING and change.after not in MOVING
        if stopped and command in _CATEGORIES and not change.cause.startswith("disarm: "):
            self.counts[f"stops_category_{_CATEGORIES[command]}"] += 1

    def _fault(self, began: tuple[ActiveFault, ...]) -> None:
        names = [active.fault.id for active in began]
        self.counts["faults"] += len(names)
        self.counts["errors"] += sum(active.fault.level >= Level.DANGER for active in began)
        self.counts["interventions"] += any(name in _PEOPLE for name in names)
        self.counts.update(f"fault/{name}" for name in names)

    def _measure(self, now_ns: int, verdict: Verdict) -> None:
        """How far it went since the last time: as measured, or as commanded where nothing measures it."""
        if self._has_feedback:
            sample = self._newest()
            if sample is None or sample is self._sample:
                return
            self._sample, velocity = sample, self._feedback.read(sample).velocity
        else:
            velocity = _commanded(verdict)
        passed_ns, self._measured_ns = now_ns - self._measured_ns, now_ns
        if velocity is None or passed_ns > _LONGEST_NS:
            return
        speed = np.abs(velocity)
        if (speed > self._rest).any() and (speed < self._fastest).all():
            self._moving_ns += passed_ns
            passed_s = passed_ns / NS_PER_S
            if self._joints:
                self._travel_rad += float(speed.sum()) * passed_s
            else:
                self._distance_m += hypot(*speed[self._linear]) * passed_s


def _commanded(verdict: Verdict) -> Vector | None:
    """The velocities that the motors are told to follow; None: none."""
    if verdict.kind not in _VELOCITIES or verdict.command_mode is not CommandMode.RUN:
        return None
    return np.asarray(verdict.values, dtype=np.float64)


def unclean_ends(totals: Mapping[str, float]) -> int:
    """How often the daemon ended without a word: killed, crashed, or the power went. The last start runs."""
    return round(max(0.0, totals.get("starts", 0) - totals.get("clean_ends", 0) - 1))
