"""The figures of the last ten minutes."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ctl.reports import report
from vlad.dashboard.history import NAMES, SECONDS, History, resident_mb

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def test_a_row_has_what_the_status_says() -> None:
    row = dict(zip(NAMES, History().add(12.346, report(pid=os.getpid())), strict=True))
    assert row["seconds"] == 12.35
    assert row["level"] == 0
    assert (row["age_p50_ms"], row["age_p99_ms"], row["late_p99_ms"]) == (31.0, 44.0, 0.065)
    assert (row["inferences_hz"], row["cpu"], row["celsius"]) == (29.8, 0.42, 51.3)
    assert row["messages_hz"] == pytest.approx(29.97 + 10.0, abs=0.1)
    assert row["gpu"] is None
    assert row["daemon_mb"] > 1


def test_ten_minutes_are_kept_and_no_more() -> None:
    history = History()
    for second in range(SECONDS + 50):
        history.add(float(second), {})
    assert len(history.rows) == SECONDS
    assert (history.rows[0][0], history.rows[-1][0]) == (50.0, SECONDS + 49.0)


@given(st.dictionaries(st.sampled_from(["policy", "tick", "computer", "level", "pid"]), anything))
def test_an_odd_report_gives_a_row_all_the_same(status: dict[str, object]) -> None:
    assert len(History().add(0.0, status)) == len(NAMES)


@pytest.mark.parametrize("pid", [None, 0, "self/..", 2**40])
def test_the_memory_of_a_process_that_cannot_be_seen_is_unknown(pid: object) -> None:
    assert resident_mb(pid) is None
