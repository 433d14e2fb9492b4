"""The components of the computer and of the daemon, from what was measured and counted."""

from math import inf, isnan, nan

import pytest

from vlad.clock import NS_PER_S as S
from vlad.computer.measured import Gpu, Interface, Measured, Timekeeping
from vlad.config import SignalSettings
from vlad.health.figures import Figures, PartFigures, PolicyFigures, SignalFigures, TickFigures
from vlad.health.judge import Judge
from vlad.health.machine import machine_readings
from vlad.health.parts import DaemonParts
from vlad.health.settings import HealthSettings

EVERYTHING = Measured(
    0, cpu=0.2, memory=0.9, disk=0.3, celsius={"cpu": 61.0, "nvme": 40.0}, rails={"VDD_IN": 8.2},
    gpus=(Gpu("gpu 0", 0.5, 1.0, 85.0, 300.0, 1.0),), interfaces={"eth0": Interface(False), "wlan0":
    Interface(True, 0.03, 2e6)}, clock=Timekeeping(True, 0.2, 0.01),
)  # fmt: skip


def machine(measured):
    report = Judge().judge(0, machine_readings(measured, HealthSettings()))
    return {component.name: component for component in report.components}


def test_every_part_of_a_computer_is_a_component_that_tells_what_is_bad():
    found = machine(EVERYTHING)
    assert {name: (part.level.name, part.text) for name, part in found.items()} == {
        "cpu": ("SAFE", "20% used"),
        "memory": ("WARNING", "90% used"),
        "disk": ("SAFE", "30% used"),
        "temperature": ("CAUTION", "61 degrees (cpu)"),
        "power": ("SAFE", "VDD_IN 8.2 W"),
        "gpu 0": ("DANGER", "85 degrees, 1 memory errors"),
        "network eth0": ("DANGER", "down"),
        "network wlan0": ("CAUTION", "3.0% of packets lost"),
        "clock": ("CAUTION", "200.0 ms off"),
    }
    assert found["temperature"].readings == {"hottest": 61.0, "cpu": 61.0, "nvme": 40.0}
    assert found["gpu 0"].readings["power"] == 300.0
    assert all(part.action for part in found.values() if part.level)


def test_a_busy_gpu_is_a_healthy_one():
    (gpu,) = (part for name, part in machine(Measured(0, gpus=(Gpu("gpu", busy=1.0, watts=700.0),))).items()
              if name == "gpu")  # fmt: skip
    assert gpu.score is None
    assert gpu.text == "busy 100%, 700 W"


def test_a_computer_that_tells_nothing_has_no_score():
    report = Judge().judge(0, machine_readings(Measured(0), HealthSettings()))
    assert report.score is None
    assert {component.text for component in report.components} == {"not known"}


def test_a_clock_that_nothing_sets_right_is_a_caution_with_most_of_its_score():
    clock = machine(Measured(0, clock=Timekeeping(False, 0.0, 16.0)))["clock"]
    assert (clock.level.name, clock.score) == ("CAUTION", pytest.approx(0.8))


class Daemon:
    """Makes up the figures of a daemon whose every part is well, second by second."""

    def __init__(self):
        self.signals = {
            "camera": SignalSettings(type="image", rate_hz=30, max_age_s=0.2),
            "imu": SignalSettings(type="imu", rate_hz=100, required=False),
            "instruction": SignalSettings(type="instruction", required=False),
        }
        self.parts = DaemonParts()
        self.second = 0
        self.tick = [0, 0, 0]
        self.dropped = 0
        self.problem = ""
        self.lost = ""
        self.part = PartFigures("running", 0, "")
        self.policy = PolicyFigures(0, 0.0, "")
        self.counts = {topic: [0, 0, 0, nan] for topic in self.signals}
        self.per_s = {"camera": 30}

    def after(self, seconds):
        for _ in range(seconds):
            self.second += 1
            self.tick[0] += 100
            for topic, hz in self.per_s.items():
                self.counts[topic][0] += hz
                self.counts[topic][3] = 0.02 if hz else self.counts[topic][3] + 1
            figures = Figures(
                self.second * S, TickFigures(*self.tick), self.dropped, self.problem, self.lost,
                {"control": self.part},
                {topic: SignalFigures(*counts) for topic, counts in self.counts.items()},
                self.signals, self.policy,
            )  # fmt: skip
            readings = self.parts.readings(figures, figures.stamp_ns)
            self.figures = figures
        report = Judge().judge(self.second * S, readings)
        return {component.name: component for component in report.components}


def levels(found):
    return {name: part.level.name for name, part in found.items() if part.level}


def test_a_daemon_that_is_well_is_well_and_what_never_came_is_not_known():
    found = Daemon().after(20)
    assert levels(found) == {}
    assert found["signal camera"].text == "0.02 s old, 30.0 of 30 Hz"
    assert found["signal imu"].score is None
    assert found["signal instruction"].score is None


