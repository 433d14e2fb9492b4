"""Health as the daemon runs it: what gets into the event log, the status and out of the process."""

import asyncio
import contextlib
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.health.servers import Webhook, wait_until
from vlad.clock import FakeClock
from vlad.computer.measured import Gpu, Interface, Measured, Timekeeping
from vlad.config import SignalSettings
from vlad.health.figures import Figures, PartFigures, PolicyFigures, SignalFigures, TickFigures
from vlad.health.monitor import Health
from vlad.health.settings import HealthSettings

YEAR_S = 365 * 86_400
FIGURES = Figures(
    0, TickFigures(100, 0, 0), 0, "", "", {"control": PartFigures("running", 0, "")},
    {"camera": SignalFigures(10, 0, 0, 0.01)}, {"camera": SignalSettings(type="image")},
    PolicyFigures(1, 0.0, ""),
)  # fmt: skip


class Log:
    """An event log that remembers."""

    def __init__(self):
        self.events = []

    def put(self, kind, level, text, **data):
        self.events.append((kind, level.name, text, data))

    def told(self):
        return [(kind, level, text) for kind, level, text, _ in self.events]


class Rig:
    """A computer that is measured once a second, on a clock that tests move."""

    def __init__(self, **settings):
        self.clock = FakeClock()
        self.log = Log()
        self.health = Health(HealthSettings(**settings), "rover", self.clock, self.log)

    def measure(self, *memory, figures=None):
        for value in memory:
            self.clock.advance(1)
            if figures is not None:
                self.health._figures.put(replace(figures, stamp_ns=self.clock.now_ns()))
            self.health.judge(Measured(self.clock.now_ns(), memory=value, disk=0.1))
            self.health.tell()


@pytest.fixture
def rig():
    made = []

    def make(**settings):
        made.append(Rig(**settings))
        return made[-1]

    yield make
    for each in made:
        each.health.close()


def test_an_alert_and_its_end_are_in_the_event_log_and_the_status(rig):
    one = rig()
    one.measure(*[0.9] * 15)
    assert one.log.told() == [("alert", "WARNING", "memory: 90% used")]
    (alert,) = one.health.report()["alerts"]
    assert (alert["component"], alert["level"], alert["for_s"]) == ("memory", "WARNING", 4.0)
    one.measure(*[0.1] * 15)
    assert one.log.told()[1:] == [("alert_over", "SAFE", "memory: well again, after 15 s of WARNING")]
    assert [event[3]["id"] for event in one.log.events] == [alert["id"]] * 2
    assert one.health.report()["alerts"] == []


def test_another_level_is_told_as_such(rig):
    one = rig(raise_s=0, clear_s=0)
    one.measure(0.75, 0.99)
    assert one.log.told()[1:] == [
        ("alert_over", "SAFE", "memory: now DANGER, after 1 s of CAUTION"),
        ("alert", "DANGER", "memory: 99% used"),
    ]


def test_the_status_has_every_component_and_only_what_json_can_hold(rig):
    one = rig()
    one.measure(0.9, figures=FIGURES)
    report = one.health.report()
    json.dumps(report, allow_nan=False)
    assert report["score"] == pytest.approx(0.25)
    assert report["level"] == "WARNING"
    assert {"memory", "disk", "tick", "part control", "policy", "signal camera"} <= set(report["components"])
    memory = report["components"]["memory"]
    assert memory["text"] == "90% used"
    assert memory["risk"] == 0.75
    assert "ps aux" in memory["action"]
    assert report["components"]["cpu"]["score"] is None
    assert report["components"]["cpu"]["readings"] == {"used": None}


def test_before_the_first_measurement_the_status_says_so(rig):
    report = rig().health.report()
    assert (report["score"], report["age_s"], report["components"]) == (None, None, {})


def test_a_wall_clock_that_is_set_back_by_a_year_changes_nothing(rig):
    calm, jumping = rig(), rig()
    readings = [0.5 + 0.0007 * second for second in range(600)] + [0.1] * 60
    for second, reading in enumerate(readings):
        calm.measure(reading)
        jumping.measure(reading)
        if second % 100 == 50:
            jumping.clock.jump_wall(-YEAR_S if second % 200 == 50 else YEAR_S / 3)
    assert len(calm.log.told()) == 4
    assert jumping.log.told() == calm.log.told()
    assert jumping.health.report() == calm.health.report()


