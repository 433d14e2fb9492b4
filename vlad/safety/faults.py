"""The table of faults: what can go wrong, what the robot does about it, and when it may go on.

A new fault is a row here and a function in checks.py. How a reaction clears follows one thought: nobody
must be surprised by motion. What says that the way is not free *now* (an obstacle, no fresh chunk) clears by
itself, and motion resumes with a ramp. What says that the robot's knowledge or its obedience failed (a dead
sensor, a stop that was not followed) waits for a person.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum

from vlad.messages import Level


class Reaction(IntEnum):
    """What the robot does; ordered, the worst active one wins. Stop categories as in IEC 60204-1."""

    REPORT = 0
    SLOW = 1
    STOP2 = 2
    """Controlled stop, then hold under power."""
    STOP1 = 3
    """Controlled stop, then power off."""
    STOP0 = 4
    """Power off now."""
    ESTOP = 5
    """Latched emergency stop: category 1, and 0 once at rest or when the stop takes too long."""

    def __str__(self) -> str:
        return self.name.lower()


class Clears(StrEnum):
    """When a fault that acted on an armed robot is over, once its cause is gone."""

    ITSELF = "by itself"
    """After `clear_s` without the cause."""
    DISARM = "on disarm"
    RESET = "on reset"
    NEVER = "never"
    """Not before the daemon is started anew."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A row of the table. A fault that was raised while the robot was not armed clears by itself, too."""

    id: str
    meaning: str
    level: Level
    reaction: Reaction
    clears: Clears
    hint: str
    """For the operator: how to mend it."""
    hold_s: float = 0.0
    """The cause must last this long before the fault acts."""
    clear_s: float = 0.3
    """The cause must be gone this long before the fault is over."""
    factor: float = 1.0
    """What the speed limits are multiplied by, for Reaction.SLOW."""
    only_armed: bool = False
    """Looked for only while the robot is armed, so that it never refuses arming."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check saw in one judgement. `subject` is a signal, a joint or a part; `severity` 0 to 1."""

    fault: str
    subject: str
    detail: str
    severity: float = 1.0


@dataclass(frozen=True, slots=True)
class ActiveFault:
    """A fault that acts, or that refuses arming or a reset."""

    fault: Fault
    subject: str
    detail: str
    severity: float
    since_ns: int


_OPERATOR = (
    Fault(
        "estop", "The operator called for an emergency stop.",
        Level.EMERGENCY, Reaction.ESTOP, Clears.RESET,
        "Find out why, make the place safe, then `vladctl reset` and `vladctl arm`.",
    ),
    Fault(
        "estop_pressed", "An emergency stop button is pressed.",
        Level.EMERGENCY, Reaction.ESTOP, Clears.RESET,
        "Make the place safe, release the button, then `vladctl reset` and `vladctl arm`.",
    ),
    Fault(
        "estop_silent", "A required emergency stop button is not heard.",
        Level.DANGER, Reaction.STOP1, Clears.RESET,
        "Check that the button's driver runs and its cable is whole; then `vladctl reset`.",
    ),
)  # fmt: skip

_SIGNALS = (
    Fault(
        "signal_missing", "A required signal never came.",
        Level.DANGER, Reaction.STOP2, Clears.RESET,
        "Start the signal's driver, and compare its topic and endpoint with the settings (`vladctl doctor`).",
    ),
    Fault(
        "signal_stale", "The newest sample of a required signal is too old, or stamped in the future.",
        Level.DANGER, Reaction.STOP2, Clears.RESET,
        "Check the driver, its cable and its clock (`vladctl status` shows ages); then `vladctl reset`.",
    ),
    Fault(
        "signal_invalid", "A signal that the safety tick needs makes no sense.",
        Level.DANGER, Reaction.STOP2, Clears.RESET,
        "Compare what the driver sends with the robot's limits file; then `vladctl reset`.",
    ),
    Fault(
        "battery_low", "The battery is below 20 %.",
        Level.CAUTION, Reaction.SLOW, Clears.ITSELF,
        "Drive to the charger soon.", clear_s=10.0, factor=0.5,
    ),
    Fault(
        "battery_critical", "The battery is below 10 %.",
        Level.DANGER, Reaction.STOP1, Clears.RESET,
        "Charge the battery, then `vladctl reset`.", hold_s=1.0,
    ),
)  # fmt: skip

