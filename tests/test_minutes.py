"""What is kept of each minute: that minute alone, and sums that outlast the process."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.safety.rig import rover
from vlad.clock import FakeClock
from vlad.computer.measured import Gpu, Measured
from vlad.messages import Battery, Sample
from vlad.minutes import Minutes
from vlad.operation import Operation
from vlad.queues import Latest
from vlad.record.history import Minute
from vlad.record.store import Totals
from vlad.statistics import Window

S = 10**9


class Daemon:
    """As much of one as a minute looks at."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.kept: list[Minute | Totals] = []
        self.events = SimpleNamespace(keep=lambda *entries: self.kept.extend(entries))
        self.computer = SimpleNamespace(measured=Latest[Measured]())
        self.watchdog = SimpleNamespace(
            lateness_ns=Window(6_000), age_ns=Window(6_000), counts=SimpleNamespace(missed=0)
        )
        self.inference: Any = SimpleNamespace(inferences=0, latency_ns=Window(1_000))
        self.operation = Operation(rover(), self.clock.now_ns(), lambda: None)
        self.health = SimpleNamespace(report=lambda: {"score": 0.75})
        known = {"battery": SimpleNamespace(type="battery"), "camera": SimpleNamespace(type="image")}
        self.settings = SimpleNamespace(signals=known)
        self.ingest = SimpleNamespace(latest={topic: Latest[Sample]() for topic in known})

    def minute(self, minutes: Minutes, seconds: int = 60, **values: Any) -> dict[str, float]:
        for _ in range(seconds):
            self.clock.advance(1)
            self.computer.measured.put(Measured(self.clock.now_ns(), **values))
            minutes._look()
        minutes._keep()
        kept = self.kept[-2]
        assert isinstance(kept, Minute)
        return kept.values


def test_percentiles_and_rates_are_of_that_minute_alone() -> None:
    daemon = Daemon()
    minutes = Minutes(daemon)  # type: ignore[arg-type]
    for latency_ms in (5, 50):
        for _ in range(600):
            daemon.inference.latency_ns.add(latency_ms * 1e6)
            daemon.watchdog.age_ns.add(latency_ms * 2e6)
        daemon.inference.inferences += 600
        values = daemon.minute(minutes)
        assert values["inference_p50_ms"] == values["inference_p99_ms"] == latency_ms
        assert values["age_p99_ms"] == 2 * latency_ms
        assert values["inference_hz"] == pytest.approx(10.0)
        assert values["inferences"] == 600
    values = daemon.minute(minutes)
    assert "inference_p50_ms" not in values, "there was none"
    assert values["inference_hz"] == 0.0


def test_another_policy_begins_at_nothing() -> None:
    daemon = Daemon()
    minutes = Minutes(daemon)  # type: ignore[arg-type]
    daemon.inference.inferences = 600
    daemon.minute(minutes)
    daemon.inference = SimpleNamespace(inferences=30, latency_ns=Window(1_000))
    daemon.inference.latency_ns.add(7e6)
    values = daemon.minute(minutes)
    assert (values["inferences"], values["inference_p50_ms"]) == (30, 7.0)
    daemon.inference = None
    assert "inference_hz" not in daemon.minute(minutes)
    assert daemon.operation.totals()["inferences"] == 630


def test_what_is_measured_each_second_is_averaged_and_what_is_not_is_left_out() -> None:
    daemon = Daemon()
    minutes = Minutes(daemon)  # type: ignore[arg-type]
    gpus = (Gpu("gpu 0", memory=0.5, watts=30.0), Gpu("gpu 1", memory=0.25, watts=10.0))
    battery = Battery(0.5, 24.0, -1.0, 30.0)
    now_ns = daemon.clock.now_ns() + S
    daemon.ingest.latest["battery"].put(Sample("battery", 0, now_ns, now_ns, "", battery))
    values = daemon.minute(minutes, 2, cpu=0.25, gpus=gpus, celsius={"a": 40.0, "b": 60.0}, rails={"in": 9.0})
    daemon.clock.advance(60)
    assert (values["cpu"], values["gpu_memory"], values["gpu_w"], values["celsius"]) == (
        0.25,
        0.5,
        40.0,
        60.0,
    )
    assert (values["battery"], values["power_w"], values["health"]) == (0.5, 9.0, 0.75)
    assert "memory" not in values
    assert values["process_mb"] > 1
    assert "battery" not in daemon.minute(minutes, 1), "the newest is old"


def test_measurements_that_stopped_are_not_repeated() -> None:
    daemon = Daemon()
    minutes = Minutes(daemon)  # type: ignore[arg-type]
    daemon.minute(minutes, cpu=0.9)
    for _ in range(60):
        daemon.clock.advance(1)
        minutes._look()
    minutes._keep()
    kept = daemon.kept[-2]
    assert isinstance(kept, Minute)
    assert kept.values.get("cpu", 0.9) == 0.9
    for _ in range(60):
        daemon.clock.advance(1)
        minutes._look()
    minutes._keep()
    kept = daemon.kept[-2]
    assert isinstance(kept, Minute)
    assert "cpu" not in kept.values


def test_the_last_minute_says_how_short_it_was_and_that_the_end_was_clean() -> None:
    daemon = Daemon()
    minutes = Minutes(daemon)  # type: ignore[arg-type]
    daemon.clock.advance(7)
    minutes.end(clean=True)
    minute, totals = daemon.kept
    assert isinstance(minute, Minute)
    assert isinstance(totals, Totals)
    assert minute.values["seconds"] == pytest.approx(7.0)
    assert (totals.values["starts"], totals.values["clean_ends"]) == (1, 1)


@given(st.lists(st.floats(0, 1e9), max_size=40), st.integers(1, 12), st.integers(0, 45))
def test_a_window_tells_of_the_newest_alone(values: list[float], capacity: int, since: int) -> None:
    window = Window(capacity)
    for value in values:
        window.add(value)
    newest = values[since:][-capacity:]
    lowest, highest = window.percentiles(0, 100, since=since)
    assert (lowest, highest) == ((min(newest), max(newest)) if newest else (None, None))
    if newest:
        (middle,) = window.percentiles(50, since=since)
        assert middle == np.sort(newest)[round(0.5 * (len(newest) - 1))]


def test_a_wall_clock_set_back_by_a_year_changes_only_the_label() -> None:
    daemon = Daemon()
    minutes = Minutes(daemon)  # type: ignore[arg-type]
    first = daemon.minute(minutes, cpu=0.5)
    daemon.clock.jump_wall(-365 * 86_400)
    second = daemon.minute(minutes, cpu=0.5)
    before, after = (kept for kept in daemon.kept if isinstance(kept, Minute))
    assert before.wall_ns - after.wall_ns == (365 * 86_400 - 60) * S
    assert first["seconds"] == second["seconds"] == 60.0
