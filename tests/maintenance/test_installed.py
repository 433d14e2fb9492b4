"""Packages against their lock and units against their hashes, of a real small environment."""

import subprocess
import sys
from pathlib import Path

import pytest

from vlad.maintenance.security.packages import LOCK, check_packages, lock_text
from vlad.maintenance.security.units import check_units

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def prefix(tmp_path):
    """An environment with two packages, as pip leaves them, and its lock."""
    folder = tmp_path / "opt/vlad"
    site = folder / "lib/python3.11/site-packages"
    for name, version in (("good", "1.0"), ("other", "2.5")):
        package, info = site / name, site / f"{name}-{version}.dist-info"
        package.mkdir(parents=True)
        info.mkdir()
        (package / "__init__.py").write_text(f"VERSION = {version!r}\n")
        (package / "core.py").write_text("def answer():\n    return 42\n")
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        listed = [f"{name}/__init__.py,,", f"{name}/core.py,,", f"{name}-{version}.dist-info/METADATA,,",
                  f"../../../bin/{name},,", f"{name}-{version}.dist-info/RECORD,,"]  # fmt: skip
        (info / "RECORD").write_text("\n".join(listed) + "\n")
        (folder / "bin").mkdir(exist_ok=True)
        (folder / "bin" / name).write_text("#!/opt/vlad/bin/python\n")
    (folder / "bin/python").symlink_to("/usr/bin/python3")
    (folder / "lib64").symlink_to("lib")
    (folder / LOCK).write_text(lock_text(folder))
    return folder


def told(prefix):
    return [(one.state, one.what) for one in check_packages(prefix, lambda part: None)]


def test_packages_as_they_were_installed_are_well(prefix):
    ((state, what),) = told(prefix)
    assert state == "ok"
    assert "2 packages, 12 files" in what


def test_a_changed_file_is_told_with_its_package(prefix):
    (prefix / "lib/python3.11/site-packages/good/core.py").write_text("def answer():\n    return 43\n")
    ((state, what),) = told(prefix)
    assert (state, what.split(":")[0]) == ("problem", "good")
    assert "good/core.py" in what


def test_a_changed_script_and_a_link_that_leads_elsewhere_are_told(prefix):
    (prefix / "bin/other").write_text("#!/bin/sh\n")
    (prefix / "bin/python").unlink()
    (prefix / "bin/python").symlink_to("/tmp/python")
    assert [state for state, _ in told(prefix)] == ["problem", "problem"]
    assert any("other: 1 files" in what for _, what in told(prefix))
    assert any("bin/python" in what for _, what in told(prefix))


def test_another_version_is_told_by_its_numbers(prefix):
    site = prefix / "lib/python3.11/site-packages"
    (site / "good-1.0.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: good\nVersion: 1.1\n")
    assert any("good: 1.1, the lock says 1.0" in what for _, what in told(prefix))


def test_files_that_somebody_put_there_are_told_and_compiled_ones_less_loudly(prefix):
    site = prefix / "lib/python3.11/site-packages"
    (site / "evil.pth").write_text("import evil\n")
    (site / "good/__pycache__").mkdir()
    (site / "good/__pycache__/core.cpython-311.pyc").write_bytes(b"0")
    states = {what.split(" files")[0]: state for state, what in told(prefix)}
    assert states == {"of no package: 1": "problem", "1 compiled": "warning"}


def test_a_file_and_a_package_that_are_gone_are_told(prefix):
    site = prefix / "lib/python3.11/site-packages"
    (site / "good/core.py").unlink()
    for path in (site / "other-2.5.dist-info").iterdir():
        path.unlink()
    what = " ".join(what for _, what in told(prefix))
    assert "good: 1 files are missing" in what
    assert "other: is not there, the lock says 2.5" in what


