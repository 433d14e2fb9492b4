"""Backups over ssh from inside the service's own sandbox: what is missing is told, with how to mend it."""

from __future__ import annotations

import json
import shutil
from typing import Any

import pytest

from tests.systemd.machine import Machine
from vlad.maintenance.backup import read_manifest, verify

SSHD = "/usr/sbin/sshd"
HOST, FOLDER = "keeper@127.0.0.1", "home/keeper/robots"

pytestmark = pytest.mark.skipif(
    not shutil.which(SSHD) or not shutil.which("rsync"), reason="needs apt-get install openssh-server rsync"
)


def serve(machine: Machine, *options: str) -> None:
    """Start sshd, with these options."""
    machine.run("systemctl", "stop", "far-sshd", check=False)
    machine.run("mkdir", "-p", "/run/sshd")
    words = [SSHD, "-D", "-f", "/dev/null", *(word for option in options for word in ("-o", option))]
    machine.run("systemd-run", "--collect", "--unit=far-sshd", *words)
    machine.wait(lambda: machine.run("ssh-keyscan", "127.0.0.1", check=False).stdout, "sshd")


def as_vlad(machine: Machine, *words: str, check: bool = True) -> None:
    """What README.md has a person do by sudo."""
    machine.run("runuser", "-u", "vlad", "--", *words, check=check)


@pytest.fixture(scope="module")
def service(machine: Machine) -> Machine:
    """vlad, whose backups go to `keeper`, who is on the same computer but can only be reached by ssh."""
    machine.run("useradd", "--create-home", "--shell", "/bin/sh", "--password", "*", "keeper")
    serve(machine)
    target = f'[maintenance.backup]\ntargets = ["{HOST}:/{FOLDER}"]\n'
    folder = machine.root / "etc/vlad/vlad.toml.d"
    folder.mkdir(exist_ok=True)
    (folder / "backup.toml").write_text(target)
    machine.run("systemctl", "start", "vlad-guard", "vlad")
    machine.wait(lambda: machine.daemon_is("disarmed"), "the daemon")
    return machine


def back_up(machine: Machine) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(
        machine.run("vladctl", "maintenance", "run", "backup", "--json", check=False).stdout
    )
    return told


def fails(machine: Machine, what: str, mend: str) -> None:
    told = back_up(machine)
    assert told["verdict"] == "failed"
    assert told["summary"].startswith(f"{HOST}:/{FOLDER}: ")
    assert what in told["summary"]
    assert mend in told["summary"]


def test_what_is_missing_is_told_one_after_the_other_until_a_backup_is_there_and_verified(
    service: Machine,
) -> None:
    home, far = service.root / "var/lib/vlad/.ssh", service.root / FOLDER
    fails(service, "Host key verification failed;", f"sudo -H -u vlad ssh {HOST}")
    as_vlad(service, "ssh", "-oBatchMode=yes", "-oStrictHostKeyChecking=accept-new", HOST, check=False)
    fails(service, "Permission denied (publickey", f"sudo -H -u vlad ssh-copy-id {HOST}")
    as_vlad(service, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "/var/lib/vlad/.ssh/id_ed25519")
    service.run("install", "-d", "-o", "keeper", "-m", "700", "/home/keeper/.ssh")
    keys = "/home/keeper/.ssh/authorized_keys"
    service.run("install", "-o", "keeper", "-m", "600", "/var/lib/vlad/.ssh/id_ed25519.pub", keys)
    serve(service, "SetEnv=PATH=/nowhere")
    fails(service, "rsync: not found", f"install rsync on {HOST}: apt-get install rsync")
    serve(service)
    fails(service, "No such file or directory", f"make that folder on {HOST}")
    service.run("install", "-d", f"/{FOLDER}")
    fails(service, "Permission denied", f"give that folder on {HOST} to the user who logs in there")
    service.run("chown", "keeper", f"/{FOLDER}")
    told = back_up(service)
    assert told["verdict"] == "ok", told
    (made,) = far.iterdir()
    manifest = read_manifest(made)
    assert list(verify(made, manifest)) == []
    assert {"settings/vlad.toml", "state/vlad.db"} <= {entry.name for entry in manifest.entries}
    assert made.stat().st_uid == int(service.run("id", "-u", "keeper").stdout)
    assert home.stat().st_mode & 0o77 == 0


def test_a_host_that_shows_another_key_is_told_how_to_trust_it_again(service: Machine) -> None:
    as_vlad(service, "ssh", "-oBatchMode=yes", "-oStrictHostKeyChecking=accept-new", HOST, check=False)
    service.run("sh", "-c", "rm /etc/ssh/ssh_host_*; ssh-keygen -A")
    serve(service)
    fails(service, "HOST IDENTIFICATION HAS CHANGED", "sudo -H -u vlad ssh-keygen -R 127.0.0.1")
