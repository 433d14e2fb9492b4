"""What rsync and ssh say, in the words of OpenSSH 9.2 and rsync 3.2, and what a person is told of it.

That they say so is tried out in tests/systemd/test_backup_over_ssh.py.
"""

from __future__ import annotations

import os
import pwd
import shutil
from pathlib import Path

import pytest

from vlad.maintenance.backup import BackupError
from vlad.maintenance.rsync import Rsync, explained

SSH_THAT_LOSES_STDERR = """\
#!/bin/sh
while [ "$1" != nas ]; do shift; done
shift
exec "$@" 2>/dev/null
"""
USER = pwd.getpwuid(os.geteuid()).pw_name
CHANGED = """\
@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @
@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
IT IS POSSIBLE THAT SOMEONE IS DOING SOMETHING NASTY!
Host key verification failed.
"""
OPEN = """\
@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
@         WARNING: UNPROTECTED PRIVATE KEY FILE!          @
@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
Permissions 0644 for '/var/lib/vlad/.ssh/id_ed25519' are too open.
me@nas: Permission denied (publickey).
"""


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (CHANGED, "WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!; me@nas shows another key; if that is "
                  f"right: sudo -H -u {USER} ssh-keygen -R nas, then sudo -H -u {USER} ssh me@nas"),
        (OPEN, "Permissions 0644 for '/var/lib/vlad/.ssh/id_ed25519' are too open; chmod 600 for that file"),
        ("No ED25519 host key is known for nas and you have requested strict checking.\n"
         "Host key verification failed.",
         "No ED25519 host key is known for nas and you have requested strict checking; have "
         f"{USER} see its key, and take it if it is the right one: sudo -H -u {USER} ssh me@nas"),
        ("rsync: [Receiver] Failed to exec ssh: No such file or directory (2)",
         "rsync: [Receiver] Failed to exec ssh: No such file or directory (2); "
         "install it here: apt-get install openssh-client"),
        ("bash: line 1: rsync: command not found\nrsync: connection unexpectedly closed",
         "bash: line 1: rsync: command not found; install rsync on me@nas: apt-get install rsync"),
        ("ssh: Could not resolve hostname nas: Name or service not known\nrsync error: unexplained",
         "ssh: Could not resolve hostname nas: Name or service not known"),
    ],
)  # fmt: skip
def test_the_line_that_counts_is_told_and_what_to_do_about_it(said: str, told: str) -> None:
    assert explained(said, "me@nas:/backups") == told


def test_of_a_server_the_host_is_named_without_its_folder() -> None:
    said = 'rsync: [sender] change_dir "/x" (in robots) failed: No such file or directory (2)'
    assert explained(said, "rsync://nas/robots/x").endswith(
        "make that folder on nas, for the user who logs in there"
    )


@pytest.mark.skipif(not shutil.which("rsync"), reason="needs apt-get install rsync")
def test_what_went_wrong_is_told_also_where_ssh_ends_before_it_passed_it_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """rsync ends its ssh when the other side has failed, sometimes before the reason has come through it."""
    ssh = tmp_path / "ssh"
    ssh.write_text(SSH_THAT_LOSES_STDERR)
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(BackupError, match=r"No such file or directory \(2\); make that folder on nas"):
        Rsync(f"nas:{tmp_path}/none", 60).names()
