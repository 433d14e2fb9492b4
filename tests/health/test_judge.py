"""From readings to a verdict on each component and on the whole."""

from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlad.clock import NS_PER_S as S
from vlad.health.judge import Judge
from vlad.health.reading import Growth, Reading
from vlad.health.words import duration
from vlad.messages import Level

HALF = (0.5, 1.0)


def reading(value, name="used", **more):
    return Reading(name, value, f"{name} {value:g}", more.pop("scale", HALF), f"mend {name}", **more)


def judged(*readings, judge=None, now_ns=0):
    report = (judge or Judge()).judge(now_ns, {"disk": readings})
    return report.components[0]


def test_a_component_is_as_well_as_its_worst_reading():
    component = judged(reading(0.1, "rate"), reading(0.9, "gaps"), reading(0.6, "bad"))
    assert component.score == pytest.approx(0.2)
    assert component.level is Level.CAUTION
    assert component.text == "gaps 0.9, bad 0.6"
    assert component.action == "mend gaps"
    assert component.risk == pytest.approx(0.8)
    assert component.reason == "gaps 0.9"


def test_a_healthy_component_tells_all_that_is_known_of_it_and_asks_for_nothing():
    component = judged(reading(0.1, "rate"), reading(nan, "gaps"), Reading("busy", 0.3, "busy 30%"))
    assert (component.score, component.level, component.risk, component.action) == (1.0, Level.SAFE, 0.0, "")
    assert component.text == "rate 0.1, busy 30%"
    assert component.readings["busy"] == 0.3


def test_of_what_was_not_measured_nothing_is_known():
    component = judged(reading(nan), Reading("busy", nan, "busy nan%"))
    assert component.score is None
    assert component.text == "not known"
    assert judged().text == "not known"


def test_what_is_only_told_has_no_score():
    assert judged(Reading("busy", 1.0, "busy 100%")).score is None


def test_the_whole_is_as_well_as_its_worst_component():
    parts = {"cpu": (reading(0.1),), "disk": (reading(0.75),), "gpu": (reading(nan),)}
    report = Judge().judge(0, parts)
    assert report.score == pytest.approx(0.5)
    assert report.level is Level.CAUTION
    assert Judge().judge(0, {"gpu": (reading(nan),)}).score is None
    assert Judge().judge(0, {}).level is Level.SAFE


def followed(values, window_s=600.0, scale=(60.0, 70.0, 80.0, 90.0), judge=None):
    judge = judge or Judge()
    for second, value in enumerate(values):
        one = reading(value, "hottest", scale=scale, unit="degrees", window_s=window_s)
        component = judged(one, judge=judge, now_ns=second * S)
    return component


def test_a_temperature_that_rises_tells_when_it_will_be_at_its_limit():
    component = followed(40 + 0.05 * second for second in range(600))
    assert component.trend_per_h == pytest.approx(180, rel=0.01)
    assert component.time_to_limit_s == pytest.approx((90 - 40 - 0.05 * 599) / 0.05, rel=0.01)
    assert component.level is Level.CAUTION
    assert "at this rate at the limit in 6.7 min" in component.reason
    assert component.risk == pytest.approx(1 - component.time_to_limit_s / 12_000)


def test_a_risk_that_only_comes_is_told_with_what_to_do():
    component = followed(20 + 0.02 * second for second in range(600))
    assert component.level is Level.SAFE
    assert component.risk > 0.5
    assert component.action == "mend hottest"


def test_what_is_farther_than_can_be_told_is_not_told():
    component = followed(20 + 0.001 * second for second in range(600))
    assert component.trend_per_h == pytest.approx(3.6)
    assert component.time_to_limit_s is None
    assert (component.risk, component.reason, component.action) == (0.0, "", "")


def test_noise_and_what_falls_have_no_time_to_the_limit():
    assert followed([50.0, 52.0] * 300).trend_per_h is None
    falling = followed(85 - 0.05 * second for second in range(600))
    assert falling.trend_per_h < 0
    assert falling.time_to_limit_s is None


VALUES = st.floats()


@given(st.lists(st.tuples(VALUES, VALUES), min_size=1, max_size=60))
def test_whatever_is_read_score_and_risk_are_0_to_1(rows):
    judge = Judge()
    for second, (one, other) in enumerate(rows):
        readings = (reading(one, "a", window_s=30.0), reading(other, "b", scale=(1.0, 2.0, 3.0)))
        report = judge.judge(second * S, {"x": readings})
        (component,) = report.components
        assert component.score is None or 0 <= component.score <= 1
        assert 0 <= component.risk <= 1
        assert component.eased >= component.level
        assert component.time_to_limit_s is None or 0 <= component.time_to_limit_s < inf


def test_growth_is_that_of_the_last_window():
    growth = Growth(10)
    assert [growth.add(second * S, second // 5) for second in (0, 4, 5, 14, 15, 16, 24, 25, 40)] == [
        0, 0, 1, 2, 2, 2, 2, 2, 3,
    ]  # fmt: skip
    assert growth.add(50 * S, 8) == 0


def test_a_counter_that_begins_anew_counts_from_there():
    growth = Growth(10)
    growth.add(0, 500)
    assert growth.add(S, 3) == 0
    assert growth.add(2 * S, 5) == 2


def test_a_rate_is_told_after_half_a_window():
    growth = Growth(10)
    rates = [growth.rate_hz(second * S, 30 * second) for second in range(30)]
    assert all(rate != rate for rate in rates[:5])
    assert rates[5:] == [30.0] * 25


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (119, "119 s"), (120, "2.0 min"), (7_200, "2.0 h"), (259_200, "3.0 days")],
)
def test_a_duration_in_words(seconds, words):
    assert duration(seconds) == words
