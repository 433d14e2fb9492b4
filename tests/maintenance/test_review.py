"""The performance review: what did not change is hardly ever told, what got a fifth worse is."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlad.clock import NS_PER_S
from vlad.maintenance.review import FIGURES, chance, review
from vlad.maintenance.settings_checks import PerformanceReviewSettings
from vlad.record.history import Minute

DAY_NS = 86_400 * NS_PER_S
NOW_NS = 1_790_000_000 * NS_PER_S
SETTINGS = PerformanceReviewSettings()
USUAL = {
    "inference_p50_ms": 30.0, "inference_p99_ms": 45.0, "inference_hz": 25.0, "age_p99_ms": 80.0,
    "late_p99_ms": 1.0, "process_mb": 200.0, "memory": 0.5, "celsius": 55.0, "cpu": 0.4,
}  # fmt: skip
"""Large enough for a fifth of each to matter."""
HOURLY = {"missed_ticks": 6.0, "faults": 3.0, "interventions": 1.5}


def week(rng, first_day, days=7, factor=None, minutes=40, spread=0.04):
    """Days that differ from each other by 4 %, and minutes within them by 15 %."""
    factor, made = factor or {}, []
    for day in range(first_day, first_day + days):
        of_day = {
            name: value * factor.get(name, 1) * (1 + spread * rng.standard_normal())
            for name, value in USUAL.items()
        }
        for minute in range(minutes):
            values = {name: value * abs(1 + 0.15 * rng.standard_normal()) for name, value in of_day.items()}
            values |= {"seconds": 60.0, "armed_s": 60.0}
            for name, value in HOURLY.items():
                values[name] = float(rng.poisson(value * factor.get(name, 1) / 60))
            made.append(Minute(NOW_NS - day * DAY_NS - (minute + 1) * 60 * NS_PER_S, values))
    return made


def told(minutes, options=SETTINGS):
    return {finding.topic: finding for finding in review(minutes, NOW_NS, options)}


def worse(minutes):
    return {name for name, finding in told(minutes).items() if finding.state == "warning"}


def test_two_weeks_of_the_same_are_told_as_worse_in_no_more_than_five_of_a_hundred_reviews():
    rng = np.random.default_rng(7)
    false_alarms = sum(bool(worse(week(rng, 0) + week(rng, 7))) for _ in range(100))
    assert false_alarms <= 5


def test_noise_that_is_larger_than_what_matters_is_still_hardly_ever_told():
    rng = np.random.default_rng(8)
    false_alarms = sum(bool(worse(week(rng, 0, spread=0.3) + week(rng, 7, spread=0.3))) for _ in range(60))
    assert false_alarms <= 6


@pytest.mark.parametrize("name", USUAL)
def test_what_got_a_fifth_worse_is_told_alone_with_what_to_do(name):
    rng = np.random.default_rng(3)
    factor = {name: 0.8 if name == "inference_hz" else 1.2}
    findings = told(week(rng, 0, factor=factor) + week(rng, 7))
    assert {key for key, finding in findings.items() if finding.state == "warning"} == {name}
    assert findings[name].mend
    assert "worse" in findings[name].what


@pytest.mark.parametrize("name", HOURLY)
def test_what_happens_many_times_as_often_is_told(name):
    rng = np.random.default_rng(4)
    assert worse(week(rng, 0, factor={name: 6}, minutes=120) + week(rng, 7, minutes=120)) == {name}


def test_what_got_better_is_not_told():
    rng = np.random.default_rng(5)
    better = {name: 1.3 if name == "inference_hz" else 0.7 for name in USUAL}
    assert not worse(week(rng, 0, factor=better) + week(rng, 7))


def test_a_change_too_small_to_matter_is_not_told_however_certain_it_is():
    rng = np.random.default_rng(6)
    assert not worse(week(rng, 0, factor={"celsius": 1.03}, spread=0) + week(rng, 7, spread=0))


@pytest.mark.parametrize(("before", "now"), [(0, 7), (7, 0), (2, 7), (3, 3)])
def test_too_few_days_are_told_as_unknown_and_never_as_well(before, now):
    rng = np.random.default_rng(9)
    findings = told(week(rng, 0, days=now) + week(rng, 7, days=before))
    assert {finding.state for finding in findings.values()} == {"unknown"}


def test_five_days_of_each_week_are_enough():
    rng = np.random.default_rng(12)
    assert worse(week(rng, 0, days=5, factor={"cpu": 1.4}) + week(rng, 7, days=5)) == {"cpu"}


def test_days_with_hardly_any_minutes_do_not_count():
    rng = np.random.default_rng(10)
    findings = told(week(rng, 0, minutes=20) + week(rng, 7))
    assert findings["celsius"].state == "unknown"


def test_nothing_stored_is_unknown():
    (finding,) = review([], NOW_NS, SETTINGS)
    assert finding.state == "unknown"


def test_minutes_of_the_future_by_a_clock_that_was_set_back_do_not_count():
    rng = np.random.default_rng(11)
    minutes = week(rng, 0) + week(rng, 7)
    future = [Minute(minute.wall_ns + 365 * DAY_NS, {"celsius": 900.0}) for minute in minutes]
    assert told(future + minutes) == told(minutes)


@given(
    st.lists(st.integers(0, 6), min_size=1, max_size=5), st.lists(st.integers(0, 6), min_size=1, max_size=5)
)
def test_chance_is_the_part_of_all_ways_to_share_out_the_values_that_rank_as_high(now, before):
    values = [*now, *before]
    ranks = [
        sum(other < value for other in values) + sum(other <= value for other in values) + 1
        for value in values
    ]
    sums = [sum(chosen) for chosen in combinations(ranks, len(now))]
    expected = sum(total >= sum(ranks[: len(now)]) for total in sums) / len(sums)
    assert chance(before, now) == pytest.approx(expected)


minute_values = st.dictionaries(
    st.sampled_from([figure.name for figure in FIGURES] + ["seconds", "armed_s"]),
    st.floats(0, 1e9, allow_nan=False),
)


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 20 * DAY_NS), minute_values), max_size=60))
def test_whatever_was_stored_the_review_tells_something_and_never_fails(stored):
    minutes = [Minute(NOW_NS - age_ns, values) for age_ns, values in stored]
    findings = review(minutes * 30, NOW_NS, SETTINGS)
    assert findings
    assert all(finding.what for finding in findings)
