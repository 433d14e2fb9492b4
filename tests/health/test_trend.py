"""Where a reading is going: told where a line fits, and nowhere else."""

from itertools import accumulate
from math import inf, nan
from random import Random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from vlad.clock import NS_PER_S as S
from vlad.health.trend import Line, Trend

WINDOW_S = 600


def seen(values, window_s=WINDOW_S, period_s=1):
    trend = Trend(window_s)
    for number, value in enumerate(values):
        trend.add(round(number * period_s * S), value)
    return trend.line


def noise(count, seed=1, width=1.0):
    random = Random(seed)
    return [random.gauss(0, width) for _ in range(count)]


def test_a_line_is_found_with_its_slope_and_when_it_reaches_a_limit():
    line = seen(60 + 0.05 * second for second in range(600))
    assert line.per_s == pytest.approx(0.05)
    now_ns = 599 * S
    assert line.until(95, now_ns) == pytest.approx((95 - 60 - 0.05 * 599) / 0.05, abs=1)
    assert line.until(80, now_ns) == 0
    assert line.until(95, now_ns + 10 * S) == pytest.approx(line.until(95, now_ns) - 10)


def test_what_falls_never_gets_there():
    line = seen(60 - 0.05 * second for second in range(600))
    assert line.per_s == pytest.approx(-0.05)
    assert line.until(95, 599 * S) == inf


def test_a_line_is_found_through_noise_that_is_smaller_than_it():
    readings = (60 + 0.05 * second + error for second, error in enumerate(noise(600)))
    assert seen(readings).per_s == pytest.approx(0.05, rel=0.1)


def test_a_disk_that_fills_within_days_is_seen_within_hours():
    rate = 0.1 / 86_400  # a tenth of the disk a day
    line = seen((0.6 + rate * 60 * minute for minute in range(6 * 60)), window_s=6 * 3_600, period_s=60)
    assert line.until(0.95, 6 * 3_600 * S) / 86_400 == pytest.approx(3.25, rel=0.01)


@pytest.mark.parametrize("seed", range(20))
def test_noise_is_no_line(seed):
    assert seen(noise(600, seed)) is None


@given(st.integers(0, 2**32))
def test_a_line_through_noise_alone_tells_nothing(seed):
    assert seen([50 + value for value in noise(600, seed, 5.0)]) is None


def test_a_random_walk_is_hardly_ever_a_line():
    walks = (accumulate(noise(600, seed)) for seed in range(200))
    assert sum(seen(walk) is not None for walk in walks) < 20


@pytest.mark.parametrize(
    "readings",
    [
        [50.0] * 600,
        [50.0] * 300 + [60.0] * 300,
        [50.0] * 500 + [50 + 0.2 * second for second in range(100)],
        [50 + 30 * abs(300 - second) / 300 for second in range(600)],
        [float(min(second, 400)) for second in range(600)],
        [float(second) for second in range(100)],
        [nan] * 600,
        [inf] * 600,
    ],
    ids=[
        "constant",
        "step",
        "hockey stick",
        "there and back",
        "levels off",
        "too few",
        "unknown",
        "infinite",
    ],
)
def test_what_is_no_line_tells_nothing(readings):
    assert seen(readings) is None


def test_what_is_unknown_for_a_while_breaks_no_line():
    readings = [50 + 0.05 * second if second % 10 else nan for second in range(600)]
    assert seen(readings).per_s == pytest.approx(0.05, rel=1e-3)


def test_what_is_older_than_the_window_is_forgotten():
    up, down = [0.1 * second for second in range(600)], [60 - 0.1 * second for second in range(601)]
    assert seen(up + down).per_s == pytest.approx(-0.1, rel=0.01)


def test_after_a_long_pause_a_line_needs_new_readings():
    trend = Trend(WINDOW_S)
    for second in range(600):
        trend.add(second * S, 0.1 * second)
    assert trend.line is not None
    trend.add(10_000 * S, 50.0)
    trend.add(10_006 * S, 50.0)
    assert trend.line is None


@given(st.lists(st.floats(-1e12, 1e12), max_size=200), st.floats(1, 1e6))
def test_no_readings_make_it_fail_and_the_time_left_is_never_negative(values, limit):
    trend = Trend(120)
    for number, value in enumerate(values):
        trend.add(number * S, value)
    if trend.line is not None:
        assert trend.line.until(limit, len(values) * S) >= 0


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6), st.floats(-1e6, 1e6))
def test_the_time_left_leads_to_the_limit(value, per_s, limit):
    assume(limit - value > 1e-3)
    left_s = Line(0, value, per_s).until(limit, 0)
    assert value + per_s * left_s == pytest.approx(limit, rel=1e-6, abs=1e-3)