_ACTION = (
    Fault(
        "silence", "An instruction stands, but no new action chunk came for safety.silence_s.",
        Level.WARNING, Reaction.STOP2, Clears.ITSELF,
        "See why the policy is silent: `vladctl status` (policy), and its camera.", only_armed=True,
    ),
    Fault(
        "chunk_used_up", "The action chunk has no steps left.",
        Level.WARNING, Reaction.STOP2, Clears.ITSELF,
        "Inference is slower than the chunk is long: use a faster backend or a longer horizon.",
        only_armed=True,
    ),
    Fault(
        "chunk_old", "The frame behind the action chunk is older than policy.max_chunk_age_s.",
        Level.WARNING, Reaction.STOP2, Clears.ITSELF,
        "Check the camera's rate and the inference time in `vladctl status`.", only_armed=True,
    ),
    Fault(
        "chunk_refused", "The policy made an action chunk that must not be followed; it was thrown away.",
        Level.WARNING, Reaction.SLOW, Clears.ITSELF,
        "Check the bundle against the robot (`vladctl model list`) and what the policy is shown.",
        clear_s=0.5, factor=0.5,
    ),
    Fault(
        "step_invalid", "The step that is due is not finite, or not meant for this robot.",
        Level.DANGER, Reaction.STOP2, Clears.ITSELF,
        "This is a defect of the daemon: report it, with the event log.", clear_s=0.5, only_armed=True,
    ),
    Fault(
        "collision_predicted", "The policy itself expects a collision.",
        Level.WARNING, Reaction.STOP2, Clears.ITSELF,
        "Clear the way, or give another instruction; the limit is safety.collision_threshold.",
        hold_s=0.1, clear_s=0.5, only_armed=True,
    ),
)  # fmt: skip

_COMPUTE = (
    Fault(
        "inference_late", "An inference takes longer than policy.deadline_s.",
        Level.WARNING, Reaction.SLOW, Clears.ITSELF,
        "Look for other load on this computer, or use a faster backend.", clear_s=0.5, factor=0.5,
    ),
    Fault(
        "overrun", "The safety tick missed safety.overruns_slow periods in a row.",
        Level.WARNING, Reaction.SLOW, Clears.ITSELF,
        "Look for other load on this computer; `vladctl doctor` checks the real-time settings.",
        clear_s=1.0, factor=0.5,
    ),
    Fault(
        "overrun_stop", "The safety tick missed safety.overruns_stop periods in a row.",
        Level.DANGER, Reaction.STOP2, Clears.ITSELF,
        "Look for other load on this computer; `vladctl doctor` checks the real-time settings.", clear_s=1.0,
    ),
    Fault(
        "part_failed", "A part that the daemon cannot do without died.",
        Level.DANGER, Reaction.STOP2, Clears.NEVER,
        "See `vladctl status` (parts) and the log for why; then start the daemon anew.",
    ),
)  # fmt: skip

_SPACE = (
    Fault(
        "obstacle", "The robot cannot come to rest before what the laser sees in its way.",
        Level.WARNING, Reaction.STOP2, Clears.ITSELF,
        "Clear the way; the robot goes on by itself, and may turn or back away.", only_armed=True,
    ),
    Fault(
        "obstacle_ahead", "The way is blocked: the robot waits, but may turn or back away.",
        Level.CAUTION, Reaction.REPORT, Clears.ITSELF,
        "Clear the way, or give another instruction.", hold_s=0.3, only_armed=True,
    ),
    Fault(
        "contact", "The robot touches something.",
        Level.DANGER, Reaction.STOP1, Clears.RESET,
        "Look at what it touches, move one of the two away, then `vladctl reset`.",
    ),
)  # fmt: skip

_MOTION = (
    Fault(
        "position_limit", "A joint is measured beyond its limits.",
        Level.DANGER, Reaction.STOP2, Clears.DISARM,
        "Move the joint back by hand or with the robot's own controller, then arm again.",
    ),
    Fault(
        "velocity_limit", "The robot moves faster than its limits allow.",
        Level.DANGER, Reaction.STOP2, Clears.RESET,
        "Check the motor driver and its gains, and the robot's limits file; then `vladctl reset`.",
        hold_s=0.1, only_armed=True,
    ),
    Fault(
        "stop_late", "A controlled stop does not slow the robot as planned, or nothing confirms it.",
        Level.DANGER, Reaction.STOP1, Clears.RESET,
        "Check the motor driver, the brakes and the feedback signal; then `vladctl reset`.", hold_s=0.05,
    ),
    Fault(
        "stop_failed", "The robot still moves after a category 1 stop.",
        Level.EMERGENCY, Reaction.STOP0, Clears.RESET,
        "Cut the power at the robot. Check the motor driver before you use it again.", hold_s=0.05,
    ),
)  # fmt: skip

_REFUSALS = (
    Fault(
        "not_disarmed", "Arming starts from DISARMED only.",
        Level.CAUTION, Reaction.REPORT, Clears.ITSELF,
        "Use `vladctl reset` first; it moves nothing.",
    ),
    Fault(
        "moving", "The robot is not known to be at rest.",
        Level.CAUTION, Reaction.REPORT, Clears.ITSELF,
        "Wait until it stands still, and check the feedback signal.",
    ),
)  # fmt: skip

FAULTS: dict[str, Fault] = {
    fault.id: fault for fault in (*_OPERATOR, *_SIGNALS, *_ACTION, *_COMPUTE, *_SPACE, *_MOTION, *_REFUSALS)
}
"""Every fault by its id. Those of the last group only ever refuse an arming or a reset."""


def active(finding: Finding, since_ns: int) -> ActiveFault:
    """The row of a finding, with the finding's particulars."""
    return ActiveFault(FAULTS[finding.fault], finding.subject, finding.detail, finding.severity, since_ns)
