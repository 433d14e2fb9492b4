"""The Containerfile names what is there, and asks after vlad's health with a command that there is."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

from vlad.ctl.parser import make_parser

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "tools/container/Containerfile").read_text().replace("\\\n", " ")


def instructions(name: str) -> list[str]:
    return re.findall(rf"^{name}\s+(.*)$", TEXT, flags=re.MULTILINE)


def test_the_health_check_is_a_command_of_vladctl() -> None:
    (check,) = instructions("HEALTHCHECK")
    program, *words = json.loads(check.partition(" CMD ")[2])
    assert program == "vladctl"
    assert make_parser().parse_args(words).command == "status"
    assert set(re.findall(r"--(\w[\w-]*)=", check)) <= {"interval", "timeout", "start-period", "retries"}


def test_it_runs_as_a_user_of_its_own_from_named_images() -> None:
    assert instructions("USER") == ["vlad"]
    for base in instructions("FROM"):
        assert re.match(r"debian:\d+-slim( AS \w+)?$", base)


def test_it_installs_by_the_tool_that_is_there_and_starts_a_program_of_ours() -> None:
    runs = [word for run in instructions("RUN") for word in shlex.split(run)]
    (tool,) = [word for word in runs if word.startswith("/source/")]
    assert (ROOT / tool.removeprefix("/source/")).is_file()
    assert json.loads(instructions("CMD")[0]) == ["vlad"]
