"""The line about maintenance: what runs, else what went wrong last, what is next, and never broken."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ctl.reports import report, upkeep
from tests.ctl.test_view import drawn, paths, without
from vlad.ctl.maintenance_view import maintenance_text
from vlad.ctl.times import local

MAINTENANCE = report()["maintenance"]
BACKUP = {"name": "backup", "progress": 0.25, "text": "vlad.db", "for_s": 3.0}


def lines(**changes: object) -> list[str]:
    return str(maintenance_text(MAINTENANCE | changes)).splitlines()


def test_what_failed_stands_before_what_warned_with_how_to_see_more_and_what_is_next() -> None:
    ended, due = local(1_700_000_000 * 10**9), local(1_900_000_000 * 10**9)
    assert lines() == [
        f"backup failed {ended}, 3 times in a row: /mnt/x: No space left on device; "
        "vladctl maintenance show backup; 1 more: vladctl maintenance list",
        f"next clean_up {due}",
    ]


def test_of_two_that_failed_the_newest_is_shown() -> None:
    newer = upkeep(verdict="failed", summary="no", ended_wall_ns=1_800_000_000 * 10**9)
    tasks = MAINTENANCE["tasks"] | {"vacuum": newer}
    assert lines(tasks=tasks)[0].startswith("vacuum failed")


def test_what_runs_stands_in_place_of_what_failed_and_what_waits_says_for_what() -> None:
    tasks = MAINTENANCE["tasks"] | {"vacuum": upkeep(only_disarmed=True)}
    assert lines(running=BACKUP, ordered=["vacuum"], tasks=tasks)[:2] == [
        "backup runs: 25% vlad.db",
        "waiting: vacuum; only while the robot is disarmed",
    ]
    assert lines(running=BACKUP, ordered=["clean_up"])[1] == "waiting: clean_up"


def test_where_all_is_well_it_is_one_quiet_line() -> None:
    assert lines(tasks={"backup": upkeep()}) == [f"next backup {local(1_900_086_400 * 10**9)}"]
    assert lines(tasks={"backup": upkeep(due_wall_ns=None, verdict=None)}) == ["nothing is due by itself"]


def test_that_nothing_can_be_remembered_comes_last_and_in_red() -> None:
    text = maintenance_text(MAINTENANCE | {"problem": "/x/maintenance.db: disk I/O error"})
    assert str(text).splitlines()[-1] == "/x/maintenance.db: disk I/O error"
    assert "red" in {str(span.style) for span in text.spans}


def test_a_long_result_is_cut() -> None:
    tasks = {"backup": upkeep(verdict="failed", summary="x" * 1_000)}
    assert len(lines(tasks=tasks)[0]) < 300


@pytest.mark.parametrize("path", paths(MAINTENANCE | {"running": BACKUP}), ids=".".join)
def test_it_holds_without_any_key(path: tuple[str, ...]) -> None:
    drawn(maintenance_text(without(MAINTENANCE | {"running": BACKUP}, path)))
    if "tasks" in path:
        drawn(maintenance_text(without(MAINTENANCE, path)))


@given(st.text())
def test_nothing_that_a_task_says_steers_the_terminal(text: str) -> None:
    tasks = {text: upkeep(verdict="failed", summary=text)}
    for running in (None, BACKUP | {"name": text, "text": text}):
        changes = {"running": running, "ordered": [text], "problem": text, "tasks": tasks}
        assert all(letter.isprintable() or letter == "\n" for letter in drawn(maintenance_text(changes)))
