"""The table of expectations, and how a trial is judged against it."""

import numpy as np
import pytest

from tools.benchmarks.rig import ROOT
from tools.injection.expected import BUSY, EXPECTED, INCIDENTAL, KINDS, SIGNALS, none, report, slow, stop
from tools.injection.kinds import Kind
from tools.injection.trial import judge, worlds
from tools.injection.witness import Envelope, Notes
from vlad.clock import NS_PER_S
from vlad.config import load_settings
from vlad.messages import Command, CommandMode
from vlad.messages import Kind as CommandKind
from vlad.safety.faults import FAULTS
from vlad.safety.reaction import Reaction

SETTINGS, ROBOT = load_settings(ROOT / "etc" / "demo.toml")
AT_NS = 1_000 * NS_PER_S
MS = 1_000_000


def test_every_signal_of_the_demo_and_every_kind_has_its_row():
    signals = {*SETTINGS.signals, "command"} - {
        "task_result"
    }  # the referee's verdict; nothing is done with it
    assert set(EXPECTED) == {(signal, kind) for signal in signals for kind in KINDS}
    assert set(SIGNALS) == signals
    assert set(KINDS) == set(Kind) - {Kind.OK}


def test_every_row_names_faults_of_the_table_or_says_why_there_are_none():
    for cell, row in EXPECTED.items():
        assert row.faults <= set(FAULTS), cell
        assert bool(row.why) == (not row.faults), cell
        assert row.why or row.reaction != "none", cell
        assert (row.within_s > 0) is (row.reaction == "stop"), cell
        assert row.watch_s > row.within_s + 0.5, cell
    assert set(FAULTS) >= INCIDENTAL | BUSY


def test_a_stop_is_expected_only_of_faults_that_stop():
    for cell, row in EXPECTED.items():
        if row.reaction == "stop":
            assert all(FAULTS[fault].reaction >= Reaction.STOP2 for fault in row.faults), cell
        if row.reaction == "slow":
            assert all(FAULTS[fault].reaction >= Reaction.SLOW for fault in row.faults), cell


@pytest.mark.parametrize("signal", sorted(set(SETTINGS.signals) & set(SIGNALS)))
def test_the_deadline_of_a_dead_signal_is_its_largest_age(signal):
    row = EXPECTED[signal, Kind.OFF]
    if row.reaction == "stop":
        assert row.within_s == SETTINGS.signals[signal].max_age_s


def test_the_first_worlds_have_a_long_way_to_go():
    ways = worlds()
    assert len(set(ways)) > 50


# judging ----------------------------------------------------------------------------------------------------


def notes(stop_ms=None, modes=("active",), **faults_ms):
    made = Notes(modes=list(modes), faults={name: AT_NS + ms * MS for name, ms in faults_ms.items()})
    if stop_ms is not None:
        made.stopped_ns, made.stopped_by = AT_NS + stop_ms * MS, "hold"
    return made


def test_a_stop_with_its_fault_is_right_and_timed():
    outcome = judge(notes(150, signal_stale=149), AT_NS, stop(0.2, "signal_stale"), "camera")
    assert outcome.ok
    assert outcome.stop_s == 0.15


@pytest.mark.parametrize(
    ("seen", "expected", "verdict"),
    [
        (notes(signal_stale=100), stop(0.2, "signal_stale"), "no stop"),
        (notes(150, contact=149), stop(0.2, "signal_stale"), "none of signal_stale"),
        (notes(150, signal_stale=-1), stop(0.2, "signal_stale"), "none of signal_stale"),
        (notes(signal_bad=100), slow("signal_bad"), "not slowed"),
        (notes(), report("signal_rate"), "none of signal_rate"),
        (notes(tilted=10), none("because"), "not expected: tilted"),
    ],
)
def test_what_is_otherwise_than_expected_is_said(seen, expected, verdict):
    outcome = judge(seen, AT_NS, expected, "camera")
    assert not outcome.ok
    assert verdict in outcome.verdict


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (notes(modes=("active", "degraded"), signal_bad=100), slow("signal_bad")),
        (notes(200, signal_bad=100), slow("signal_bad")),
        (notes(signal_rate=100), report("signal_rate")),
        (notes(100, obstacle=90, signal_rate=5), none("because")),
    ],
)
def test_what_is_as_expected_is_right(seen, expected):
    assert judge(seen, AT_NS, expected, "camera").ok


def test_a_stop_that_the_computer_caused_tells_nothing():
    seen = notes(150, signal_stale=149)
    seen.stopped_by = "stop1 silence"
    assert judge(seen, AT_NS, stop(0.2, "signal_stale"), "camera").spoiled
    assert not judge(seen, AT_NS, stop(0.2, "signal_stale"), "command").spoiled
    assert judge(notes(150, overrun_stop=1), AT_NS, none("because"), "command").spoiled


# the envelope -----------------------------------------------------------------------------------------------


def command(at_ms, linear, mode=CommandMode.RUN, angular=0.0):
    values = np.array([linear, angular], np.float32)
    names = ("linear_x", "angular_z")
    return Command(at_ms, AT_NS + at_ms * MS, 60, mode, CommandKind.TWIST, names, values, 1)


def looked_at(*commands):
    envelope = Envelope(ROBOT)
    return [envelope.look(one) for one in commands]


def test_a_drive_within_the_limits_is_not_remarked_on():
    ramp = [command(10 * number, min(0.015 * number, 0.8)) for number in range(80)]
    assert not any(looked_at(*ramp))
    braking = [command(10 * number, 0.8 - 0.02 * number, CommandMode.HOLD) for number in range(40)]
    assert not any(looked_at(*braking))


def test_what_is_too_fast_or_too_sudden_is_remarked_on():
    assert "velocity" in looked_at(command(0, 0.9))[0]
    assert "velocity" in looked_at(command(0, 0.0, angular=-2.1))[0]
    assert looked_at(command(0, 0.3), command(10, 0.35))[1]
    assert looked_at(command(0, 0.3), command(10, 0.25))[1]


def test_a_stop_that_the_driver_shapes_is_not_remarked_on():
    assert not looked_at(command(0, 0.5), command(10, 0.0, CommandMode.STOP1))[1]


def test_going_on_at_full_speed_after_a_gap_is_remarked_on():
    assert not looked_at(command(0, 0.5), command(50, 0.5))[1]
    assert looked_at(command(0, 0.5), command(360, 0.5))[1], "the motors have braked meanwhile"
    assert not looked_at(command(0, 0.5), command(360, 0.05))[1]
