"""What rsync and ssh say, in the words of OpenSSH 9.2 and rsync 3.2, and what a person is told of it.

That they say so is tried out in tests/systemd/test_backup_over_ssh.py.
"""

from __future__ import annotations

import os
import pwd

import pytest

from vlad.maintenance.rsync import explained

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
