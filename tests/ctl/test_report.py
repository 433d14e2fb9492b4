"""vladctl report as people call it; the database is there whether vlad is or not."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ctl.conftest import Vladctl, environment
from tests.ctl.reports import report
from tests.fake_daemon import Served
from vlad.ctl.__main__ import main
from vlad.ctl.times import moment
from vlad.record.history import Minute
from vlad.record.store import Store, Totals

HOUR_NS = 3_600 * 10**9


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "state"
    store = Store(folder / "vlad.db")
    store.open()
    now_ns = time.time_ns()
    store.write(
        0, [Minute(now_ns - hours * HOUR_NS, {"cpu": 0.5, "armed_s": 60.0}) for hours in (1, 30, 200)]
    )
    store.write(0, [Totals({"starts": 1.0, "armed_s": 180.0})])
    store.close()
    return folder


def test_it_writes_one_file_while_the_daemon_is_down_and_says_so(
    vladctl: Vladctl, state_dir: Path, tmp_path: Path
) -> None:
    page = tmp_path / "week.html"
    done = vladctl("report", "--since", "7d", "--state-dir", str(state_dir), "--output", str(page))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0] == f"{page}: 2 minutes, 0 events"
    assert "vlad does not run" in done.stdout
    assert page.read_text().startswith("<!doctype html>")


def test_the_file_is_named_after_the_day_where_nobody_names_it(state_dir: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "vlad.ctl", "report", "--state-dir", str(state_dir)]
    folder = tmp_path / "here"
    folder.mkdir()
    subprocess.run(words, cwd=folder, env=environment(tmp_path), check=True, timeout=60, capture_output=True)
    assert [file.name for file in folder.iterdir()] == [f"vlad-report-{time.strftime('%Y-%m-%d')}.html"]


def test_the_time_is_chosen_and_json_has_the_numbers(vladctl: Vladctl, state_dir: Path) -> None:
    def told(*words: str) -> dict[str, object]:
        answer: dict[str, object] = json.loads(
            vladctl("report", "--json", "--state-dir", str(state_dir), *words).stdout
        )
        return answer

    week = told()
    assert (week["schema"], week["running"], week["sums"]["armed_s"]) == (1, False, 120.0)  # type: ignore[index]
    assert len(told("--since", "4w")["minutes"]) == 3  # type: ignore[arg-type]
    assert len(told("--since", "4w", "--until", "24h")["minutes"]) == 2  # type: ignore[arg-type]
    assert week["totals"]["armed_s"] == 180.0  # type: ignore[index]


def test_a_daemon_that_runs_says_where_its_state_is(
    daemon: Served, vladctl: Vladctl, state_dir: Path
) -> None:
    daemon.actions.report = report(state_dir=str(state_dir))
    answer = json.loads(vladctl("report", "--json").stdout)
    assert (answer["running"], len(answer["minutes"])) == (True, 2)
    other = json.loads(vladctl("report", "--json", "--state-dir", str(daemon.folder)).stdout)
    assert (other["running"], other["minutes"]) == (False, [])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--state-dir", "/nowhere"], "/nowhere/vlad.db: there is none"),
        (["--since", "7d", "--until", "8d"], "--since is not before --until"),
        (["--output", "/nowhere/x.html"], "/nowhere/x.html: No such file or directory"),
    ],
)
def test_what_stands_in_its_way_is_told(
    vladctl: Vladctl, state_dir: Path, words: list[str], told: str
) -> None:
    done = vladctl("report", "--state-dir", str(state_dir), *words)
    assert done.returncode == 1
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_a_database_that_is_none_is_told(vladctl: Vladctl, tmp_path: Path) -> None:
    (tmp_path / "vlad.db").write_bytes(os.urandom(100_000))
    done = vladctl("report", "--state-dir", str(tmp_path))
    assert done.returncode == 1
    assert "cannot be read (file is not a database)" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_who_may_not_read_the_state_folder_is_told_so(
    state_dir: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    importlib.import_module("vlad.ctl.commands.report")
    state_dir.chmod(0o700)
    child = os.fork()
    if child == 0:
        try:
            os.setuid(65_534)
            os._exit(main(["--run-dir", "/nowhere", "report", "--state-dir", str(state_dir)]))
        except BaseException:
            os._exit(99)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 4
    assert "you may not read" in capfd.readouterr().err


@pytest.mark.parametrize("text", ["", "yesterday", "7", "7y", "-1d", "2026-13-01", "1e9d"])
def test_a_time_that_is_none_is_wrong_usage(vladctl: Vladctl, text: str) -> None:
    done = vladctl("report", f"--since={text}")
    assert done.returncode == 2
    assert "must be an age" in done.stderr


def test_a_moment_is_an_age_or_a_local_time() -> None:
    now_s = time.time()
    for text, age_s in (("90min", 5_400), ("24h", 86_400), ("7d", 604_800), ("1.5d", 129_600), ("now", 0)):
        assert moment(text) / 1e9 == pytest.approx(now_s - age_s, abs=60)
    for text in ("2026-11-14", "2026-11-14T08:30", "2026-11-14 08:30:15"):
        assert moment(text) == round(datetime.fromisoformat(text).timestamp() * 1e9)
    assert moment("2026-11-14T08:30+01:00") == 1_794_641_400 * 10**9
    assert moment("0001-01-01T00:00+00:00") == 0
    assert moment("9999-12-31") < 2**63


@given(st.text(max_size=20))
def test_any_text_is_a_moment_or_refused(text: str) -> None:
    with contextlib.suppress(argparse.ArgumentTypeError):
        assert 0 <= moment(text) < 2**63
