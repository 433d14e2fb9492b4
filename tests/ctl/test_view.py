"""The picture of a status: complete, safe to print, and never broken by what a daemon leaves out."""

from __future__ import annotations

import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console, RenderableType

from tests.ctl.reports import fault, report, signal
from vlad.ctl.output import clean
from vlad.ctl.view import status_view, summary_line


def drawn(renderable: RenderableType, width: int = 100) -> str:
    file = io.StringIO()
    Console(file=file, width=width, highlight=False, markup=False, emoji=False).print(renderable)
    return file.getvalue()


def test_a_healthy_robot_shows_everything_that_counts() -> None:
    text = drawn(status_view(report()))
    for part in ("rover", "ACTIVE", "SAFE", "go to the red ball", "camera", "30.0 Hz", "12 ms", "12,345",
                 "laser bad: truncated 4, not_finite 1", "cam_left 17", "demo 1 running", "p99 8.10 ms",
                 "missed 0", "linear_x +0.300", "restarting (2 restarts; OSError: x)", "fifo applied",
                 "memory refused: Operation not permitted", "1 motor driver)",
                 "http://127.0.0.1:8420, 2 browsers",
                 "backup failed 2023-11-1", "next clean_up 2030-03-17",
                 "cpu 42%, memory 50%, disk 90%, 51 degrees",
                 "0.50 WARNING: disk; 1 alert, see vladctl health",
                 "disagreement 0.123 (slows above 0.3, stops above 0.75)"):  # fmt: skip
        assert part in text
    assert "cannot be armed" not in text
    assert "not calibrated" not in text


def test_a_policy_that_was_not_calibrated_says_so() -> None:
    policy = report()["policy"] | {"calibrated": False}
    policy["doubts"] = {"disagreement": {"value": 0.1234, "slow": None, "stop": None}}
    assert "disagreement 0.123; not calibrated" in drawn(status_view(report(policy=policy)))


def test_how_often_what_was_made_before_could_be_used_again_is_shown() -> None:
    remembered = {"tokens": {"hits": 40, "misses": 2}, "vision.onnx": {"hits": 0, "misses": 42}}
    text = drawn(status_view(report(policy=report()["policy"] | {"remembered": remembered})))
    assert "known from before: tokens 40 of 42, vision.onnx 0 of 42" in text


def test_a_policy_that_is_not_asked_says_what_it_waits_for_and_how_to_give_it_a_task() -> None:
    policy = report()["policy"] | {"waits_for": ["camera", "instruction"]}
    assert "waits for camera, instruction (vladctl task TEXT)" in drawn(status_view(report(policy=policy)))
    policy["waits_for"] = ["camera"]
    text = drawn(status_view(report(policy=policy)))
    assert "waits for camera" in text
    assert "vladctl task" not in text
    assert "waits for" not in drawn(status_view(report()))


def test_faults_show_their_hints_and_refusals_only_what_is_new() -> None:
    refusals = [fault(), fault("no_policy", "")]
    text = drawn(status_view(report(mode="disarmed", faults=[fault()], refusals=refusals)))
    assert text.count("signal_stale camera") == 1
    assert "no_policy" in text.partition("cannot be armed")[2]
    assert "Is the driver running?" in text


def test_a_hint_that_holds_for_several_faults_is_said_once() -> None:
    faults = [fault(subject="camera"), fault(subject="laser"), fault("obstacle", "laser") | {"hint": "Wait."}]
    text = drawn(status_view(report(faults=faults)))
    assert text.count("Is the driver running?") == 1
    assert text.index("signal_stale laser") < text.index("Is the driver running?") < text.index("Wait.")
    assert "faults 2xsignal_stale obstacle" in summary_line(report(faults=faults))


