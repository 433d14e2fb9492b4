"""What is counted at each turn and each chunk is what happened, no more and no less."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.safety.rig import Rig
from tests.test_daemon import FEED, UNLOCKED, await_command, await_status
from tools.benchmarks.rig import rig, write_policy
from vlad.clock import NS_PER_S, FakeClock, Tick
from vlad.ctl.client import Client
from vlad.driver import CommandReceiver
from vlad.jsontext import to_json
from vlad.messages import Chunk, CommandMode, Kind, Level, Mode
from vlad.metrics import Metrics, Pace
from vlad.record.journal import Journal
from vlad.safety.kernel import Verdict
from vlad.safety.ladder import Transition
from vlad.statistics import Histogram

PUNCTUAL = Tick(0, 80_000, 0, early=False)
EARLY = Tick(0, 0, 0, early=True)
NOTHING = np.zeros(0, np.float32)


def verdict(mode: Mode, commanded: CommandMode, before: Mode | None = None, source_ns: int = 0) -> Verdict:
    changes = () if before is None else (Transition(before, mode, "a test"),)
    return Verdict(
        mode, Level.SAFE, (), commanded, Kind.TWIST, ("linear_x",), NOTHING, source_ns, changes, None
    )


def turns(*verdicts: Verdict) -> Metrics:
    metrics = Metrics(0)
    for one in verdicts:
        metrics.turn(PUNCTUAL, one, 0)
    return metrics


def test_a_value_at_a_bound_is_counted_below_it():
    values = Histogram((10, 20))
    for value in (9, 10, 11, 20, 21):
        values.add(value)
    assert values.counts == [2, 2, 1]
    assert values.sum == 71


@given(st.lists(st.integers(-(10**12), 10**12)))
def test_every_value_is_counted_once(values: list[int]):
    counted = Histogram((0, 1_000, 1_000_000))
    for value in values:
        counted.add(value)
    assert sum(counted.counts) == len(values)
    assert counted.counts[-1] == sum(value > 1_000_000 for value in values)
    assert counted.sum == sum(values)


def test_lateness_is_of_turns_that_were_due():
    metrics = Metrics(0)
    for tick in (PUNCTUAL, EARLY, replace(PUNCTUAL, late_ns=7_000_000)):
        metrics.turn(tick, verdict(Mode.ACTIVE, CommandMode.RUN), 0)
    assert sum(metrics.lateness_ns.counts) == 2
    assert metrics.lateness_ns.sum == 7_080_000
    assert metrics.commands[CommandMode.RUN] == 3


def test_the_age_of_an_observation_is_counted_once_when_a_command_first_goes_by_it():
    metrics = Metrics(0)
    for source_ns, sent_ns in ((100, 150), (100, 200), (300, 340), (0, 400), (300, 500)):
        metrics.turn(PUNCTUAL, verdict(Mode.ACTIVE, CommandMode.RUN, source_ns=source_ns), sent_ns)
    assert sum(metrics.age_ns.counts) == 2
    assert metrics.age_ns.sum == 50 + 40


def test_a_stop_counts_when_it_begins_and_once_more_when_it_becomes_harder():
    going = verdict(Mode.ACTIVE, CommandMode.RUN)
    metrics = turns(
        going,
        verdict(Mode.STOPPING, CommandMode.HOLD, Mode.ACTIVE),
        verdict(Mode.STOPPING, CommandMode.HOLD),
        verdict(Mode.STOPPING, CommandMode.STOP1),
        verdict(Mode.STOPPED, CommandMode.STOP1, Mode.STOPPING),
        verdict(Mode.ACTIVE, CommandMode.RUN, Mode.STOPPED),
        verdict(Mode.STOPPING, CommandMode.HOLD, Mode.ACTIVE),
    )
    assert metrics.stops == {"2": 2, "1": 1, "0": 0}
    assert metrics.changes[Mode.STOPPING] == 2


def test_waiting_for_the_first_chunk_is_no_stop_nor_is_being_disarmed():
    metrics = turns(
        verdict(Mode.DISARMED, CommandMode.STOP0, Mode.BOOT),
        verdict(Mode.ACTIVE, CommandMode.HOLD, Mode.DISARMED),
        verdict(Mode.ACTIVE, CommandMode.RUN),
    )
    assert metrics.stops == {"2": 0, "1": 0, "0": 0}


def test_an_estop_that_was_latched_before_the_start_is_no_new_stop():
    assert turns(verdict(Mode.ESTOP, CommandMode.STOP0)).stops["0"] == 0
    assert turns(verdict(Mode.ESTOP, CommandMode.STOP0, Mode.DISARMED)).changes[Mode.ESTOP] == 1


def test_a_stop_of_the_real_kernel_is_counted():
    metrics, robot = Metrics(0), Rig().armed()
    metrics.turn(PUNCTUAL, robot.tick(), 0)
    robot.silent.add("laser")
    for _ in range(100):
        metrics.turn(PUNCTUAL, robot.tick(), 0)
    assert robot.kernel.mode in (Mode.STOPPING, Mode.STOPPED)
    assert metrics.stops == {"2": 1, "1": 0, "0": 0}


def test_each_fault_is_counted_when_it_begins():
    class Nowhere:
        def put(self, *words: Any, **data: Any) -> None:
            pass

    robot = Rig().armed()
    journal = Journal(Nowhere(), FakeClock())  # type: ignore[arg-type]
    journal.keep(robot.tick())
    assert journal.raised == {}
    robot.silent.add("laser")
    for _ in range(100):
        journal.keep(robot.tick())
    assert journal.raised["signal_stale"] == 1


def test_even_chunks_have_no_jitter_and_uneven_ones_have():
    even, uneven = Pace(0), Pace(0)
    for number in range(1, 101):
        even.add(number * 100_000_000, 50_000_000, 20)
        uneven.add(number * 100_000_000 + (number % 2) * 40_000_000, 50_000_000, 20)
    report = even.report(10 * NS_PER_S)
    assert report["jitter_s"] == 0.0
    assert abs(report["utilization"] - 0.5) < 0.01
    assert abs(report["actions_per_s"] - 200) < 5
    assert 0.03 < uneven.report(10 * NS_PER_S)["jitter_s"] < 0.05


def test_what_was_long_ago_says_nothing_of_the_pace_now():
    pace = Pace(0)
    for number in range(5):
        pace.add(number * NS_PER_S, NS_PER_S, 20)
    assert pace.report(60 * NS_PER_S) == {"jitter_s": None, "utilization": 0.0, "actions_per_s": 0.0}


@given(st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 10**10)), max_size=1_500))
def test_utilization_is_a_part_and_jitter_no_less_than_none(chunks: list[tuple[int, int]]):
    pace, now_ns = Pace(0), 0
    for apart_ns, took_ns in chunks:
        now_ns += apart_ns
        pace.add(now_ns, took_ns, 1)
    report = pace.report(now_ns)
    assert 0.0 <= report["utilization"] <= 1.0
    assert report["jitter_s"] is None or report["jitter_s"] >= 0.0
    assert report["actions_per_s"] >= 0.0


def test_a_chunk_counts_its_actions():
    metrics = Metrics(0)
    actions = np.zeros((20, 2), np.float32)
    chunk = Chunk(1, 0, 5_000_000, 1, Kind.TWIST, ("a", "b"), actions, "", 1)
    metrics.chunk(chunk, 4_000_000)
    assert metrics.actions == 20
    assert metrics.inference_ns.sum == 4_000_000


def test_a_real_daemon_counts_what_it_does_and_a_client_that_asks_all_the_time_costs_no_tick():
    signals = {"camera": {"type": "image", "max_age_s": 1.0}}
    with rig(signals, realtime=UNLOCKED) as made:
        made.policy["bundle"] = str(write_policy(made.folder / "models" / "bench", "camera", 32, rounds=0))
        made.start_daemon("vlad", "--config", made.write_settings())
        camera = made.feed(FEED)
        with CommandReceiver(made.commands) as made.motor:
            made.arm()
            await_command(made, CommandMode.RUN)
            first = made.call("metrics")
            with Client(made.run_dir, 5.0) as client:
                for _ in range(200):
                    answer = client.call("metrics")
            assert answer["tick"]["count"] > first["tick"]["count"]
            assert "overrun_stop" not in answer["raised"]
            assert answer["mode"] == "active"
            assert sum(answer["tick"]["lateness"]["counts"]) == answer["tick"]["count"]
            assert answer["commands"]["run"] > 0
            assert answer["policy"]["name"] == "bench"
            assert sum(answer["policy"]["age"]["counts"]) > 0
            assert answer["policy"]["actions"] == 20 * sum(answer["policy"]["inference"]["counts"])
            assert json.loads(to_json(answer)) == answer
            made.processes[camera].kill()
            await_status(made, lambda status: status["mode"] == "stopped")
            answer = made.call("metrics")
    assert answer["stops"]["2"] == 1
    assert answer["raised"]["signal_stale"] == 1
    assert answer["modes"]["stopping"] == 1
