"""Rates, gaps, refusals and frozen content: found, told once, and over when they are over."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from tests.safety.rig import TICK_NS, S
from tests.safety.signal_rig import HZ, Count, SignalRig
from vlad.config import Settings
from vlad.messages import (
    Battery,
    CompressedImage,
    Image,
    JointState,
    LaserScan,
    Odometry,
    PointCloud,
    Sample,
)
from vlad.safety.signals import SignalMonitor, _Conduct, _rate_hz, fingerprint
from vlad.safety.view import Inputs

FROZEN = {"camera": {"frozen_s": 0.3}}


class Bench:
    """A monitor alone, fed with one signal that comes at its nominal rate unless a test says otherwise."""

    def __init__(self, rate_hz=50.0, others=0, gap_fraction=0.1, **known):
        signals = {"imu": {"type": "imu", "rate_hz": rate_hz, **known}}
        signals |= {f"other{k}": {"type": "imu"} for k in range(others)}
        values = {"robot": {"limits": "r.toml"}, "signals": signals, "safety": {"gap_fraction": gap_fraction}}
        settings = Settings.model_validate(values)
        self.monitor = SignalMonitor(settings)
        self.count = Count()
        self.now_ns = 100 * S
        self.due_ns = float(self.now_ns)
        self.rate_hz = rate_hz
        self.samples = {}
        self.looked = 0

    def run(self, seconds, moving=False, closely=False, data=None, **each):
        """Let time pass; `each` is added to the counts with every sample that comes."""
        for _ in range(round(seconds * 100)):
            self.now_ns += TICK_NS
            while self.rate_hz and self.due_ns <= self.now_ns:
                stamp_ns = round(self.due_ns)
                self.samples["imu"] = Sample("imu", 0, stamp_ns, stamp_ns, "", data)
                self.count.received += 1
                for name, value in each.items():
                    setattr(self.count, name, getattr(self.count, name) + value)
                self.due_ns += S / self.rate_hz
            inputs = Inputs(self.now_ns, dict(self.samples), counts={"imu": self.count})
            self.monitor.watch(inputs, moving=moving, closely=closely)
        return [finding.fault for finding in self.monitor.findings]


@pytest.mark.parametrize("nominal_hz", [1.0, 7.0, 10.0, 30.0, 100.0, 333.0])
@pytest.mark.parametrize(("part", "fault"), [
    (1.0, []), (0.85, []), (1.15, []), (0.7, ["signal_rate"]), (1.3, ["signal_rate"]), (3.0, ["signal_rate"]),
])  # fmt: skip
def test_a_rate_beyond_its_tolerance_is_told_and_one_within_is_not(nominal_hz, part, fault):
    bench = Bench(nominal_hz)
    bench.rate_hz = nominal_hz * part
    bench.run(15)
    for _ in range(200):
        assert bench.run(0.03) == fault


def test_a_signal_that_jitters_around_its_rate_is_fine():
    bench = Bench(30.0)
    random = np.random.default_rng(3)
    for _ in range(600):
        bench.due_ns += random.uniform(-0.004, 0.004) * S
        assert bench.run(0.03) == []


def test_a_signal_that_falls_silent_has_no_rate_and_one_that_comes_back_has_one_again():
    bench = Bench(30.0)
    bench.run(2)
    bench.rate_hz, due_hz = 0, 30.0
    assert bench.run(1.5) == ["signal_rate"]
    bench.run(1)
    assert bench.monitor.findings[0].detail.startswith("0.0 Hz")
    bench.rate_hz, bench.due_ns = due_hz, float(bench.now_ns)
    assert bench.run(3) == []


def test_a_signal_that_never_came_has_no_rate_to_tell():
    bench = Bench(30.0)
    bench.rate_hz = 0
    assert bench.run(5) == []


def test_a_signal_that_is_not_periodic_has_no_rate_to_tell():
    bench = Bench(0.0)
    bench.rate_hz = 77.0
    assert bench.run(5) == []


@pytest.mark.parametrize(("each", "fault"), [
    ({"gaps": 1}, ["signal_gaps"]), ({"refused": 1}, ["signal_bad"]), ({"off_clock": 1}, ["signal_clock"]),
])  # fmt: skip
def test_what_is_lost_or_refused_is_told_while_it_lasts(each, fault):
    bench = Bench()
    assert bench.run(3) == []
    assert bench.run(2, **each) == fault
    assert bench.run(2) == []


def test_few_gaps_and_few_bad_messages_are_tolerated():
    bench = Bench()
    bench.run(2)
    for _ in range(10):
        bench.count.gaps += 4
        bench.count.refused += 4
        assert bench.run(1) == []


def test_as_many_gaps_as_the_fraction_are_tolerated():
    half = Bench(gap_fraction=0.5)
    half.run(2, gaps=1)
    assert half.run(2, gaps=1) == []
    less = Bench(gap_fraction=0.49)
    assert less.run(4, gaps=1) == ["signal_gaps"]


def test_a_driver_that_only_sends_rubbish_is_told_though_nothing_good_ever_came():
    bench = Bench()
    bench.rate_hz = 0
    for _ in range(30):
        bench.count.refused += 1
        bench.run(0.1)
    assert bench.run(0.01) == ["signal_bad"]


@pytest.mark.parametrize(("closely", "at_once"), [(False, 1), (True, 4)])
def test_one_signal_is_looked_at_in_a_turn_and_four_when_it_matters(closely, at_once):
    found = []
    for turn in range(12):
        bench = Bench(others=11)
        bench.run(3 + turn / 100, closely=closely)
        bench.count.off_clock += 1
        found += bench.run(0.01, closely=closely)
    assert found == ["signal_clock"] * at_once


def test_no_signal_is_looked_at_twice_in_a_turn():
    bench = Bench(others=1)
    bench.run(3)
    bench.count.off_clock += 1
    assert bench.run(0.01, closely=True) == ["signal_clock"]


def test_once_something_is_wrong_the_signals_of_an_armed_robot_are_looked_at_more_often():
    rig = SignalRig().driving()
    rig.tick(200)
    for count in rig.counts.values():
        count.off_clock += 1
    told = [len(rig.tick().faults) for _ in range(4)]
    assert told[0] == 1
    assert max(after - before for before, after in pairwise(told)) == min(4, len(rig.counts) - 1)


def test_a_robot_without_signals_is_watched_too():
    monitor = SignalMonitor(Settings.model_validate({"robot": {"limits": "r.toml"}, "signals": {}}))
    monitor.watch(Inputs(S, {}), moving=True, closely=True)
    assert (monitor.findings, monitor.frozen) == ((), {})


def test_what_queues_lose_counts_once():
    bench = Bench()
    lost = []
    for overflows in (7, 7, 9, 9, 12):
        bench.monitor.watch(Inputs(S, {}, overflows=overflows), moving=False, closely=False)
        lost.append(bench.monitor.lost)
    assert lost == [0, 0, 2, 0, 3]


def test_only_time_in_motion_makes_a_signal_frozen_and_only_new_content_frees_it():
    bench = Bench(frozen_s=0.3)
    bench.run(5, data="a")
    assert not bench.monitor.frozen
    bench.run(0.25, moving=True, data="a")
    assert not bench.monitor.frozen
    bench.run(0.2, moving=True, data="a")
    assert list(bench.monitor.frozen) == ["imu"]
    bench.run(5, data="a")
    assert list(bench.monitor.frozen) == ["imu"]
    bench.run(0.05, data="b")
    assert not bench.monitor.frozen


def test_motion_counts_from_when_the_content_was_received_not_from_the_tick_that_saw_it():
    bench = Bench(rate_hz=100.0, frozen_s=0.3)
    bench.due_ns += TICK_NS * 0.1
    bench.run(0.1, moving=True, data=1)
    bench.run(0.3, moving=True, data=2)
    assert not bench.monitor.frozen
    bench.run(0.01, moving=True, data=2)
    assert bench.monitor.frozen == {"imu": "the same content for 0.31 s of motion"}


def test_the_age_of_content_that_came_at_rest_is_not_motion():
    bench = Bench(rate_hz=5.0, frozen_s=0.3)
    bench.run(0.25, moving=True, data="a")
    bench.run(0.3, data="b")
    bench.run(0.28, moving=True, data="b")
    assert not bench.monitor.frozen
    bench.run(0.25, moving=True, data="b")
    assert list(bench.monitor.frozen) == ["imu"]


def test_a_signal_that_falls_silent_is_stale_and_not_frozen():
    bench = Bench(frozen_s=0.3)
    bench.run(1, moving=True, data=1)
    bench.run(0.03, moving=True, data=2)
    bench.rate_hz = 0
    bench.run(2, moving=True)
    assert not bench.monitor.frozen


def test_a_signal_that_never_came_is_not_frozen():
    bench = Bench(frozen_s=0.3)
    bench.rate_hz = 0
    bench.run(2, moving=True)
    assert not bench.monitor.frozen


def test_a_pause_of_the_tick_is_not_motion():
    bench = Bench(frozen_s=0.3)
    bench.run(0.1, moving=True, data=1)
    bench.now_ns += 10 * S
    bench.due_ns += 10 * S
    bench.run(0.05, moving=True, data=1)
    assert not bench.monitor.frozen


def test_a_stuck_camera_stops_a_moving_robot_in_its_time_and_a_tick():
    rig = SignalRig(FROZEN).driving()
    rig.stuck.add("camera")
    assert rig.tick(30).mode == "active"
    assert rig.tick(2).mode == "stopping"
    assert rig.causes[0].startswith("signal_frozen: camera the same content for 0.3")
    rig.tick(100)
    assert list(rig.kernel.frozen) == ["camera"]
    assert [cause.fault.id for cause in rig.kernel.reset(rig.sense())] == ["signal_frozen"]
    rig.stuck.clear()
    rig.tick(50)
    assert rig.kernel.reset(rig.sense()) == ()


def test_of_two_signals_that_may_not_freeze_only_the_one_that_does_is_told():
    rig = SignalRig({"camera": {"frozen_s": 0.3}, "command_ack": {"frozen_s": 0.3}}).driving()
    rig.stuck.add("camera")
    rig.tick(60)
    assert list(rig.kernel.frozen) == ["camera"]


def test_a_camera_may_show_the_same_while_the_robot_stands():
    rig = SignalRig(FROZEN).armed()
    rig.stuck.add("camera")
    assert rig.tick(500).mode == "active"


def test_a_camera_that_shows_the_same_while_the_robot_is_pushed_about_refuses_no_arming():
    rig = SignalRig({"camera": {"frozen_s": 0.3}})
    rig.stuck.add("camera")
    rig.obeys = False
    rig.velocity[:] = (0.5, 0.0)
    rig.tick(100)
    rig.velocity[:] = 0
    rig.tick(10)
    assert rig.kernel.arm(rig.sense()) == ()


def test_a_robot_that_is_told_to_move_and_measured_at_rest_counts_as_moving():
    rig = SignalRig({"odometry": {"frozen_s": 0.3}}).armed()
    rig.stuck.add("odometry")
    rig.wanted = [0.8, 0.0]
    rig.tick(60)
    assert "signal_frozen" in rig.ids()


@pytest.mark.parametrize(("speed", "frozen"), [(0.05, ["camera"]), (0.01, [])])
def test_a_robot_that_is_pushed_moves_though_nothing_is_commanded(speed, frozen):
    rig = SignalRig(FROZEN).armed()
    rig.obeys = False
    rig.velocity[0] = speed
    rig.stuck.add("camera")
    rig.tick(40)
    assert list(rig.kernel.frozen) == frozen


def test_a_frozen_signal_that_is_not_required_stops_nothing():
    rig = SignalRig({"camera": {"frozen_s": 0.3, "required": False}}).driving()
    rig.stuck.add("camera")
    assert rig.tick(100).mode == "active"


def test_a_stale_signal_is_told_as_stale_and_not_for_its_rate_too():
    rig = SignalRig().driving()
    rig.silent.add("camera")
    rig.tick(300)
    assert "signal_stale" in rig.ids()
    assert "signal_rate" not in rig.ids()


def test_what_is_no_scan_and_what_never_came_is_told():
    rig = SignalRig()
    rig.data["laser"] = Battery(0.9, 24.0, -1.0, 30.0)
    rig.silent |= {"estop", "camera"}
    told = {(fault.fault.id, fault.subject, fault.detail) for fault in rig.tick().faults}
    assert told >= {
        ("signal_invalid", "laser", "is no laser scan with any beams"),
        ("estop_silent", "estop", "never came"), ("signal_missing", "camera", "never came"),
    }  # fmt: skip


def test_an_optional_signal_that_falls_silent_is_told_for_its_rate():
    rig = SignalRig({"imu": {"type": "imu", "required": False, "rate_hz": HZ}}).driving()
    rig.silent.add("imu")
    verdict = rig.tick(400)
    assert [(fault.fault.id, fault.subject) for fault in verdict.faults] == [("signal_rate", "imu")]
    assert verdict.mode == "active"


def image(shape=(48, 64, 3), **changed):
    pixels = np.zeros(shape, np.uint8)
    for at, value in changed.get("at", ()):
        pixels.reshape(-1)[at] = value
    return Image("rgb8", pixels)


SCAN = LaserScan(-1.0, 0.1, 0.0, 8.0, np.ones(360, np.float32))
JOINTS = JointState(("a", "b"), position=np.ones(2, np.float32))


@pytest.mark.parametrize(("one", "other"), [
    (image(), image(at=[(0, 1)])),
    (image(), image((64, 48, 3))),
    (image((2, 2, 3)), image((2, 2, 3), at=[(11, 1)])),
    (CompressedImage("jpeg", memoryview(b"a" * 5000)),
     CompressedImage("jpeg", memoryview(b"a" * 4000 + b"b" + b"a" * 999))),
    (CompressedImage("jpeg", memoryview(b"a" * 9000)),
     CompressedImage("jpeg", memoryview(b"a" * 8999 + b"b"))),
    (SCAN, replace(SCAN, ranges=np.full(360, 2, np.float32))),
    (SCAN, replace(SCAN, angle_min=0.0)),
    (JOINTS, replace(JOINTS, position=np.array([1, 1.0001], np.float32))),
    (JOINTS, replace(JOINTS, effort=np.ones(2, np.float32))),
    (PointCloud(("x",), np.zeros((5, 1), np.float32)), PointCloud(("x",), np.ones((5, 1), np.float32))),
    (Odometry("b", (0, 0, 0), (0, 0, 0, 1), (1, 0, 0), (0, 0, 0)),
     Odometry("b", (0.01, 0, 0), (0, 0, 0, 1), (1, 0, 0), (0, 0, 0))),
])  # fmt: skip
def test_other_content_has_another_fingerprint_and_the_same_content_the_same(one, other):
    assert fingerprint(one) != fingerprint(other)
    assert fingerprint(one) == fingerprint(replace(one))


def test_a_large_picture_is_only_sampled():
    assert fingerprint(image((200, 200, 3))) == fingerprint(image((200, 200, 3), at=[(1, 9)]))


def test_a_change_in_every_second_column_is_seen():
    changed = np.zeros((128, 128), np.uint8)
    changed[:, 1::2] = 9
    assert fingerprint(Image("mono8", np.zeros_like(changed))) != fingerprint(Image("mono8", changed))


def test_what_is_not_measured_never_counts_as_frozen():
    assert fingerprint(Battery(0.5, float("nan"), 1, 1)) != fingerprint(Battery(0.5, float("nan"), 1, 1))


def test_noise_anywhere_in_a_large_picture_is_seen():
    random = np.random.default_rng(0)
    one = Image("rgb8", random.integers(0, 255, (1080, 1920, 3), dtype=np.uint8))
    noisy = one.pixels.copy()
    noisy[400:, 900:] += random.integers(0, 3, noisy[400:, 900:].shape, dtype=np.uint8)
    assert fingerprint(one) != fingerprint(Image("rgb8", noisy))


@pytest.mark.parametrize(("received", "came_ns", "passed_ns", "hz"), [
    (5, S, S, 5.0), (5, S // 2, S // 2, 10.0), (5, S // 2, 2 * S, 3.0), (1, 0, 0, 1e9), (2, 0, 2, 2e9),
    (0, 0, S, 0.0),
])  # fmt: skip
def test_a_rate_counts_from_newest_to_newest_and_falls_once_the_next_is_overdue(
    received, came_ns, passed_ns, hz
):
    assert _rate_hz(received, came_ns, passed_ns) == pytest.approx(hz)


class Looked:
    """The conduct of a signal of 10 Hz, looked at with counts as they stand."""

    def __init__(self, **safety):
        signals = {"imu": {"type": "imu", "rate_hz": 10.0}}
        values = {"robot": {"limits": "r.toml"}, "signals": signals, "safety": safety}
        settings = Settings.model_validate(values)
        self.conduct = _Conduct("imu", settings.signals["imu"], settings.safety)

    def look(self, at_s, came_s, received, gaps=0, refused=0, off_clock=0):
        """What is found at this time, when the newest sample came at `came_s`."""
        came_ns = round(came_s * S)
        sample = Sample("imu", 0, came_ns, came_ns, "", None)
        self.conduct.look(Count(received, gaps, refused, off_clock), sample, round(at_s * S))
        return {finding.fault: finding.detail for finding in self.conduct.findings}


def test_the_window_moves_on_in_quarters_of_itself():
    signal = Looked()
    signal.look(1.0, 1.0, 10)
    for quarter in range(1, 5):
        found = signal.look(1 + quarter / 4, 1 + quarter / 4, 10 + 10 * quarter // 4, gaps=9)
    assert set(found) == {"signal_gaps"}
    assert signal.look(2.25, 2.25, 22, gaps=9) == {}


def test_a_rate_falls_while_the_next_sample_is_overdue():
    signal = Looked()
    signal.look(1.0, 1.0, 10)
    assert signal.look(2.0, 1.5, 15) == {"signal_rate": "6.0 Hz, nominal 10.0 Hz"}


@pytest.mark.parametrize(("received", "told"), [(7, True), (8, False), (12, False), (13, True)])
def test_a_rate_at_the_edge_of_what_is_tolerated_is_tolerated(received, told):
    signal = Looked()
    signal.look(1.0, 1.0, 10)
    assert bool(signal.look(2.0, 2.0, 10 + received)) is told


def test_bad_messages_at_the_limit_are_tolerated():
    signal = Looked(bad_hz=2.0)
    signal.look(1.0, 1.0, 10)
    assert signal.look(2.0, 2.0, 20, refused=2) == {}
    assert signal.look(2.0, 2.0, 20, refused=3) == {"signal_bad": "3.0 messages/s refused"}


def test_all_that_is_wrong_with_a_signal_is_told_at_once():
    signal = Looked(bad_hz=2.0)
    signal.look(1.0, 1.0, 10, 3, 3, 3)
    assert signal.look(2.0, 2.0, 15, 8, 8, 5) == {
        "signal_rate": "5.0 Hz, nominal 10.0 Hz",
        "signal_gaps": "5 of 10 messages missing",
        "signal_bad": "5.0 messages/s refused",
        "signal_clock": "2 messages with a stamp that cannot be",
    }
