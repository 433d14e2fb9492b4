"""The checks of maintenance inside the service's own sandbox, of vlad as it was installed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.systemd.machine import Machine

Row = dict[str, Any]


@pytest.fixture(scope="module")
def service(machine: Machine) -> Machine:
    machine.run("systemctl", "start", "vlad-guard", "vlad")
    machine.wait(lambda: machine.daemon_is("disarmed"), "the daemon")
    return machine


def check(machine: Machine, name: str) -> list[Row]:
    done = machine.run("vladctl", "maintenance", "run", name, "--json", check=False)
    told = json.loads(done.stdout)
    assert told["verdict"] in ("ok", "warning"), told
    rows: list[Row] = told["rows"]
    return rows


def states(rows: list[Row], topic: str) -> set[str]:
    return {row["state"] for row in rows if row["topic"] == topic}


def test_an_installation_as_it_was_made_has_no_problem_and_a_changed_one_has(service: Machine) -> None:
    rows = check(service, "security_scan")
    assert [row for row in rows if row["state"] == "problem"] == []
    for topic in ("packages", "units", "state folder", "sockets", "accounts"):
        assert states(rows, topic) == {"ok"}, rows
    service.run("sh", "-c", "echo '# more' >>/usr/lib/systemd/system/vlad.service")
    service.run("chmod", "666", "/etc/vlad/vlad.toml")
    rows = check(service, "security_scan")
    for topic in ("units", "settings"):
        assert "problem" in states(rows, topic), rows


def test_hardware_is_looked_at_from_inside_the_sandbox(service: Machine) -> None:
    rows = check(service, "hardware_check")
    assert "problem" in states(rows, "sensor camera")
    assert all(row["mend"] for row in rows if row["state"] == "unknown")