def test_a_required_signal_that_never_came_has_no_score_left():
    daemon = Daemon()
    daemon.per_s = {}
    camera = daemon.after(5)["signal camera"]
    assert (camera.score, camera.level.name, camera.text) == (0.0, "DANGER", "never came")
    assert camera.readings["stale"] == inf


@pytest.mark.parametrize(
    ("hz", "level"), [(29, None), (22, "CAUTION"), (13, "WARNING"), (2, "DANGER"), (300, None)]
)
def test_a_signal_that_comes_too_rarely(hz, level):
    daemon = Daemon()
    daemon.per_s["camera"] = hz
    assert levels(daemon.after(20)) == ({"signal camera": level} if level else {})


def test_a_rate_that_is_not_known_yet_is_not_too_low():
    camera = Daemon().after(2)["signal camera"]
    assert isnan(camera.readings["too few"])


def test_a_slow_signal_is_given_the_time_of_ten_of_its_periods():
    daemon = Daemon()
    daemon.signals["camera"] = SignalSettings(type="battery", rate_hz=0.2, max_age_s=20)
    daemon.parts = DaemonParts()
    daemon.per_s = {}
    for number in range(60):
        daemon.counts["camera"][0] += 1
        daemon.counts["camera"][3] = 0.1
        assert levels(daemon.after(5)) == {}, number


def test_a_loop_that_is_held_up_is_seen_from_outside():
    daemon = Daemon()
    daemon.after(20)
    later_ns = daemon.figures.stamp_ns + 12 * S
    report = Judge().judge(later_ns, daemon.parts.readings(daemon.figures, later_ns))
    (tick,) = (part for part in report.components if part.name == "tick")
    assert (tick.score, tick.text) == (0.0, "the loop is silent for 12 s")


def test_a_signal_that_went_away():
    daemon = Daemon()
    daemon.per_s["imu"] = 100
    daemon.after(20)
    daemon.per_s |= {"camera": 0, "imu": 0}
    assert levels(daemon.after(20)) == {"signal camera": "DANGER", "signal imu": "CAUTION"}


def test_what_is_lost_and_refused_counts_for_ten_seconds():
    daemon = Daemon()
    daemon.after(20)
    daemon.counts["camera"][1] += 50
    daemon.counts["instruction"][2] += 1
    found = daemon.after(1)
    assert levels(found) == {"signal camera": "WARNING", "signal instruction": "DANGER"}
    assert "50 messages lost" in found["signal camera"].text
    assert levels(daemon.after(11)) == {}


def test_ticks_that_were_missed_or_late_count_for_a_minute():
    daemon = Daemon()
    daemon.after(60)
    daemon.tick[1] += 70
    assert levels(daemon.after(1)) == {"tick": "WARNING"}
    assert levels(daemon.after(61)) == {}
    daemon.tick[2] += 100
    found = daemon.after(1)
    assert levels(found) == {"tick": "CAUTION"}
    assert found["tick"].text == "100 late by 5 ms in a minute"


def test_events_that_cannot_be_stored_or_were_dropped():
    daemon = Daemon()
    daemon.after(5)
    daemon.dropped = 20
    assert levels(daemon.after(1)) == {"storage": "WARNING"}
    daemon.problem = "/state/vlad.db: events cannot be stored (disk full)"
    found = daemon.after(70)
    assert (levels(found), found["storage"].text) == ({"storage": "DANGER"}, daemon.problem)


def test_a_corrupt_database_that_was_moved_aside_stays_a_warning():
    daemon = Daemon()
    daemon.after(5)
    daemon.lost = "/state/vlad.db was corrupt and is now /state/vlad.db.corrupt"
    found = daemon.after(600)
    assert (levels(found), found["storage"].text) == ({"storage": "WARNING"}, daemon.lost)
    assert "Is the disk sound" in found["storage"].action


def test_a_part_that_was_restarted_counts_for_ten_minutes():
    daemon = Daemon()
    daemon.after(2)
    daemon.part = PartFigures("running", 3, "OSError: x")
    assert levels(daemon.after(1)) == {"part control": "WARNING"}
    assert levels(daemon.after(601)) == {}
    daemon.part = PartFigures("failed", 3, "OSError: x")
    found = daemon.after(1)
    assert (found["part control"].score, found["part control"].text) == (0.0, "failed: OSError: x")


def test_a_policy_that_is_late_or_lost_or_not_there():
    daemon = Daemon()
    daemon.policy = PolicyFigures(100, 0.3, "")
    assert levels(daemon.after(1)) == {"policy": "WARNING"}
    daemon.policy = PolicyFigures(100, 0.0, "the server does not answer")
    found = daemon.after(1)
    assert found["policy"].text == "the server does not answer"
    assert found["policy"].score == 0.0
    daemon.policy = None
    assert "policy" not in daemon.after(1)
