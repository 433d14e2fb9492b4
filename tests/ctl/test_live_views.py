"""What `top` shows beside the status: the robot's motion against its limits, and what happened last."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.ctl.reports import report
from tests.ctl.test_view import drawn
from vlad.ctl.event_view import events_view
from vlad.ctl.motion_view import motion_view
from vlad.ctl.view import status_view

MOTION = {
    "names": ["shoulder", "elbow"], "velocity": [0.95, -0.1], "velocity_limits": [1.0, 2.0],
    "position": [0.0, -1.45], "lower": [-1.0, -1.5], "upper": [1.0, 1.5], "watts": 123.4, "chunk": None,
}  # fmt: skip


def event(number: int, text: str = "x") -> dict[str, Any]:
    return {"id": number, "wall_ns": 10**18, "kind": "mode", "level": "WARNING", "text": text}


def test_speeds_and_joints_stand_beside_their_limits() -> None:
    text = drawn(motion_view(MOTION))
    shoulder, elbow = (next(line for line in text.splitlines() if name in line) for name in MOTION["names"])
    assert "+0.950" in shoulder
    assert shoulder.count("━") == 19
    assert "-1.450" in elbow
    assert elbow.index("●") < shoulder.index("●")
    assert "draws 123 W" in text


def test_of_many_joints_those_nearest_to_a_limit_are_shown() -> None:
    many = 30
    motion = {"names": [f"j{k}" for k in range(many)], "velocity": [k / 30 for k in range(many)],
              "velocity_limits": [1.0] * many}  # fmt: skip
    text = drawn(motion_view(motion))
    assert "j29" in text
    assert "j17 " not in text
    assert "and 18 farther from their limits" in text


def test_nothing_measured_shows_nothing() -> None:
    assert drawn(motion_view({})).strip() == ""
    assert drawn(motion_view(MOTION | {"velocity": None, "position": None})).strip() == ""
    assert drawn(events_view([])).strip() == ""


VALUES = st.one_of(
    st.none(), st.lists(st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False)), max_size=3)
)


KEYS = ("velocity", "velocity_limits", "position", "lower", "upper")


@given(st.lists(st.text(max_size=3), max_size=3), st.fixed_dictionaries(dict.fromkeys(KEYS, VALUES)))
def test_whatever_a_daemon_leaves_out_breaks_nothing(names: list[str], values: dict[str, Any]) -> None:
    drawn(motion_view({"names": names} | values))


def test_the_newest_events_and_the_operation_are_in_the_picture() -> None:
    operation = {"uptime_s": 90_000.0, "armed_s": 7_200.0, "distance_m": 1_234.5, "tasks_done": 9.0,
                 "tasks_failed": 1.0, "interventions": 2.0, "errors": 3.0}  # fmt: skip
    live = (motion_view(MOTION), events_view([event(1, "y" * 1_000), event(2, "stopping")]))
    text = drawn(status_view(report(operation=operation), live), 120)
    for part in ("shoulder", "mode: stopping", "9 of 10 tasks done", "2 interventions", "1,234 m", "25.0 h"):
        assert part in text
    assert text.count("yy") < 200
