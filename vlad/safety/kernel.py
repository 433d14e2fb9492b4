"""The safety kernel: judge what is known, climb the ladder, bound the command.

Pure: no I/O, no asyncio, no clock. The same calls with the same inputs give the same verdicts to the byte.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from vlad.clock import NS_PER_S
from vlad.config import Settings
from vlad.messages import Chunk, CommandMode, Floats, Kind, Level, Mode
from vlad.robot import Robot
from vlad.safety.axes import AxisWatch, RecentCommands
from vlad.safety.checks import AT_ONCE, AT_TICKS, findings
from vlad.safety.checks.links import agrees, guard_word
from vlad.safety.chunks import Admission, step_problem
from vlad.safety.failover import Sources
from vlad.safety.faults import FAULTS, active
from vlad.safety.ladder import ARMED, MOVING, Facts, Transition, next_mode, worst
from vlad.safety.limiter import Limiter
from vlad.safety.looks import Looks
from vlad.safety.memory import Memory
from vlad.safety.motion import Feedback, Motion
from vlad.safety.parking import Parking
from vlad.safety.reaction import ActiveFault, Clears, Finding, Reaction
from vlad.safety.signals import SignalMonitor
from vlad.safety.stop import Brake
from vlad.safety.view import Inputs, Rules, View
from vlad.safety.workspace import TipWatch

__all__ = ["ActiveFault", "Inputs", "Kernel", "Transition", "Verdict"]

_EASE_NS = 45_000_000
"""Disarmed, a verdict holds for five ticks of 10 ms: nothing moves, and nobody reads it any faster."""
_NO_VALUES: Floats = np.zeros(0, dtype=np.float32)
_STOP_MODES = {
    Reaction.STOP2: CommandMode.HOLD,
    Reaction.STOP1: CommandMode.STOP1,
    Reaction.STOP0: CommandMode.STOP0,
}


@dataclass(slots=True)
class Verdict:
    """What the kernel decided: what to tell people, and what to send to the motor driver now.

    Nobody changes it; frozen, it takes three times as long to make.
    """

    mode: Mode
    level: Level
    faults: tuple[ActiveFault, ...]
    command_mode: CommandMode
    kind: Kind
    names: tuple[str, ...]
    values: Floats
    source_stamp_ns: int
    transitions: tuple[Transition, ...]
    """Since the verdict before."""
    estop_reason: str | None
    """Why an emergency stop is latched; None: none is."""


class Kernel:
    """Owns the mode of the robot. Call it from one thread; `now_ns` must not go back."""

    def __init__(self, robot: Robot, settings: Settings, estop: str | None) -> None:
        """`estop` is the reason of an emergency stop that was latched when the daemon last ran."""
        self.mode = Mode.BOOT if estop is None else Mode.ESTOP
        self._rules = Rules(robot, settings)
        self._memory = Memory()
        self._feedback = Feedback(robot)
        self._surroundings = self._rules.surroundings()
        limits = self._rules.limits
        self._axes = AxisWatch(robot, limits)
        self._commands = RecentCommands(limits, self._rules.period_ns)
        self._tip = TipWatch(limits, robot.workspace) if robot.workspace else None
        self._looks = Looks(robot)
        self._parking = Parking(robot)
        self._limiter = Limiter(self._rules, self._parking)
        self._envelope = self._limiter.envelope
        self._transitions: list[Transition] = []
        self._estop = self._called = estop
        self._disarm: str | None = None
        self._halt: str | None = None
        self._brake = Brake(
            self._rules.limits,
            has_feedback=bool(robot.feedback),
            margin=settings.safety.stop_margin,
            category=Reaction.STOP2 if estop is None else Reaction.STOP0,
        )
        self._last_ns: int | None = None
        self._task = ""
        self._admission = Admission(self._rules)
        self._overruns = 0
        self._acting: frozenset[str] = frozenset()
        self._hindered = False
        """Whether a fault that acted after the judgement before slows the robot or stops it."""
        self._seen_at_tick: list[Finding] = []
        self._signals = SignalMonitor(settings)
        self.sources = Sources(self._rules)
        self._moving = False
        self._commanded = CommandMode.STOP0
        self._agreed_ns = 0
        self._ease: tuple[int, Verdict] | None = None
        """Until when a verdict is given again, unless something was asked or is urgent; None: none is."""

    @property
    def frozen(self) -> Mapping[str, str]:
        """Signals that repeat the same content while the robot moves, and for how long."""
        return self._signals.frozen

    @property
    def replaceable(self) -> bool:
        """Whether another may take its place: the robot is disarmed, and nothing waits for a person."""
        return self.mode is Mode.DISARMED and self._estop is None and not self._memory.latched()

    @property
    def settings(self) -> Settings:
        """What it goes by."""
        return self._rules.settings

    def replaced(self, robot: Robot, settings: Settings) -> Kernel:
        """A kernel for other settings that goes on where this one is; what is off stays off."""
        fresh = Kernel(robot, settings, None)
        fresh.mode, fresh._transitions = self.mode, self._transitions
        fresh._brake.category = self._brake.category
        fresh._last_ns, fresh._task = self._last_ns, self._task
        fresh._commanded, fresh._agreed_ns = self._commanded, self._agreed_ns
        fresh.sources.topics, fresh.sources.estimates = self.sources.topics, self.sources.estimates
        fresh.sources.topics.clear()  # who stands in is for the new settings to say
        fresh.sources.estimates.clear()
        return fresh

    def admit(self, chunk: Chunk, now_ns: int) -> bool:
        """Whether the follower may have this chunk. If not, the reason becomes a fault."""
        return self._admission.admit(chunk, now_ns, self._limiter.followed, self._limiter.measured)

    def judge(self, inputs: Inputs) -> Verdict:
        """One turn of the safety tick."""
        now_ns = inputs.now_ns
        dt_ns = 0 if self._last_ns is None else now_ns - self._last_ns
        dt_s = min(max(dt_ns, 0), 2 * self._rules.period_ns) / NS_PER_S
        self._last_ns = now_ns
        if self._ease is not None and now_ns < self._ease[0] and not self._urges(inputs):
            self._commands.add(self._envelope.velocity)
            return self._ease[1]
        if inputs.task != self._task:
            self._task = inputs.task
            self._admission.expect(now_ns)
        if inputs.missed_ticks:
            self._overruns += inputs.missed_ticks
        elif not inputs.early:
            self._overruns = 0
        armed = self.mode in ARMED
        if not inputs.early:
            self._signals.watch(inputs, moving=self._moving, closely=armed and self._hindered)
        self.sources.choose(inputs, self._signals.frozen, self._envelope.velocity, armed=armed)
        view = self._view(inputs)
        if not inputs.early:
            self._seen_at_tick = findings(view, AT_TICKS)
        found = [*self._seen_at_tick, *findings(view, AT_ONCE)]
        faults = self._memory.update(self._parking.park(found), now_ns, armed)
        self._acting = frozenset(fault.fault.id for fault in faults)
        self._hindered = worst(faults) > Reaction.REPORT
        self._admission.findings = ()
        self._brake.watch(view.motion.velocity if view.motion is not None else None, now_ns)
        self._climb(faults, view, now_ns)
        verdict = self._command(faults, view, dt_s)
        holds = verdict.mode is Mode.DISARMED and not verdict.transitions
        self._ease = (now_ns + _EASE_NS, verdict) if holds else None
        return verdict

    def _urges(self, inputs: Inputs) -> bool:
        """Whether something is new that is not for people to read."""
        return inputs.early or inputs.missed_ticks > 0 or inputs.task != self._task

    def refusals(self, inputs: Inputs) -> tuple[ActiveFault, ...]:
        """Every reason why the robot cannot be armed now; empty: it can, or it is."""
        if self.mode in MOVING and self._estop is None and self._disarm is None and self._halt is None:
            return ()
        now_ns = inputs.now_ns
        refused = [fault for fault in self._memory.latched() if fault.fault.reaction >= Reaction.STOP2]
        if self.mode is not Mode.DISARMED:
            refused.append(active(Finding("not_disarmed", "robot", f"the mode is {self.mode}"), now_ns))
        if inputs.reading:
            refused.append(active(Finding("bundle_reading", "policy", inputs.reading), now_ns))
        known = {(f.fault.id, f.subject) for f in refused}
        seen = self._parking.park(findings(self._view(inputs, armed=False)))
        found = (active(finding, now_ns) for finding in seen)
        refused += (
            fault
            for fault in found
            if fault.fault.reaction >= Reaction.STOP2 and (fault.fault.id, fault.subject) not in known
        )
        return tuple(refused)

    def arm(self, inputs: Inputs) -> tuple[ActiveFault, ...]:
        """Give the robot to the policy, from where it stands and with a ramp. Empty, or the refusals."""
        refused = self.refusals(inputs)
        if refused or self.mode in MOVING:
            return refused
        motion = self._motion(self.sources.stand_in(inputs))
        self._envelope.start(motion.position if motion is not None else None)
        self._memory.armed()
        self._brake.release()
        self._limiter.ramp(inputs.now_ns)
        self._admission.expect(inputs.now_ns)
        self._change(Mode.ACTIVE, "armed")
        self._seen_at_tick = findings(self._view(inputs), AT_TICKS)  # what the last tick saw may be over
        return ()

    def disarm(self, reason: str) -> None:
        """Bring the robot to a controlled stop, then to DISARMED."""
        if self.mode in ARMED:
            self._disarm = reason

    def stop(self, reason: str) -> None:
        """Bring the robot to a controlled stop and hold it there until a reset."""
        if self.mode in ARMED:
            self._halt = reason

    def estop(self, reason: str) -> None:
        """Emergency stop from the next judgement on; it latches. The first reason is kept."""
        if self._estop is None:
            self._estop = self._called = reason
            self._ease = None

    def reset(self, inputs: Inputs) -> tuple[ActiveFault, ...]:
        """From ESTOP or STOPPED to DISARMED. Moves nothing; what is off stays off until it is armed.

        Empty, or the causes that persist: nothing changed then.
        """
        if self.mode not in (Mode.ESTOP, Mode.STOPPED, Mode.DISARMED):
            return (active(Finding("moving", "robot", f"the mode is {self.mode}"), inputs.now_ns),)
        persisting = self._persisting(inputs)
        if not persisting:
            self._memory.reset()
            self._ease = None
            self._estop = self._called = self._disarm = self._halt = None
            self._brake.plan = None
            self._envelope.start(None)
            self._change(Mode.DISARMED, "reset")
        return persisting

    def _persisting(self, inputs: Inputs) -> tuple[ActiveFault, ...]:
        view = self._view(inputs, armed=True)
        view.called = None
        seen = self._parking.park(findings(view))
        found = {(finding.fault, finding.subject): finding for finding in seen}
        causes = {
            (fault.fault.id, fault.subject): fault
            for fault in self._memory.latched()
            if fault.fault.clears is Clears.NEVER or (fault.fault.id, fault.subject) in found
        }
        for key, finding in found.items():
            if FAULTS[finding.fault].reaction is Reaction.ESTOP and key not in causes:
                causes[key] = active(finding, inputs.now_ns)
        still = self._brake.plan is None and self._brake.at_rest(self._envelope.velocity, inputs.now_ns)
        if self.mode is not Mode.DISARMED and not still:
            moving = Finding("moving", "robot", "not known to be at rest")
            return (*causes.values(), active(moving, inputs.now_ns))
        return tuple(causes.values())

    def _view(self, inputs: Inputs, armed: bool | None = None) -> View:
        inputs = self.sources.stand_in(inputs)
        motion = self._motion(inputs)
        measured = motion.velocity if motion is not None else None
        return View(
            rules=self._rules,
            inputs=inputs,
            armed=self.mode in ARMED if armed is None else armed,
            motion=motion,
            speed=self._envelope.velocity if measured is None else measured,
            misstep=step_problem(inputs.step, self._rules) if inputs.step is not None else "",
            following=self.mode in MOVING,
            commanded_position=self._envelope.position,
            followed=self._limiter.followed,
            axes=self._axes,
            commands=self._commands,
            tip=self._tip,
            looks=self._looks,
            surroundings=self._surroundings,
            stop=self._brake.plan,
            chunk_ns=self._admission.newest_ns,
            chunk=self._admission.findings,
            overruns=self._overruns,
            blocked=self._limiter.blocked,
            jerked=self._envelope.jerked,
            called=self._called,
            acting=self._acting,
            signals=self._signals,
            sources=self.sources,
            commanded=self._commanded,
            agreed_ns=self._agreed_ns,
        )

    def _motion(self, inputs: Inputs) -> Motion | None:
        """What the feedback says; None where there is none, or it is too old to say anything."""
        signal = self._rules.feedback
        sample = inputs.samples.get(signal.topic) if signal is not None else None
        if signal is None or sample is None:
            return None
        if not self.sources.stands_in(signal.topic) and signal.age_problem(sample, inputs.now_ns):
            return None
        return self._feedback.read(sample)

    def _climb(self, faults: tuple[ActiveFault, ...], view: View, now_ns: int) -> None:
        if self._estop is None and worst(faults) is Reaction.ESTOP:
            self._estop = f"{faults[0].subject} {faults[0].detail}"
        before = self.mode
        at_rest = self._brake.at_rest(self._envelope.velocity, now_ns)
        facts = Facts(self._estop, faults, self._disarm, self._halt, at_rest)
        self._change(*next_mode(before, facts))
        if self.mode in MOVING:
            self._brake.plan = None
            if before not in MOVING:
                self._limiter.ramp(now_ns)
        elif self.mode is Mode.DISARMED:
            if before is not Mode.DISARMED:
                self._settle()
        else:
            self._stop(before, facts, view, now_ns)

    def _settle(self) -> None:
        self._disarm = self._halt = None
        self._memory.disarmed()
        self._brake.plan = None
        self._envelope.start(None)

    def _stop(self, before: Mode, facts: Facts, view: View, now_ns: int) -> None:
        category = max(Reaction.STOP2, min(worst(facts.faults), Reaction.STOP0))
        if self.mode is Mode.ESTOP:
            overdue = self._brake.plan is not None and self._brake.plan.over(now_ns)
            failed = any(fault.fault.id == "stop_failed" for fault in facts.faults)
            category = Reaction.STOP0 if facts.at_rest or overdue or failed else Reaction.STOP1
        speed = np.maximum(np.abs(view.speed), np.abs(self._envelope.velocity))
        self._brake.demand(category, speed, now_ns, begins=self.mode is not before)
        if self.mode is Mode.STOPPED or (self.mode is Mode.ESTOP and facts.at_rest):
            self._brake.plan = None
        guard = guard_word(view)
        if self._brake.category is Reaction.STOP0:
            self._envelope.start(None)
        elif guard is not None and guard.state != "watching":
            # It brings the robot to rest without us: a ramp of ours would set it off again when it ends.
            self._envelope.start(view.motion.position if view.motion is not None else None)

    def _command(self, faults: tuple[ActiveFault, ...], view: View, dt_s: float) -> Verdict:
        step = view.inputs.step if self.mode in MOVING else None
        velocity = self._limiter.advance(step, faults, view, dt_s)
        if not view.inputs.early:
            self._commands.add(velocity)
        command_mode = CommandMode.RUN if step is not None else _STOP_MODES[self._brake.category]
        self._remember(command_mode, view)
        silent = self.mode in (Mode.BOOT, Mode.DISARMED) or command_mode is CommandMode.STOP0
        level = max((fault.fault.level for fault in faults), default=Level.SAFE)
        transitions, self._transitions = tuple(self._transitions), []
        return Verdict(
            mode=self.mode,
            level=Level.EMERGENCY if self.mode is Mode.ESTOP else level,
            faults=faults,
            command_mode=command_mode,
            kind=self._rules.robot.command,
            names=self._rules.limits.names,
            values=_NO_VALUES if silent else self._envelope.values(self._limiter.measured),
            source_stamp_ns=step.stamp_ns if step is not None else 0,
            transitions=transitions,
            estop_reason=self._estop,
        )

    def _remember(self, command_mode: CommandMode, view: View) -> None:
        """What is commanded and followed, and whether the robot moves: for the judgements to come."""
        if command_mode is not self._commanded or agrees(view):
            self._commanded, self._agreed_ns = command_mode, view.inputs.now_ns
        rest = self._rules.limits.rest
        self._moving = self.mode in ARMED and bool(
            np.count_nonzero(np.abs(view.speed) > rest)
            or np.count_nonzero(np.abs(self._envelope.velocity) > rest)
        )

    def _change(self, mode: Mode, cause: str) -> None:
        if mode is not self.mode:
            self._ease = None
            self._transitions.append(Transition(self.mode, mode, cause))
            self.mode = mode