def test_alerts_are_posted_with_the_robots_name(rig):
    with Webhook() as server:
        one = rig(raise_s=0, clear_s=0, webhook=server.url)
        one.measure(0.9, 0.1)
        wait_until(lambda: len(server.got) == 2)
    begin, end = server.got
    assert (begin["event"], begin["robot"], begin["component"]) == ("alert", "rover", "memory")
    assert (begin["level"], begin["text"]) == ("WARNING", "90% used")
    assert (end["event"], end["id"], end["lasted_s"], end["now"]) == ("alert_over", begin["id"], 1.0, "SAFE")
    assert begin["wall_ns"] == 1_700_000_001 * 10**9


def test_an_outlet_that_refuses_is_told_once_and_again_when_it_is_well(rig):
    with Webhook() as server:
        server.statuses = [404, 404, 404]
        one = rig(raise_s=0, clear_s=0, webhook=f"{server.url}/secret")
        for sent in range(1, 4):
            one.measure(0.9 if sent % 2 else 0.1)
            wait_until(lambda sent=sent: one.health.report()["outlets"]["webhook"]["lost"] == sent)
            one.health.tell()
        one.measure(0.1, 0.9)
        wait_until(lambda: one.health.report()["outlets"]["webhook"]["delivered"] == 2)
        one.health.tell()
    outlet = [(kind, level, text) for kind, level, text in one.log.told() if kind == "alert_outlet"]
    assert outlet == [
        ("alert_outlet", "WARNING", "alerts do not get out: 127.0.0.1 answers with status 404"),
        ("alert_outlet", "SAFE", "alerts get out again"),
    ]


def test_a_thread_that_is_held_up_is_told_once_and_again_when_it_goes_on(rig):
    one = rig()
    one.measure(0.1)
    for _ in range(60):
        one.clock.advance(1)
        one.health.tell()
    assert one.health.report()["age_s"] == 60
    one.measure(0.1, 0.1)
    assert [(kind, level) for kind, level, _ in one.log.told()] == [
        ("alert", "WARNING"),
        ("alert_over", "SAFE"),
    ]
    assert "a disk or driver hangs" in one.log.told()[0][2]


async def test_the_loop_gives_its_figures_and_takes_what_was_found(rig):
    one = rig(raise_s=0)
    task = asyncio.create_task(one.health.run(lambda: replace(FIGURES, stamp_ns=one.clock.now_ns())))
    await asyncio.sleep(0)
    one.health.judge(Measured(one.clock.now_ns(), memory=0.9))
    assert "signal camera" in one.health.report()["components"]
    async with asyncio.timeout(20):
        while not one.log.events:
            await asyncio.sleep(0.01)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert one.log.told() == [("alert", "WARNING", "memory: 90% used")]


NUMBERS = st.floats()
MEASURED = st.builds(
    Measured,
    stamp_ns=st.just(0),
    cpu=NUMBERS,
    memory=NUMBERS,
    disk=NUMBERS,
    celsius=st.dictionaries(st.text(), NUMBERS, max_size=3),
    rails=st.dictionaries(st.text(), NUMBERS, max_size=2),
    gpus=st.lists(st.builds(Gpu, st.text(), *[NUMBERS] * 5), max_size=2).map(tuple),
    interfaces=st.dictionaries(st.text(), st.builds(Interface, st.booleans(), NUMBERS, NUMBERS), max_size=2),
    clock=st.none() | st.builds(Timekeeping, st.booleans(), NUMBERS, NUMBERS),
)


@given(st.lists(MEASURED, min_size=1, max_size=5))
def test_nothing_that_can_be_measured_ends_the_thread_or_breaks_the_status(measurements):
    one = Rig(raise_s=0, clear_s=0)
    for measured in measurements:
        one.clock.advance(1)
        one.health.judge(replace(measured, stamp_ns=one.clock.now_ns()))
        one.health.tell()
    json.dumps([one.health.report(), one.log.events], allow_nan=False)
