"""Every benchmark runs and prints what it promises. What the figures are is not judged here."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tools.benchmarks.__main__ import names
from tools.benchmarks.report import at_least, at_most, percentiles
from tools.benchmarks.stalls import missed_alone

ROOT = Path(__file__).resolve().parents[2]
SHORT = {
    "chunks": ["--worlds", "1"],
    "faults": ["--signals", "camera", "--kinds", "off"],
    "fallback": ["--trials", "2"],
    "jitter": ["--seconds", "1"],
    "kill": ["--kill", "1", "--freeze", "1", "--gil", "1"],
    "latency": ["--seconds", "2", "--presses", "3"],
    "page": ["--seconds", "1", "--presses", "2", "--browsers", "2"],
    "overhead": ["--pairs", "1", "--seconds", "1"],
    "policy": ["--runs", "20", "--models", "onnx", "openvino", "export"],
    "ingest": ["--seconds", "2"],
    "record_kill": ["--kills", "3"],
    "remote": ["--trials", "2", "--questions", "10"],
    "safety_tick": ["--ticks", "200"],
    "soak": ["--minutes", "0.1", "--messages", "600"],
    "swap": ["--swaps", "1"],
    "start": ["--starts", "1", "--seconds", "1"],
}


def test_every_benchmark_is_run_here():
    assert names() == sorted(SHORT)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(SHORT))
def test_a_benchmark_prints_one_json_object_with_its_targets(name):
    command = name.replace("_", "-")
    words = [sys.executable, "-m", "tools.benchmarks", command, "--json", *SHORT[name]]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["name"] == command
    assert report["conditions"]["cpus"] >= 1
    assert report["results"]
    assert report["targets"]
    for target in report["targets"]:
        assert set(target) == {"name", "value", "limit", "ok"}


def test_a_target_is_met_at_its_limit_and_not_beyond():
    assert at_most("p99", 4.0, 4.0).ok
    assert not at_most("p99", 4.01, 4.0).ok
    assert at_least("reached", 90, 90).ok
    assert not at_least("reached", 89, 90).ok


def test_percentiles_of_nothing_are_an_error_and_not_a_number():
    assert percentiles(np.arange(101), "ms")["p99_ms"] == 99
    with pytest.raises(ValueError, match="nothing"):
        percentiles([], "ms")


def turns(*each_ms):
    """When each ran, and how late [ms], as the notes have it."""
    return tuple(np.array(row, np.int64).reshape(-1) * 1_000_000 for row in np.reshape(each_ms, (-1, 2)).T)


@pytest.mark.parametrize(
    ("tick", "loops", "missed"),
    [
        ((1000, 25), [turns((990, 1)), turns()], 2),
        ((1000, 9), [turns(), turns()], 0),
        ((1000, 25), [turns((990, 1)), turns((1001, 24))], 0),
        ((1000, 25), [turns((985, 8)), turns((1000, 7))], 1),
        ((1000, 12), [turns((980, 30)), turns((1030, 30))], 1),
        ((1000, 25), [turns((1010, 40)), turns()], 0),
    ],
)
def test_a_missed_tick_counts_less_the_longest_time_that_a_cpu_stood_still(tick, loops, missed):
    assert missed_alone(turns((500, 0), tick), loops) == missed
