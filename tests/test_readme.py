"""The README is true: its commands are run by tests, its links lead somewhere, its code compiles."""

import os
import re
import shlex
import subprocess
import tomllib
from pathlib import Path

import pytest

from tools.fault_table import with_table
from vlad.policy.manifest import Manifest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


COMMANDS = [line for block in blocks("bash") for line in block.strip().splitlines()]

ELSEWHERE = {
    "tools/demo": "tests/tools/test_demo.py",
    "tools/demo --seconds 30 --headless --json": "tests/tools/test_demo.py",
    "tools/test": ".ci/run",
    "tools/install": "tests/systemd/test_install.py",
    "tools/package deb": "tests/systemd/test_install.py",
    "tools/evaluate demo --worlds 100": "tests/tools/test_commands.py",
    "tools/train_g1 DATASET": "tests/tools/test_commands.py",
    "tools/evaluate g1 DATASET": "tests/tools/test_commands.py",
    "tools/replay DATASET --episode 27 --loop --endpoint ipc:///tmp/vlad/sensors.sock": (
        "tests/tools/test_commands.py"
    ),
    ".venv/bin/vlad --config etc/demo.toml --run-dir /tmp/vlad --state-dir /tmp/vlad/state": "below",
    ".venv/bin/vlad --config etc/g1.toml --run-dir /tmp/vlad --state-dir /tmp/vlad/state": "below",
    ".venv/bin/vlad-guard --config etc/demo.toml --run-dir /tmp/vlad": "below",
    ".venv/bin/vlad-guard --config etc/g1.toml --run-dir /tmp/vlad": "below",
    ".venv/bin/vladctl doctor --config etc/demo.toml": "tests/ctl/test_doctor.py",
}
"""Commands that take long, and the test that runs them with smaller numbers."""


@pytest.mark.parametrize("command", [command for command in COMMANDS if command not in ELSEWHERE])
def test_a_command_of_the_readme_runs(command):
    done = subprocess.run(shlex.split(command), cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", sorted(ELSEWHERE))
def test_a_long_command_is_in_the_readme_and_is_run_by_another_test(command):
    assert command in COMMANDS
    where = ELSEWHERE[command]
    if where != "below":
        assert Path(shlex.split(command)[0]).name in (ROOT / where).read_text()
        assert os.access(ROOT / shlex.split(command)[0], os.X_OK)


@pytest.mark.parametrize(
    "command", [command for command in COMMANDS if command.startswith(".venv/bin/vlad ")]
)
def test_the_daemon_starts_as_the_readme_says(tmp_path, command):
    words = shlex.split(command.replace("/tmp/vlad", str(tmp_path)))
    with subprocess.Popen(words, cwd=ROOT, stderr=subprocess.PIPE) as daemon:
        try:
            status = ["--run-dir", str(tmp_path), "status", "--json"]
            for _ in range(100):
                done = subprocess.run([ROOT / ".venv/bin/vladctl", *status], capture_output=True, text=True)
                if done.returncode == 0:
                    break
            assert done.returncode == 0, done.stderr
        finally:
            daemon.terminate()
        assert daemon.wait(timeout=20) == 0


@pytest.mark.parametrize(
    "command", [command for command in COMMANDS if command.startswith(".venv/bin/vlad-guard ")]
)
def test_the_guard_starts_as_the_readme_says(tmp_path, command):
    words = shlex.split(command.replace("/tmp/vlad", str(tmp_path)))
    with subprocess.Popen(words, cwd=ROOT, stderr=subprocess.PIPE, text=True) as guard:
        try:
            assert f"guards {tmp_path}" in guard.stderr.readline()
        finally:
            guard.terminate()
        assert guard.wait(timeout=20) == 0


@pytest.mark.parametrize("code", blocks("python"))
def test_the_python_of_the_readme_compiles_and_imports_what_is_there(code):
    compile(code, "README.md", "exec")
    imports = [line for line in code.splitlines() if line.startswith("from vlad")]
    exec("\n".join(imports), {})


@pytest.mark.parametrize("text", [text for text in blocks("toml") if text.startswith("schema")])
def test_a_manifest_of_the_readme_is_whole(text):
    Manifest.model_validate(tomllib.loads(text))


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)#]+)\)", README))))
def test_a_link_of_the_readme_leads_somewhere(target):
    assert (ROOT / target).exists()


def test_the_fault_table_is_the_one_of_the_code():
    assert with_table(README) == README, "run: python -m tools.fault_table --write"
