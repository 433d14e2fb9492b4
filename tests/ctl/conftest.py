"""vladctl as a process, against a control socket with a stand-in daemon behind it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.ctl.reports import report
from tests.fake_daemon import Served

Vladctl = Callable[..., subprocess.CompletedProcess[str]]
ROOT = Path(__file__).parents[2]


def environment(run_dir: Path, **more: str) -> dict[str, str]:
    kept = {
        key: value for key, value in os.environ.items() if key not in ("COLUMNS", "FORCE_COLOR", "NO_COLOR")
    }
    return kept | {"VLAD_RUN_DIR": str(run_dir), "PYTHONPATH": str(ROOT)} | more


@pytest.fixture
def vladctl(tmp_path: Path) -> Vladctl:
    def run(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "vlad.ctl", *arguments],
            env=environment(tmp_path, **more), capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    return run


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Served]:
    with Served(tmp_path) as served:
        served.actions.report = report()
        yield served
