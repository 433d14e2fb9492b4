"""The report: whatever is stored, it is one whole HTML file without a script, and a number is a number."""

from __future__ import annotations

import json
import re
import sqlite3
import tempfile
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vlad.messages import Level
from vlad.record.history import Minute
from vlad.record.store import Record, Store, Totals
from vlad.report.contents import Contents, read
from vlad.report.page import moment, page
from vlad.report.plots import Line, lines, number, ticks
from vlad.report.series import Span, bands, line

DAY_NS = 86_400 * 10**9
NOW_NS = 1_795_000_000 * 10**9
MINUTE_NS = 60 * 10**9
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
"""Where a hundred databases are made without waiting for a disk."""


def stored(folder: Path, *entries: Any) -> Path:
    path = folder / "vlad.db"
    store = Store(path)
    store.open()
    store.write(0, entries)
    store.close()
    return path


def event(seq: int, kind: str, text: str = "", wall_ns: int = NOW_NS - DAY_NS, **data: Any) -> Record:
    return Record(seq, wall_ns, 0, kind, Level.WARNING, text, data)


def written(path: Path, since_ns: int = NOW_NS - 7 * DAY_NS, running: bool = True) -> str:
    return page(read(path, since_ns, NOW_NS), running, NOW_NS)


def parsed(text: str) -> ElementTree.Element:
    first, _, rest = text.partition("\n")
    assert first == "<!doctype html>"
    return ElementTree.fromstring(rest)


def titles(root: ElementTree.Element) -> list[str]:
    return [figure.findtext("figcaption") or "" for figure in root.iter("figure")]


def test_a_week_has_plots_totals_and_tables(tmp_path: Path) -> None:
    minutes = [
        Minute(NOW_NS - number * MINUTE_NS, {"inference_p50_ms": 5.0, "inference_p99_ms": 9.0, "cpu": 0.5,
                                            "level_safe_s": 50.0, "level_danger_s": 10.0, "armed_s": 60.0,
                                            "interventions": 1.0})
        for number in range(1, 121)
    ]  # fmt: skip
    path = stored(
        tmp_path,
        *minutes,
        Totals(
            {
                "armed_s": 36_000.0,
                "interventions": 130.0,
                "starts": 4.0,
                "clean_ends": 1.0,
                "level_danger_s": 1_300.0,
            }
        ),
        event(1, "start", "vlad started for rover 7", robot="rover 7"),
        event(2, "fault", "stale", fault="signal_stale", subject="camera", hint="Look at the cable."),
        event(3, "fault", "stale", fault="signal_stale", subject="laser", hint="Look at the cable."),
        event(4, "alert", "disk: 90% used", id="a", component="disk"),
        event(5, "alert_over", "disk: well", id="a", component="disk", lasted_s=7_200.0),
        event(6, "task_result", "done: go"),
        event(7, "maintenance", "backup: ok"),
    )
    text = written(path)
    root = parsed(text)
    assert titles(root) == ["Safety level", "Inference [ms]", "Processor and memory [%]",
                            "How often each fault began"]  # fmt: skip
    for part in ("rover 7", "signal_stale", "camera, laser", "Look at the cable.", "disk: 90% used", "2.0 h",
                 "done: go", "backup: ok", "10.0 h", "p99 (median 9, highest 9)",
                 "DANGER 20.0 min"):  # fmt: skip
        assert part in text
    rows = {row[0].text: [cell.text for cell in row[1:]] for row in root.iter("tr")}
    assert rows["interventions"] == ["120", "130"]
    assert rows["ended without a word (killed, power cut)"] == [None, "2"]
    assert "<script" not in text
    assert not re.search(r"(src|href|url\()", text), "nothing from elsewhere"


def test_nothing_stored_is_said_and_a_daemon_that_does_not_run_too(tmp_path: Path) -> None:
    text = written(stored(tmp_path, Totals({"starts": 1.0})), running=False)
    assert parsed(text) is not None
    assert "nothing was stored in this time" in text
    assert "vlad does not run" in text


def test_a_database_of_before_that_has_only_events_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "vlad.db"
    with sqlite3.connect(path) as old:
        old.execute(
            "CREATE TABLE events(id INTEGER PRIMARY KEY, wall_ns INTEGER NOT NULL, monotonic_ns INTEGER NOT "
            "NULL, kind TEXT NOT NULL, level INTEGER NOT NULL, text TEXT NOT NULL, data TEXT NOT NULL)"
        )
        old.execute("INSERT INTO events VALUES(1, ?, 0, 'task', 0, 'alice: go', '{}')", (NOW_NS - DAY_NS,))
    assert "alice: go" in written(path)


NAMES = st.sampled_from(
    ["inference_p50_ms", "late_p99_ms", "cpu", "celsius", "battery", "level_safe_s", "level_danger_s",
     "armed_s", "tasks_done", "seconds", "fault/x", ""]
)  # fmt: skip
NUMBERS = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False), st.integers(-(2**62), 2**62), st.floats()
)
WALLS = st.one_of(
    st.integers(NOW_NS - 9 * DAY_NS, NOW_NS + DAY_NS), st.integers(0, 2**62), st.just(NOW_NS - DAY_NS)
)
TEXTS = st.text(st.characters(exclude_categories=()), max_size=40)
ROWS = st.one_of(
    st.builds(Minute, WALLS, st.dictionaries(NAMES, NUMBERS, max_size=8)),
    st.builds(
        lambda wall_ns, kind, level, text, data: (wall_ns, kind, level, text, data),
        WALLS,
        st.one_of(st.sampled_from(["fault", "alert", "alert_over", "task", "mode", "start"]), TEXTS),
        st.sampled_from(list(Level)),
        TEXTS,
        st.dictionaries(
            st.sampled_from(["fault", "subject", "hint", "id", "component", "lasted_s", "robot"]),
            st.one_of(TEXTS, NUMBERS, st.none(), st.lists(TEXTS, max_size=2)),
        ),
    ),
)


