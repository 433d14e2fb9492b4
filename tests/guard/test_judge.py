"""The guard's judgement, on a clock that the test moves."""

import pytest

from vlad.guard.frames import Button, Heartbeat
from vlad.guard.judge import EMERGENCY, MODES, MOVING, RESTING, Judge
from vlad.messages import Level, Mode
from vlad.safety.faults import FAULTS
from vlad.safety.ladder import MOVING as LADDER_MOVING
from vlad.safety.reaction import Reaction

MS = 1_000_000


class Watch:
    """A judge, a clock, and a daemon that speaks every 10 ms."""

    def __init__(self):
        self.judge = Judge(50 * MS)
        self.now_ns = 1_000_000 * MS
        self.seq = 0
        self.mode = "active"

    def wait(self, ms):
        self.now_ns += ms * MS
        self.judge.turn(self.now_ns)
        return self.judge.state

    def beat(self, count=1, **changes):
        for _ in range(count):
            self.wait(10)
            self.seq += 1
            heartbeat = Heartbeat(self.seq, self.now_ns, self.mode, 0, ())._replace(**changes)
            self.judge.hear(heartbeat, self.now_ns)
            self.judge.turn(self.now_ns)
        return self.judge.state

    def press(self, topic="left", age_ms=0):
        self.judge.button(Button(topic, self.now_ns - age_ms * MS, True))

    def release(self, topic="left", age_ms=0):
        self.judge.button(Button(topic, self.now_ns - age_ms * MS, False))


@pytest.fixture
def watch():
    return Watch()


def test_its_words_are_those_of_the_daemon():
    assert set(Mode) == MODES
    assert set(LADDER_MOVING) == MOVING
    assert {Mode.BOOT, Mode.DISARMED, Mode.STOPPED} == RESTING
    assert max(Level) == EMERGENCY


def test_no_fault_of_the_table_moves_the_robot_in_an_emergency():
    for fault in FAULTS.values():
        assert fault.level < Level.EMERGENCY or fault.reaction >= Reaction.STOP2, fault.id


def test_before_it_ever_heard_a_daemon_it_says_nothing(watch):
    assert watch.wait(10_000) == "watching"
    assert watch.judge.reason == "no daemon yet"
    assert not watch.judge.heard


def test_good_heartbeats_keep_it_watching(watch):
    assert watch.beat(1_000) == "watching"
    assert watch.judge.reason == ""
    assert watch.judge.heard


def test_silence_is_a_stop_and_not_before_its_time(watch):
    watch.beat(10)
    assert watch.judge.silent_from_ns == watch.now_ns + 50 * MS
    assert watch.wait(50) == "watching"
    assert watch.wait(1) == "stopping"
    assert watch.judge.reason == "no heartbeat for 51 ms"
    assert watch.judge.stop_mode == "stop1"


def test_heartbeats_that_come_later_and_later_are_silence(watch):
    watch.beat(10)
    began_ns = watch.now_ns
    states = [watch.beat(stamp_ns=began_ns + count * MS) for count in range(1, 8)]
    assert states == ["watching"] * 5 + ["stopping"] * 2


def test_heartbeats_that_waited_while_the_guard_slept_are_no_silence(watch):
    watch.beat(10)
    woken_ns = watch.now_ns + 200 * MS
    for count in range(1, 20):
        watch.judge.hear(
            Heartbeat(watch.seq + count, watch.now_ns + count * 10 * MS, "active", 0, ()), woken_ns
        )
    watch.judge.turn(woken_ns)
    assert watch.judge.state == "watching"


def test_a_gap_that_the_guard_slept_through_is_silence(watch):
    watch.beat(10)
    watch.now_ns += 60 * MS
    watch.judge.hear(Heartbeat(watch.seq + 1, watch.now_ns, "active", 0, ()), watch.now_ns)
    watch.judge.turn(watch.now_ns)
    assert watch.judge.state == "stopping"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"seq": 10}, "its number 10 comes after 10"),
        ({"seq": 3}, "its number 3 comes after 10"),
        ({"stamp_ns": 1}, "its stamp repeats or goes back"),
        ({"stamp_ns": 1_000_111 * MS}, "its stamp is 1.0 ms in the future"),
        ({"mode": "dancing"}, "its mode 'dancing' is unknown"),
        ({"level": 5, "faults": ("estop",)}, "its level 5 is unknown"),
        ({"mode": "estop", "level": 3}, "it is in estop with level 3"),
        ({"level": 3}, "it has level 3 and names no fault"),
        ({"mode": "stopped", "level": 4}, "it has level 4 and names no fault"),
        ({"level": 4, "faults": ("unbalanced",)}, "it moves the robot in an emergency (unbalanced)"),
        ({"mode": "degraded", "level": 4, "faults": ("x",)}, "it moves the robot in an emergency (x)"),
    ],
)
def test_a_heartbeat_that_contradicts_itself_is_a_stop(watch, changes, told):
    watch.beat(10)
    assert watch.beat(**changes) == "stopping"
    assert watch.judge.reason == f"a heartbeat contradicts itself: {told}"
    assert watch.judge.stop_mode == "stop1"


