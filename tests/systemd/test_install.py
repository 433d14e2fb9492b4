"""tools/install and the Debian package: what they put where, that it runs, and that nothing stays behind."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.systemd.machine import Machine, boot
from vlad.maintenance.security.packages import check_packages
from vlad.maintenance.security.units import check_units

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("vlad", "vladctl", "vlad-guard")


def install(*words: object) -> str:
    done = subprocess.run(
        [ROOT / "tools/install", *map(str, words)], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


@pytest.fixture
def copy(image: Path, tmp_path: Path) -> Path:
    subprocess.run(["cp", "-a", "--link", image, tmp_path / "copy"], check=True)
    return tmp_path / "copy"


def test_an_image_holds_all_that_is_needed_and_nothing_of_where_it_was_made(image: Path) -> None:
    made = files(image)
    for name in NAMES:
        assert os.readlink(image / "usr/bin" / name) == f"/opt/vlad/bin/{name}"
        assert (image / "opt/vlad/bin" / name).read_text().startswith("#!/opt/vlad/bin/python")
        assert f"usr/share/man/man1/{name}.1" in made
    assert {
        "usr/lib/systemd/system/vlad.service", "usr/lib/systemd/system/vlad-guard.service",
        "usr/lib/sysusers.d/vlad.conf", "usr/lib/tmpfiles.d/vlad.conf", "etc/vlad/vlad.toml",
        "usr/share/bash-completion/completions/vladctl", "etc/vlad/robots/rover.toml",
        "usr/share/vlad/prometheus/alerts.yml", "usr/share/vlad/grafana/vlad.json",
    } <= made  # fmt: skip
    words = ["grep", "-rlF", str(image), image / "opt/vlad/bin", image / "opt/vlad/pyvenv.cfg", image / "usr"]
    assert subprocess.run(words, capture_output=True, text=True, check=False).stdout == ""
    package = next((image / "opt/vlad/lib").glob("python3.*/site-packages/vlad"))
    assert str(image).encode() not in next(package.glob("__pycache__/daemon.*.pyc")).read_bytes()


def test_a_second_time_keeps_the_settings_and_uninstall_takes_away_what_was_put_there(copy: Path) -> None:
    (copy / "etc/vlad/vlad.toml").unlink()
    (copy / "etc/vlad/vlad.toml").write_text("# mine\n")
    (copy / "usr/bin/other").write_text("not ours")
    before = files(copy)
    told = install("--root", copy)
    assert "kept      /etc/vlad/vlad.toml" in told
    assert "next      boot the image" in told
    assert (copy / "etc/vlad/vlad.toml").read_text() == "# mine\n"
    assert files(copy) == before
    assert "removed   /opt/vlad" in install("--uninstall", "--root", copy)
    assert files(copy) == {
        "etc/vlad/vlad.toml", "etc/vlad/robots/rover.toml", "etc/vlad/robots/g1.toml", "usr/bin/other"
    }  # fmt: skip
    install("--uninstall", "--purge", "--root", copy)
    assert files(copy) == {"usr/bin/other"}


def test_what_was_installed_can_be_compared_with_what_is_there(copy: Path) -> None:
    prefix = copy / "opt/vlad"
    findings = [*check_packages(prefix, lambda part: None), *check_units(prefix, copy)]
    assert [(one.state, one.topic) for one in findings] == [("ok", "packages"), ("ok", "units")]
    package = next((prefix / "lib").glob("python3.*/site-packages/vlad"))
    for path in (package / "safety/kernel.py", copy / "usr/lib/systemd/system/vlad.service"):
        text = path.read_text()
        path.unlink()
        path.write_text(text + "\n")
    (prefix / "bin/extra").write_text("#!/bin/sh\n")
    findings = [*check_packages(prefix, lambda part: None), *check_units(prefix, copy)]
    what = " ".join(one.what for one in findings if one.state == "problem")
    unit = "/usr/lib/systemd/system/vlad.service"
    for word in ("vlad: 1 files were changed", "safety/kernel.py", "bin/extra", unit):
        assert word in what


@pytest.mark.parametrize("words", [("--nonsense",), ("--root",), ("--purge",)])
def test_what_makes_no_sense_is_refused(words: tuple[str, ...]) -> None:
    done = subprocess.run([ROOT / "tools/install", *words], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert done.stderr


@pytest.fixture(scope="module")
def bare(image: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Machine, Path]]:
    """A machine without vlad, and a package of it inside."""
    folder = tmp_path_factory.mktemp("package")
    words = [ROOT / "tools/package", "deb", "--from", image, folder]
    done = subprocess.run(words, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    package = Path(done.stdout.strip())
    with boot(None) as machine:
        inside = machine.root / "root" / package.name
        inside.parent.mkdir(exist_ok=True)
        subprocess.run(["mv", package, inside], check=True)
        yield machine, Path("/root") / package.name


def test_the_package_installs_starts_and_leaves_nothing_when_it_is_purged(bare: tuple[Machine, Path]) -> None:
    machine, package = bare
    told = machine.run("dpkg", "--force-unsafe-io", "-i", package).stdout
    assert "edit /etc/vlad/vlad.toml" in told
    machine.run("systemctl", "enable", "--now", "vlad-guard", "vlad")
    assert "rover" in machine.run("vladctl", "status").stdout
    assert machine.property("ActiveState") == "active"
    assert machine.run("dpkg", "--verify", "vlad").stdout == ""
    pid = machine.property("MainPID")
    machine.run("/var/lib/dpkg/info/vlad.postinst", "configure", "0.0.9")
    assert machine.wait(lambda: machine.daemon_is("disarmed"), "the daemon after an update")["pid"] != int(
        pid
    )
    machine.run("dpkg", "--remove", "vlad")
    assert machine.property("LoadState") == "not-found"
    assert machine.run("test", "-e", "/etc/vlad/vlad.toml", check=False).returncode == 0
    machine.run("dpkg", "--purge", "vlad")
    left = machine.run("find", "/etc", "/usr/lib", "/usr/bin", "/usr/share", "/opt", "/var", "/run", "-xdev",
                       "-path", "*vlad*", "-not", "-path", "/var/log/*", "-not", "-path", "/run/log/*",
                       check=False).stdout  # fmt: skip
    assert [line for line in left.splitlines() if "/var/lib/dpkg" not in line] == []
    for kind, name in (("passwd", "vlad"), ("group", "vlad"), ("group", "vlad-operator")):
        assert machine.run("getent", kind, name, check=False).returncode != 0