def test_a_policy_that_stands_in_is_shown_with_why() -> None:
    fallback = {"bundle": "calm/2", "state": "driving", "in_place_of": "demo/1", "cause": "no answer"}
    policy = report()["policy"] | {
        "resolution": "4x3", "resolutions": ["8x6", "4x3"], "resolution_why": "the larger one is slow",
        "fallback": fallback, "residents": [{"bundle": "old/1", "memory_mb": 26}], "relief": ["caches"],
    }  # fmt: skip
    text = drawn(status_view(report(policy=policy)))
    for part in ("fallback calm/2 driving in place of demo/1: no answer", "also loaded: old/1 (26 MB)",
                 "resolution 4x3 of 8x6, 4x3: the larger one is slow", "is short: caches"):  # fmt: skip
        assert part in text


def test_a_latched_estop_says_why_and_how_to_release_it() -> None:
    text = drawn(status_view(report(mode="estop", estop={"latched": True, "reason": "pressed by alice"})))
    assert "e-stop: pressed by alice; vladctl reset" in text


def test_a_signal_that_never_came_stands_out() -> None:
    text = drawn(status_view(report(signals={"camera": signal("image", age_s=None, rate_hz=None)})))
    assert "never" in text


def test_a_signal_that_another_feeds_or_that_is_frozen_says_so() -> None:
    signals = {
        "camera": signal("image", source="camera2"),
        "odometry": signal("odometry", source="estimate"),
        "laser": signal("laser_scan", source="laser", frozen=True),
    }
    text = drawn(status_view(report(signals=signals)))
    for part in ("camera <- camera2", "odometry <- estimate", "laser frozen"):
        assert part in text


def test_a_robot_without_a_motor_driver_says_so() -> None:
    text = drawn(status_view(report(commands={"sent": 3, "listeners": 0})))
    assert "(3 sent, 0 motor drivers)" in text


def test_a_page_that_is_not_served_says_why_and_one_that_is_off_nothing() -> None:
    off = {"on": False, "address": "", "browsers": 0, "problem": ""}
    assert "page" not in drawn(status_view(report(page=off)))
    assert "starting" in drawn(status_view(report(page=off | {"on": True})))
    assert "in use" in drawn(status_view(report(page=off | {"problem": "127.0.0.1:1: in use"})))


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_no_line_is_wider_than_the_terminal_and_no_number_is_cut(width: int) -> None:
    text = drawn(status_view(report(faults=[fault()])), width)
    assert all(len(line.rstrip()) <= width for line in text.splitlines())
    if width >= 60:
        assert "12,345" in text
        assert "30.0 Hz" in text


def without(value: Any, path: tuple[str, ...]) -> Any:
    if len(path) == 1:
        return {key: item for key, item in value.items() if key != path[0]}
    return value | {path[0]: without(value[path[0]], path[1:])}


def paths(value: Any, before: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = []
    for key, item in value.items():
        found.append((*before, key))
        if isinstance(item, dict):
            found += paths(item, (*before, key))
    return found


@pytest.mark.parametrize("path", paths(report()), ids=".".join)
def test_a_key_that_is_missing_or_null_breaks_nothing(path: tuple[str, ...]) -> None:
    status = without(report(), path)
    drawn(status_view(status))
    summary_line(status)
    for key in reversed(path):
        status = {key: None} if key == path[-1] else {key: status}
    if len(path) == 1:
        drawn(status_view(report() | status))
        summary_line(report() | status)


def test_an_empty_report_is_drawn() -> None:
    assert drawn(status_view({}))
    assert summary_line({})


@given(st.text(st.characters(exclude_categories=())))
def test_nothing_that_a_driver_or_operator_sends_steers_the_terminal(text: str) -> None:
    status = report(
        task=text,
        faults=[fault(text, text) | {"detail": text, "hint": text}],
        signals={text: signal(text, bad={text: 1})},
        unknown_topics={text: 1},
        estop={"latched": True, "reason": text},
    )
    seen = drawn(status_view(status)) + summary_line(status)
    assert all(letter.isprintable() or letter == "\n" for letter in seen)
    assert clean(text).isprintable()


def test_brackets_are_text_and_no_markup() -> None:
    assert "go [bold]there[/bold] :smile:" in drawn(status_view(report(task="go [bold]there[/bold] :smile:")))
