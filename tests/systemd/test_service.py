"""vlad under a real systemd: it gets ready, is watched, restarted, stopped and reloaded."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.systemd.machine import Machine, missing
from vlad.driver import CommandReceiver
from vlad.messages import Command, CommandMode

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())


def vladctl(machine: Machine, *words: str) -> subprocess.CompletedProcess[str]:
    return machine.run("vladctl", *words, check=False)


def test_it_gets_ready_and_vladctl_finds_it(vlad: Machine) -> None:
    assert vlad.property("ActiveState") == "active"
    assert vlad.property("StatusText") == "bench: disarmed"
    assert vlad.property("ActiveState", "vlad-guard") == "active"
    status = json.loads(vladctl(vlad, "status", "--json").stdout)
    assert status["mode"] == "disarmed"
    assert status["policy"]["state"] == "running"
    assert vlad.wait(lambda: vlad.call("status")["guard"]["state"] == "watching", "the guard")