@pytest.mark.parametrize(
    "changes",
    [
        {"mode": "estop", "level": 4},
        {"mode": "estop", "level": 4, "faults": ("estop",)},
        {"mode": "degraded", "level": 3, "faults": ("overrun",)},
        {"mode": "stopping", "level": 4, "faults": ("unbalanced",)},
        {"level": 1, "faults": ("battery_low",)},
        {"seq": 500},
    ],
)
def test_a_heartbeat_that_makes_sense_is_none(watch, changes):
    watch.beat(10)
    assert watch.beat(**changes) == "watching"


def test_bytes_that_are_no_heartbeat_are_a_stop(watch):
    watch.beat(10)
    watch.judge.distrust("a heartbeat is none: it is cut off")
    assert watch.judge.state == "stopping"


@pytest.mark.parametrize("mode", ["active", "degraded", "stopping"])
def test_it_goes_on_stopping_while_the_daemon_does_not_say_that_the_robot_rests(watch, mode):
    watch.beat(10)
    watch.wait(60)
    watch.mode = mode
    assert watch.beat(500) == "stopping"


@pytest.mark.parametrize("mode", ["boot", "disarmed", "stopped"])
def test_it_ends_after_100_ms_of_good_heartbeats_at_rest(watch, mode):
    watch.beat(10)
    watch.wait(60)
    watch.mode = mode
    assert watch.beat(10) == "stopping"
    assert watch.beat(1) == "watching"
    assert watch.judge.reason == ""


def test_an_estop_is_a_rest_too(watch):
    watch.beat(10)
    watch.wait(60)
    assert watch.beat(11, mode="estop", level=4) == "watching"


def test_one_bad_heartbeat_starts_the_100_ms_anew(watch):
    watch.beat(10)
    watch.wait(60)
    watch.mode = "stopped"
    watch.beat(9)
    watch.beat(level=9)
    assert watch.beat(10) == "stopping"
    assert watch.beat(1) == "watching"


def test_a_daemon_that_was_started_anew_begins_with_1_again_after_a_silence(watch):
    watch.beat(100)
    watch.wait(300)
    watch.seq, watch.mode = 0, "boot"
    assert watch.beat(11) == "watching"


def test_a_number_that_stands_still_never_calms_it(watch):
    watch.beat(100)
    watch.mode = "stopped"
    for _ in range(100):
        state = watch.beat(seq=7)
    assert state == "stopping"


def test_a_robot_that_rested_is_held_when_its_daemon_ends(watch):
    watch.mode = "stopped"
    watch.beat(10)
    assert watch.wait(60) == "stopping"
    assert watch.judge.stop_mode == "hold"
    watch.judge.distrust("nonsense")
    assert watch.judge.stop_mode == "stop1"


def test_the_first_reason_is_kept(watch):
    watch.beat(10)
    watch.wait(60)
    watch.judge.distrust("nonsense")
    assert watch.judge.reason == "no heartbeat for 60 ms"


def test_a_button_is_an_estop_at_once(watch):
    watch.beat(10)
    watch.press()
    assert watch.judge.state == "estop"
    assert watch.judge.reason == "button 'left' pressed"
    assert watch.judge.stop_mode == "stop1"


def test_a_button_counts_before_any_daemon_and_stays_until_one_is_heard(watch):
    watch.press()
    watch.release()
    assert watch.wait(10_000) == "estop"
    watch.mode = "disarmed"
    assert watch.beat(11) == "watching"


def test_a_pressed_button_that_falls_silent_stays_pressed(watch):
    watch.press()
    watch.mode = "disarmed"
    assert watch.beat(1_000) == "estop"


def test_every_button_must_be_released(watch):
    watch.mode = "disarmed"
    watch.beat(10)
    watch.press("left")
    watch.press("right")
    watch.release("left")
    watch.release("middle")
    assert watch.beat(20) == "estop"
    watch.release("right")
    assert watch.beat(1) == "watching"


def test_a_release_from_before_the_press_is_none(watch):
    watch.mode = "disarmed"
    watch.beat(10)
    watch.press()
    watch.release(age_ms=1)
    assert watch.beat(20) == "estop"


def test_an_estop_ends_only_when_the_daemon_is_well_and_does_not_move_the_robot(watch):
    watch.beat(20)
    watch.press()
    watch.release()
    assert watch.beat(50) == "estop"
    watch.wait(60)
    assert watch.judge.state == "estop"
    assert watch.judge.reason == "button 'left' pressed"
    assert watch.beat(10, mode="estop", level=4) == "estop"
    assert watch.beat(1, mode="estop", level=4) == "watching"


def test_a_flood_of_buttons_is_bounded_and_still_an_estop(watch):
    for number in range(1_000):
        watch.press(f"button{number}")
    assert watch.judge.state == "estop"
    assert len(watch.judge._pressed) == 64
