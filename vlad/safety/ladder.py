"""The modes and the ways between them: a pure state machine.

    BOOT -> DISARMED -> (arm) ACTIVE <-> DEGRADED -> STOPPING <-> STOPPED        any -> ESTOP

`arm` and `reset` are acts of a person and are not steps of this ladder: the kernel makes them between two
judgements. By itself the ladder only goes down, with two exceptions: a stop whose causes all cleared by
themselves, and that nobody asked for, leads back to ACTIVE; and a robot that is not known to rest any more is
stopped anew, so that a standstill is watched like a stop (the safe operating stop of IEC 61800-5-2).
"""

from __future__ import annotations

from dataclasses import dataclass

from vlad.messages import Mode
from vlad.safety.reaction import ActiveFault, Reaction

ARMED = (Mode.ACTIVE, Mode.DEGRADED, Mode.STOPPING, Mode.STOPPED)
"""The modes in which the policy has the robot, or will have it again."""
MOVING = (Mode.ACTIVE, Mode.DEGRADED)
"""The modes in which the policy's commands are followed."""


@dataclass(frozen=True, slots=True)
class Transition:
    """A change of mode, and what caused it."""

    before: Mode
    after: Mode
    cause: str


@dataclass(frozen=True, slots=True)
class Facts:
    """All that decides about the next mode."""

    estop: str | None = None
    """Why there is an emergency stop; None: there is none."""
    faults: tuple[ActiveFault, ...] = ()
    """The worst first."""
    disarm: str | None = None
    """Why the robot shall be disarmed."""
    halt: str | None = None
    """Why it shall be stopped and held until a reset."""
    at_rest: bool = False


def worst(faults: tuple[ActiveFault, ...]) -> Reaction:
    """The reaction that wins."""
    return faults[0].fault.reaction if faults else Reaction.REPORT


def stop_cause(facts: Facts) -> str | None:
    """Why the robot must not move; None: it may."""
    if worst(facts.faults) >= Reaction.STOP2:
        return describe(facts.faults[0])
    if facts.halt is not None:
        return f"stop: {facts.halt}"
    return None if facts.disarm is None else f"disarm: {facts.disarm}"


def describe(fault: ActiveFault) -> str:
    """One line for the event log."""
    return f"{fault.fault.id}: {fault.subject} {fault.detail}".rstrip()


def next_mode(mode: Mode, facts: Facts) -> tuple[Mode, str]:
    """One step of the ladder: the mode from now on, and why it changed (meaningless where it did not)."""
    if facts.estop is not None:
        return Mode.ESTOP, f"estop: {facts.estop}"
    match mode:
        case Mode.BOOT:
            return Mode.DISARMED, "started"
        case Mode.DISARMED | Mode.ESTOP:
            return mode, ""
        case Mode.ACTIVE | Mode.DEGRADED:
            cause = stop_cause(facts)
            return (Mode.STOPPING, cause) if cause is not None else _going(facts)
        case _:
            return _stopped(facts)


def _going(facts: Facts) -> tuple[Mode, str]:
    if worst(facts.faults) is Reaction.SLOW:
        return Mode.DEGRADED, describe(facts.faults[0])
    return Mode.ACTIVE, "the faults cleared"


def _stopped(facts: Facts) -> tuple[Mode, str]:
    cause = stop_cause(facts)
    if cause is None:
        return _going(facts)
    if not facts.at_rest:
        return Mode.STOPPING, f"not at rest any more; {cause}"
    if facts.disarm is not None:
        return Mode.DISARMED, f"disarm: {facts.disarm}"
    return Mode.STOPPED, f"at rest; {cause}"
