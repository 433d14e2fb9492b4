"""The man pages say what the parsers know, and man takes them without a word."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tools.manual import main
from vlad.ctl.parser import make_parser

NAMES = ("vlad", "vlad-guard", "vladctl")


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("man")
    assert main([str(folder)]) == 0
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_a_page_has_its_sections_and_names_the_others(pages: Path, name: str) -> None:
    text = (pages / f"{name}.1").read_text()
    assert text.startswith(f'.TH {name.upper()} 1 "" "vlad ')
    for section in ("NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "NOTES", "FILES", "SEE ALSO"):
        assert f"\n.SH {section}\n" in text
    for other in set(NAMES) - {name}:
        assert f".BR {other} (1)".replace("-", "\\-") in text


def test_every_command_of_vladctl_is_in_its_page(pages: Path) -> None:
    text = (pages / "vladctl.1").read_text()
    (commands,) = (action for action in make_parser()._actions if action.dest == "command")
    for name in commands.choices or ():
        assert f"\n.B {name}".replace("-", "\\-") in text
    assert "\n.B model activate name version\n" in text


@pytest.mark.parametrize("name", NAMES)
def test_man_shows_it_without_a_warning(pages: Path, name: str) -> None:
    if shutil.which("man") is None:
        pytest.skip("man is not installed: apt-get install man-db")
    words = ["man", "--warnings", "-l", str(pages / f"{name}.1")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == ""
    assert "SEE ALSO" in done.stdout
