"""An image with vlad installed by tools/install, once, and machines that run it."""

from __future__ import annotations

import fcntl
import hashlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.systemd.machine import Machine, boot, missing
from tools.benchmarks.rig import write_policy
from vlad.policy.toml import write_toml

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"
SOURCES = (
    "vlad",
    "systemd",
    "etc",
    "tools/install",
    "tools/manual.py",
    "tools/constraints.txt",
    "pyproject.toml",
)


def fingerprint() -> str:
    """Of all that an installation is made from."""
    digest = hashlib.sha256()
    for source in SOURCES:
        for path in sorted([ROOT / source, *(ROOT / source).rglob("*")]):
            if path.is_file() and path.suffix != ".pyc":
                digest.update(str(path).encode() + path.read_bytes())
    return digest.hexdigest()


@pytest.fixture(scope="session")
def image() -> Path:
    """The folder of an image, as `tools/install --root` makes it; kept for the next run, under build/."""
    if reason := missing():
        pytest.skip(reason)
    BUILD.mkdir(exist_ok=True)
    folder, stamp = BUILD / "image", BUILD / "image.sha256"
    with (BUILD / "image.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        wanted = fingerprint()
        if not stamp.exists() or stamp.read_text() != wanted:
            stamp.unlink(missing_ok=True)
            words = [ROOT / "tools/install", "--root", folder]
            done = subprocess.run(words, capture_output=True, text=True, timeout=600, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
            stamp.write_text(wanted)
    return folder


@pytest.fixture(scope="module")
def machine(image: Path) -> Iterator[Machine]:
    """A machine with vlad on it that was never started, with settings for a robot that a camera can drive."""
    with boot(image) as made:
        write_policy(made.root / "opt" / "bundle", "camera", 32, rounds=0, twist=(0.4, 0.0))
        axes = {
            "linear_x": {"velocity": 1.0, "acceleration": 0.5},
            "angular_z": {"velocity": 1.0, "acceleration": 1.0},
        }
        robot = {"name": "bench", "type": "rover", "command": "twist", "axes": axes}
        (made.root / "etc/vlad/robots/bench.toml").write_text(write_toml(robot))
        settings = {
            "robot": {"limits": "robots/bench.toml"},
            "signals": {"camera": {"type": "image", "max_age_s": 1.0}},
            "policy": {"bundle": "/opt/bundle"},
            # A machine under test has other things to do, too.
            "guard": {"silence_ms": 500},
            "safety": {"command_ttl_ms": 100},
        }
        (made.root / "etc/vlad/vlad.toml").write_text(write_toml(settings))
        yield made
