"""From a reading to a score and a level."""

from math import nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlad.health.scale import level, score
from vlad.messages import Level

CPU, HEAT = (0.70, 0.85, 0.95), (60.0, 70.0, 80.0, 90.0)
SCALES = st.lists(st.floats(1e-6, 1e9), min_size=2, max_size=4, unique=True).map(lambda xs: tuple(sorted(xs)))


@pytest.mark.parametrize(
    ("value", "scale", "expected"),
    [
        (0.1, CPU, 1.0), (0.70, CPU, 1.0), (0.775, CPU, 0.75), (0.85, CPU, 0.5), (0.90, CPU, 0.25),
        (0.95, CPU, 0.0), (7.0, CPU, 0.0), (65.0, HEAT, 5 / 6), (75.0, HEAT, 0.5), (90.0, HEAT, 0.0),
    ],
)  # fmt: skip
def test_it_falls_in_straight_lines_from_one_threshold_to_the_next(value, scale, expected):
    assert score(value, scale) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("value", "scale", "expected"),
    [
        (0.69, CPU, "SAFE"), (0.70, CPU, "CAUTION"), (0.86, CPU, "WARNING"), (0.95, CPU, "DANGER"),
        (59.9, HEAT, "SAFE"), (80.0, HEAT, "DANGER"), (91.0, HEAT, "EMERGENCY"), (nan, HEAT, "SAFE"),
    ],
)  # fmt: skip
def test_each_threshold_begins_a_level(value, scale, expected):
    assert level(value, scale).name == expected


def test_eased_thresholds_are_lower():
    assert level(0.68, CPU) is Level.SAFE
    assert level(0.68, CPU, eased=0.05) is Level.CAUTION
    assert level(0.66, CPU, eased=0.05) is Level.SAFE


@given(st.floats(), SCALES)
def test_a_score_is_0_to_1_whatever_is_read_and_none_only_for_what_was_not(value, scale):
    found = score(value, scale)
    if value != value:
        assert found is None
    else:
        assert 0.0 <= found <= 1.0


@given(st.floats(allow_nan=False), st.floats(allow_nan=False), SCALES)
def test_more_is_never_better(one, other, scale):
    low, high = sorted((one, other))
    assert score(low, scale) >= score(high, scale)
    assert level(low, scale) <= level(high, scale) <= level(high, scale, eased=0.05)


@given(st.floats(allow_nan=False), SCALES)
def test_full_marks_are_safe_and_none_are_the_worst_level(value, scale):
    if value < scale[0]:
        assert (score(value, scale), level(value, scale)) == (1.0, Level.SAFE)
    if value >= scale[-1]:
        assert (score(value, scale), level(value, scale)) == (0.0, len(scale))
