"""The picture of health: the worst first, with what to do, and never broken by what a daemon leaves out."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ctl.conftest import Vladctl
from tests.ctl.reports import report
from tests.ctl.test_view import drawn, paths, without
from tests.fake_daemon import Served
from vlad.ctl.health_view import health_line, health_view

HEALTH = report()["health"]


def test_it_shows_the_worst_first_and_what_to_do() -> None:
    text = drawn(health_view(HEALTH), 120)
    for part in ("0.50 WARNING: disk", "+0.21 %/h", "3.0 days", "50%", "disk: Free space.",
                 "WARNING disk: 90% used, for 6.9 min", "webhook: 3 told, 0 lost"):  # fmt: skip
        assert part in text
    rows = text[text.index("component") :]
    assert rows.index("disk") < rows.index("cpu") < rows.index("temperature")


def test_a_well_one_is_one_quiet_line() -> None:
    components = {"cpu": HEALTH["components"]["cpu"]}
    health = {"score": 1.0, "level": "SAFE", "age_s": 0.5, "components": components, "alerts": []}
    assert str(health_line(health)) == "1.00 SAFE"
    assert "what to do" not in drawn(health_view(health))


def test_many_that_are_bad_are_counted() -> None:
    bad = {f"signal {number}": {"score": 0.0, "level": "DANGER"} for number in range(9)}
    assert "signal 0, signal 1, signal 2 and 6 more" in str(health_line(HEALTH | {"components": bad}))


def test_what_is_not_measured_says_so() -> None:
    assert str(health_line({"age_s": None})) == "not measured yet"
    assert str(health_line(HEALTH | {"age_s": 60.0})) == "not measured for 60 s"


def test_an_outlet_that_fails_says_why() -> None:
    outlets = {"command": {"problem": "/bin/x: ended with status 3", "delivered": 0, "lost": 2}}
    assert "command: 0 told, 2 lost; /bin/x: ended with status 3" in drawn(
        health_view(HEALTH | {"outlets": outlets})
    )


@pytest.mark.parametrize("path", paths(HEALTH), ids=".".join)
def test_it_holds_without_any_key(path: tuple[str, ...]) -> None:
    drawn(health_view(without(HEALTH, path)))


@given(st.text())
def test_nothing_that_a_daemon_says_steers_the_terminal(text: str) -> None:
    component = HEALTH["components"]["disk"] | {"text": text, "action": text}
    alert: dict[str, Any] = HEALTH["alerts"][0] | {"text": text}
    drawing = drawn(health_view(HEALTH | {"components": {"disk": component}, "alerts": [alert]}))
    assert all(letter.isprintable() or letter == "\n" for letter in drawing)


def test_vladctl_health(daemon: Served, vladctl: Vladctl) -> None:
    assert "Free space." in vladctl("health").stdout
    assert '"time_to_limit_s": 259200.0' in vladctl("health", "--json").stdout
