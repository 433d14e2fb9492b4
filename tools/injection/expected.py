"""What vlad must do about each kind of fault in each signal of the demo: the injection matrix in one place.

`faults`: one of these must show in the heartbeat; empty: none need, for the reason in `why`. `reaction`: the
least that must happen. `stop`: another command than run comes to the motors within `within_s` of the
injection, be it vlad's, the guard's or the receiver's own. `slow`: the mode is degraded. `report`: the fault
shows and the robot goes on. `none`: nothing can be seen, or nothing is wrong.

The times are those of etc/demo.toml: a signal's max_age_s and frozen_s, the hold times of the fault table,
and up to one period of the signal where the first false message must come in first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from tools.injection.kinds import Kind

OFF, STUCK, GARBAGE, WRONG = Kind.OFF, Kind.STUCK, Kind.GARBAGE, Kind.WRONG
SLOW, DELAYED, INTERMITTENT = Kind.SLOW, Kind.DELAYED, Kind.INTERMITTENT

Reaction: TypeAlias = Literal["stop", "slow", "report", "none"]


@dataclass(frozen=True, slots=True)
class Expected:
    """`watch_s`: how long a trial of it takes at most."""

    faults: frozenset[str]
    reaction: Reaction
    within_s: float = 0.0
    why: str = ""
    watch_s: float = 3.0


def stop(within_s: float, *faults: str, watch_s: float = 3.0, why: str = "") -> Expected:
    return Expected(frozenset(faults), "stop", within_s, why, watch_s)


def slow(*faults: str) -> Expected:
    return Expected(frozenset(faults), "slow")


def report(*faults: str, watch_s: float = 3.5) -> Expected:
    return Expected(frozenset(faults), "report", watch_s=watch_s)


def none(why: str) -> Expected:
    return Expected(frozenset(), "none", why=why)


INCIDENTAL = frozenset(
    {"obstacle", "obstacle_ahead", "collision_predicted", "chunk_envelope", "step_deviation", "chunk_jump"}
)
"""What may happen to any robot that drives: it proves neither a reaction nor a false alarm."""
BUSY = frozenset({"overrun", "queue_overflow", "cpu_high", "inference_late"})
"""What a loaded computer may cause beside the fault that is tried."""

_UNREAD = "not required, and no limit of the rover is judged by it"
_UPSIDE_DOWN = "a picture upside down is well formed; only the policy could know"
_TASK = "an instruction has no age: the one that stands stands"

EXPECTED: dict[tuple[str, Kind], Expected] = {
    ("camera", OFF): stop(0.2, "signal_stale"),
    ("camera", STUCK): stop(0.3, "signal_frozen"),
    ("camera", GARBAGE): slow("signal_bad"),
    ("camera", WRONG): none(_UPSIDE_DOWN),
    ("camera", SLOW): report("signal_rate", "signal_stale"),
    ("camera", DELAYED): stop(0.2, "signal_stale"),
    ("camera", INTERMITTENT): stop(0.2, "signal_stale"),
    ("laser", OFF): stop(0.35, "signal_stale"),
    ("laser", STUCK): stop(0.5, "signal_frozen"),
    ("laser", GARBAGE): slow("signal_bad", "signal_stale", "signal_invalid"),
    ("laser", WRONG): none("one scanner with a wrong scale: nothing to compare it with"),
    ("laser", SLOW): stop(0.35, "signal_stale"),
    ("laser", DELAYED): stop(0.35, "signal_stale"),
    ("laser", INTERMITTENT): report("signal_stale", "signal_rate"),
    ("odometry", OFF): stop(0.2, "signal_stale"),
    ("odometry", STUCK): stop(0.2, "signal_frozen"),
    ("odometry", GARBAGE): stop(0.2, "signal_stale"),
    ("odometry", WRONG): stop(0.5, "base_deviation", "velocity_limit", "acceleration_limit"),
    ("odometry", SLOW): report("signal_rate"),
    ("odometry", DELAYED): stop(0.2, "signal_stale"),
    ("odometry", INTERMITTENT): stop(0.2, "signal_stale"),
    ("joints", OFF): report("signal_rate"),
    ("joints", STUCK): none(_UNREAD),
    ("joints", GARBAGE): slow("signal_bad"),
    ("joints", WRONG): none(_UNREAD),
    ("joints", SLOW): report("signal_rate"),
    ("joints", DELAYED): none(_UNREAD),
    ("joints", INTERMITTENT): report("signal_rate"),
    ("imu", OFF): report("signal_rate"),
    ("imu", STUCK): none("not required: frozen content is looked for in required signals"),
    ("imu", GARBAGE): slow("signal_bad"),
    ("imu", WRONG): stop(0.06, "tilted"),
    ("imu", SLOW): report("signal_rate"),
    ("imu", DELAYED): none("not required: what is too old is not used"),
    ("imu", INTERMITTENT): report("signal_rate"),
    ("battery", OFF): stop(5.0, "signal_stale", watch_s=6.5),
    ("battery", STUCK): none("the charge changes too slowly to tell"),
    ("battery", GARBAGE): stop(5.0, "signal_stale", watch_s=6.5),
    ("battery", WRONG): stop(2.0, "battery_critical"),
    ("battery", SLOW): report("signal_rate", "signal_stale", watch_s=13.0),
    ("battery", DELAYED): none("half a second is nothing to a battery"),
    ("battery", INTERMITTENT): none("some messages are lost, none is older than 5 s"),
    ("bumper", OFF): stop(0.5, "signal_stale"),
    ("bumper", STUCK): none("says nothing is touched, as ever; a touch would show in base_deviation"),
    ("bumper", GARBAGE): stop(0.5, "signal_stale"),
    ("bumper", WRONG): stop(0.1, "contact"),
    ("bumper", SLOW): report("signal_stale", "signal_rate"),
    ("bumper", DELAYED): stop(0.5, "signal_stale"),
    ("bumper", INTERMITTENT): report("signal_rate"),
    ("estop", OFF): stop(0.5, "estop_silent"),
    ("estop", STUCK): none("says not pressed, as ever; the socket and the guard take an e-stop as well"),
    ("estop", GARBAGE): stop(0.5, "estop_silent"),
    ("estop", WRONG): stop(0.1, "estop_pressed", "estop"),
    ("estop", SLOW): report("estop_silent", "signal_rate"),
    ("estop", DELAYED): stop(0.5, "estop_silent"),
    ("estop", INTERMITTENT): report("signal_rate"),
    ("command_ack", OFF): stop(0.3, "signal_stale"),
    ("command_ack", STUCK): stop(0.35, "not_applied"),
    ("command_ack", GARBAGE): stop(0.3, "signal_stale"),
    ("command_ack", WRONG): stop(0.4, "not_applied"),
    ("command_ack", SLOW): report("signal_rate"),
    ("command_ack", DELAYED): stop(0.3, "signal_stale", "not_applied"),
    ("command_ack", INTERMITTENT): report("signal_stale", "not_applied", "signal_rate"),
    ("instruction", OFF): none(_TASK),
    ("instruction", STUCK): none(_TASK),
    ("instruction", GARBAGE): none("refused and counted; too few a second to be a fault"),
    ("instruction", WRONG): none("whoever may give instructions is obeyed, inside the envelope"),
    ("instruction", SLOW): none(_TASK),
    ("instruction", DELAYED): none(_TASK),
    ("instruction", INTERMITTENT): none(_TASK),
    ("command", OFF): stop(0.06, "not_applied", "base_deviation"),
    ("command", STUCK): stop(0.02, "not_applied", "base_deviation"),
    ("command", GARBAGE): stop(0.02, "not_applied", "base_deviation"),
    ("command", WRONG): stop(0.02, "not_applied", "base_deviation"),
    ("command", SLOW): none("a command lives 60 ms, and one comes every 50 ms"),
    ("command", DELAYED): stop(0.06, "not_applied", "base_deviation"),
    ("command", INTERMITTENT): stop(
        0.06, why="each loss is shorter than ack_s: the receiver stops, and vlad goes on with a ramp"
    ),
}

SIGNALS = tuple(dict.fromkeys(signal for signal, _ in EXPECTED))
KINDS = tuple(kind for kind in Kind if kind is not Kind.OK)
