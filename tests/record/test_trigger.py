"""When something is recorded, and for how long: decided without a clock, a disk or a robot."""

from __future__ import annotations

from typing import Any

from vlad.feed import FaultSeen, Turn
from vlad.messages import Level, Mode
from vlad.record.trigger import FOREVER_NS, Trigger, Wanted

S = 1_000_000_000
START = 100 * S
STALE = FaultSeen("signal_stale", "camera", "", Level.DANGER, 2)
CAUTION = FaultSeen("signal_rate", "camera", "", Level.CAUTION, 0)
TURN = Turn(START, Mode.ACTIVE, Level.SAFE, False, 0, 0, "", (), "", None, 0, 0)


def turn_at(seconds: float, **changes: Any) -> Turn:
    """One turn, so long after the start."""
    return TURN._replace(now_ns=START + round(seconds * S), **changes)


QUIET = turn_at(0)


def trigger(*turns: Turn, continuous: bool = False) -> Trigger:
    made = Trigger(30 * S, 10 * S, continuous=continuous)
    for turn in turns:
        made.turn(turn)
    return made


def wanted(made: Trigger) -> Wanted:
    assert made.wanted is not None
    return made.wanted


def kinds(made: Trigger) -> list[str]:
    return [cause.kind for cause in wanted(made).causes]


def test_a_quiet_robot_records_nothing() -> None:
    assert trigger(QUIET, turn_at(1)).wanted is None


def test_a_stop_records_30_s_before_and_10_s_after() -> None:
    made = trigger(QUIET, turn_at(1, stop="disarm: by me"))
    assert (wanted(made).from_ns, wanted(made).until_ns) == (START - 29 * S, START + 11 * S)
    assert kinds(made) == ["stop"]


def test_a_fault_from_danger_up_records_once_when_it_begins() -> None:
    turns = [turn_at(k, faults=(STALE,), mode=Mode.STOPPED) for k in range(3)]
    made = trigger(QUIET, *turns)
    assert kinds(made) == ["fault"]
    assert wanted(made).until_ns == START + 10 * S
    made.turn(turn_at(4))
    made.turn(turn_at(5, faults=(STALE,), mode=Mode.STOPPED))
    assert kinds(made) == ["fault", "fault"]


def test_a_lesser_fault_is_none_of_its_business_while_the_robot_is_disarmed() -> None:
    said: dict[str, Any] = {"mode": Mode.DISARMED, "level": Level.CAUTION, "faults": (CAUTION,)}
    assert trigger(turn_at(0, **said), turn_at(60, **said)).wanted is None


def test_drivers_that_are_not_there_at_the_start_are_no_news_but_later_ones_are() -> None:
    said: dict[str, Any] = {"mode": Mode.DISARMED, "level": Level.DANGER, "faults": (STALE,)}
    made = trigger(turn_at(0, **said), turn_at(60, **said))
    assert made.wanted is None
    made.turn(turn_at(61, mode=Mode.DISARMED))
    made.turn(turn_at(62, **said))
    assert kinds(made) == ["fault"]


def test_an_estop_that_was_latched_before_the_start_is_no_news() -> None:
    latched = turn_at(0, mode=Mode.ESTOP, level=Level.EMERGENCY, faults=(STALE,))
    assert trigger(latched, latched._replace(now_ns=START + S)).wanted is None


def test_causes_that_overlap_are_one_recording() -> None:
    made = trigger(QUIET)
    made.call("mark", "a", START)
    made.call("mark", "b", START + 9 * S)
    assert kinds(made) == ["mark", "mark"]
    assert (wanted(made).from_ns, wanted(made).until_ns) == (START - 30 * S, START + 19 * S)
    made.call("mark", "c", START + 19 * S)
    assert [cause.detail for cause in wanted(made).causes] == ["c"], "the one before was over"


def test_while_the_level_is_caution_everything_is_recorded_until_it_is_safe_again() -> None:
    said: dict[str, Any] = {"level": Level.CAUTION, "faults": (CAUTION,)}
    made = trigger(*(turn_at(k, **said) for k in range(100)))
    assert kinds(made) == ["caution"]
    assert (wanted(made).from_ns, wanted(made).until_ns) == (START - 30 * S, START + 109 * S)
    made.turn(turn_at(100, mode=Mode.STOPPED, **said))
    assert wanted(made).until_ns == START + 109 * S, "a robot that stands there is recorded no longer"


def test_causes_do_not_pile_up() -> None:
    made = trigger(QUIET)
    for k in range(1_000):
        made.call("mark", str(k), START + k)
    assert len(wanted(made).causes) <= 100
    assert wanted(made).causes[-1].detail == "999"


def test_what_was_started_goes_on_until_it_is_stopped() -> None:
    made = trigger(QUIET)
    made.start("me", START)
    made.call("mark", "", START + S)
    assert wanted(made).until_ns == FOREVER_NS
    made.stop(START + 60 * S)
    assert wanted(made).until_ns == START + 60 * S
    made.stop(START + 70 * S)
    assert wanted(made).until_ns == START + 60 * S, "there was nothing to stop any more"


def test_continuous_is_for_ever_and_knows_what_happened_meanwhile() -> None:
    made = trigger(QUIET, turn_at(0, stop="x"), continuous=True)
    assert wanted(made).until_ns == FOREVER_NS
    assert kinds(made) == ["continuous", "stop"]