@given(rows=st.lists(ROWS, max_size=30), days=st.sampled_from([0.001, 1, 7, 400]))
@example(rows=[(NOW_NS, "\ud800", Level.SAFE, "\ud800", {"id": "\ud800"})], days=1)
def test_whatever_is_stored_it_is_a_whole_page_and_every_coordinate_a_number(
    rows: list[Any], days: float
) -> None:
    entries = [
        row if isinstance(row, Minute) else Record(seq, row[0], 0, row[1], row[2], row[3], row[4])
        for seq, row in enumerate(rows, start=1)
    ]
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        text = written(stored(Path(folder), *entries), NOW_NS - round(days * DAY_NS))
    root = parsed(text)
    for svg in root.iter("svg"):
        for shape in svg.iter():
            for name in ("d", "x", "y", "width", "height"):
                assert re.fullmatch(r"[MLHVh0-9. -]*", shape.get(name, "")), (name, shape.get(name))


def test_what_a_driver_says_is_text_and_no_markup(tmp_path: Path) -> None:
    text = written(stored(tmp_path, event(1, "task", "<script>alert('x')</script>&amp;")))
    assert "<script" not in text
    assert "&lt;script&gt;" in text


def test_a_line_has_gaps_where_nothing_was_stored() -> None:
    span = Span(NOW_NS - DAY_NS, NOW_NS)
    walls = [*range(NOW_NS - DAY_NS, NOW_NS - DAY_NS // 2, MINUTE_NS), NOW_NS - 1]
    runs = line([Minute(wall_ns, {"cpu": 0.5}) for wall_ns in walls], "cpu", span, factor=100)
    assert [len(run) for run in runs] == [120, 1]
    assert {value for run in runs for _, value in run} == {50.0}
    drawn = lines("x", [Line("cpu", runs)], span)
    assert drawn.count("M") - drawn.count('class="grid"') == 2
    assert "h0" in drawn, "a point alone is a dot"


def test_a_highest_value_is_not_averaged_away() -> None:
    span = Span(NOW_NS - 7 * DAY_NS, NOW_NS)
    minutes = [
        Minute(NOW_NS - 7 * DAY_NS + number * MINUTE_NS, {"late_p99_ms": 30.0 if number == 77 else 0.1})
        for number in range(10_000)
    ]
    assert max(value for run in line(minutes, "late_p99_ms", span, highest=True) for _, value in run) == 30.0
    assert max(value for run in line(minutes, "late_p99_ms", span) for _, value in run) < 2


def test_bands_tell_what_was_usual_and_what_was_worst() -> None:
    span = Span(0, 2 * MINUTE_NS)
    minutes = [
        Minute(30 * 10**9, {"level_safe_s": 59.0, "level_danger_s": 1.0}),
        Minute(90 * 10**9, {"level_safe_s": 60.0}),
    ]
    assert [band.level.name for band in bands(minutes, span, worst=False)] == ["SAFE"]
    assert [band.level.name for band in bands(minutes, span, worst=True)] == ["DANGER", "SAFE"]


def test_a_clock_that_was_set_back_breaks_no_plot(tmp_path: Path) -> None:
    walls = [NOW_NS - DAY_NS + number * MINUTE_NS for number in (0, 1, 2, -600, -599, 0, 1)]
    path = stored(tmp_path, *(Minute(wall_ns, {"cpu": 0.1}) for wall_ns in walls))
    contents = read(path, NOW_NS - 7 * DAY_NS, NOW_NS)
    assert len(contents.minutes) == 7
    assert "Processor" in written(path)


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e12, max_value=1e12))
def test_a_number_is_short_and_near_what_it_says(value: float) -> None:
    said = number(value)
    assert len(said) <= 12
    assert float(said.replace(",", "")) == pytest.approx(value, rel=0.01, abs=1e-9)


@given(st.integers(0, NOW_NS), st.integers(1, 40 * 365 * DAY_NS))
def test_moments_are_labelled_and_never_too_many(since_ns: int, length_ns: int) -> None:
    labels = ticks(Span(since_ns, since_ns + length_ns))
    assert len(labels) <= 9
    assert all(since_ns <= at_ns <= since_ns + length_ns for at_ns, _ in labels)


def test_a_moment_has_its_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        assert moment(1_763_700_000 * 10**9) == "2025-11-20 23:40:00 EST"
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_row_that_the_disk_changed_is_left_out(tmp_path: Path) -> None:
    path = stored(tmp_path, Minute(NOW_NS - 1, {"cpu": 0.5}), event(1, "task", "go"))
    with sqlite3.connect(path) as broken:
        broken.execute("""UPDATE minutes SET "values" = '{"cpu":1e999,"memory":[1],"disk":0.'""")
        broken.execute("UPDATE events SET level = 77, data = '[1'")
    contents: Contents = read(path, NOW_NS - 7 * DAY_NS, NOW_NS)
    assert contents.minutes[0].values == {}
    assert contents.events[0]["level"] == "EMERGENCY"
    assert json.dumps(contents.events)
    assert "go" in written(path)