def test_without_a_lock_nothing_is_known_and_a_broken_one_is_a_problem(prefix):
    (prefix / LOCK).write_text("nonsense\n\nmore of it\n")
    assert [state for state, _ in told(prefix)] == ["problem"]
    (prefix / LOCK).unlink()
    assert [state for state, _ in told(prefix)] == ["unknown"]


def test_the_lock_is_what_sha256sum_would_write(prefix):
    _, _, tail = (prefix / LOCK).read_text().partition("\n\n")
    regular = [line for line in tail.splitlines() if not (prefix / line[66:]).is_symlink()]
    done = subprocess.run(
        ["sha256sum", "--check", "--status"],
        input="\n".join(regular) + "\n",
        text=True,
        cwd=prefix,
        check=False,
    )
    assert done.returncode == 0
    assert len(regular) == 10


def test_the_module_prints_the_lock_of_the_environment_that_runs_it(tmp_path):
    folder = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    libraries = next(path for path in sys.path if path.endswith("site-packages"))
    words = [folder / "bin/python", "-B", "-m", "vlad.maintenance.security.packages"]
    environment = {"PYTHONPATH": f"{ROOT}:{libraries}"}
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60, env=environment)
    (folder / LOCK).write_text(done.stdout)
    assert "pyvenv.cfg" in done.stdout
    assert [state for state, _ in told(folder)] == ["ok"]


@pytest.fixture
def system(tmp_path):
    """A system with vlad's unit in it, and where it was installed."""
    unit = tmp_path / "usr/lib/systemd/system/vlad.service"
    unit.parent.mkdir(parents=True)
    unit.write_text("[Service]\nExecStart=/opt/vlad/bin/vlad\n")
    prefix = tmp_path / "opt/vlad"
    prefix.mkdir(parents=True)
    done = subprocess.run(["sha256sum", unit], capture_output=True, text=True, check=True)
    (prefix / "units.sha256").write_text(done.stdout.replace(str(tmp_path), ""))
    return tmp_path


def of_units(system):
    return [(one.state, one.what) for one in check_units(system / "opt/vlad", system)]


def test_a_unit_as_it_was_installed_is_well(system):
    assert [state for state, _ in of_units(system)] == ["ok"]


def test_a_changed_unit_and_a_missing_one_are_a_problem(system):
    unit = system / "usr/lib/systemd/system/vlad.service"
    unit.write_text(unit.read_text() + "User=root\n")
    assert of_units(system) == [
        ("problem", "/usr/lib/systemd/system/vlad.service: was changed since it was installed")
    ]
    unit.unlink()
    assert of_units(system) == [
        ("problem", "/usr/lib/systemd/system/vlad.service: is missing since it was installed")
    ]


@pytest.mark.parametrize(
    ("text", "state", "keys"),
    [
        ("[Service]\nCPUAffinity=3\n", "ok", "CPUAffinity"),
        ("[Service]\nUser=root\nNice=3\n", "warning", "User"),
        ("[Service]\nExecStartPre=+/tmp/x\n", "warning", "ExecStartPre"),
        ("[Service]\n# ExecStart=/bin/false\n", "ok", "nothing"),
    ],
)
def test_drop_ins_are_listed_and_those_that_change_what_it_may_do_are_told(system, text, state, keys):
    folder = system / "etc/systemd/system/vlad.service.d"
    folder.mkdir(parents=True)
    (folder / "override.conf").write_text(text)
    found = [(one, what) for one, what in of_units(system) if "drop-in" in what]
    assert found == [(state, f"/etc/systemd/system/vlad.service.d/override.conf: a drop-in sets {keys}")]


def test_a_unit_that_counts_in_place_of_ours_is_told(system):
    (system / "etc/systemd/system").mkdir(parents=True)
    (system / "etc/systemd/system/vlad.service").write_text("[Service]\n")
    assert any(state == "warning" and "in place of" in what for state, what in of_units(system))


def test_without_the_list_nothing_is_known_of_units(tmp_path):
    assert of_units(tmp_path)[0][0] == "unknown"
