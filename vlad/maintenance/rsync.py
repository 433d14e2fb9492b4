"""rsync to a folder of another computer, and what to do where it fails."""

from __future__ import annotations

import os
import pwd
import re
import subprocess
import tempfile
from pathlib import Path

from vlad.maintenance.backup import MANIFEST, BackupError

PART = ".part"
_CONNECT_S = 10
_SSH = f"ssh -o BatchMode=yes -o ConnectTimeout={_CONNECT_S}"
_PRIVATE = ("--perms", "--chmod=D0700,F0600")
_COMPARING = ("--checksum", "--dry-run", "--itemize-changes", "--delete")
_NO_REASON = re.compile(r"rsync error: .*|rsync: .* Broken pipe \(32\)")
_REASONS_IN_BAND = "--stderr=client"
"""The other side's reasons come as part of rsync's own talk. Else they come through ssh's stderr, which rsync
may end before they are through. An rsync older than 3.2.3 on the other side knows no other way, nor this word
for it, so it is used only where the reason was lost."""
_MENDS = (
    ("HOST IDENTIFICATION HAS CHANGED",
     "{host} shows another key; if that is right: {run} ssh-keygen -R {name}, then {run} ssh {host}"),
    ("host key is known|Host key verification failed",
     "have {user} see its key, and take it if it is the right one: {run} ssh {host}"),
    ("Permissions .* are too open|[Bb]ad (owner or )?permissions", "chmod 600 for that file"),
    (r"Permission denied \([a-z]",
     "no key of {user} opens it: {run} ssh-keygen -t ed25519 -N '', where there is none; "
     "then {run} ssh-copy-id {host}"),
    ("rsync: (command )?not found", "install rsync on {host}: apt-get install rsync"),
    ("Failed to exec ssh", "install it here: apt-get install openssh-client"),
    ("change_dir .* failed: No such file", "make that folder on {host}, for the user who logs in there"),
    ("failed: Permission denied", "give that folder on {host} to the user who logs in there"),
    ("Operation not permitted",
     "beyond the robot's own networks: systemctl edit vlad, [Service] IPAddressAllow=ADDRESS of {host}"),
)  # fmt: skip
"""What is said where something fails -> what to do about it. The first that is said counts."""


class Rsync:
    """One folder of another computer."""

    def __init__(self, target: str, timeout_s: int) -> None:
        self._target = target
        self._words = ["rsync", "--recursive", "--protect-args", f"--timeout={timeout_s}"]
        if target.startswith("rsync://"):
            self._words.append(f"--contimeout={_CONNECT_S}")

    def names(self) -> list[str]:
        """What is in it: folders, and which of them have a manifest."""
        chosen = ("--include=/*/", f"--include=/*/{MANIFEST}", "--exclude=*")
        listed = self._run("--list-only", *chosen, paths=(f"{self._target}/",))
        return [line.split(maxsplit=4)[-1] for line in listed.splitlines() if line]

    def send(self, folder: Path, name: str) -> None:
        """All of it, the manifest last; then the other side reads it again. BackupError where it differs."""
        paths = (f"{folder}/", f"{self._target}/{name}/")
        self._run(*_PRIVATE, f"--exclude=/{MANIFEST}", paths=paths)
        self._run(*_PRIVATE, paths=paths)
        if differing := self._run(*_PRIVATE, *_COMPARING, paths=paths).strip():
            raise BackupError(f"{self._target}/{name}: differs from what was sent:\n{differing}")

    def delete(self, names: list[str], scratch: Path) -> str:
        """Why they could not be deleted; empty: they are."""
        if not names:
            return ""
        with tempfile.TemporaryDirectory(dir=scratch, suffix=PART) as empty:
            chosen = (f"--include=/{name}/***" for name in names)
            try:
                self._run("--delete", *chosen, "--exclude=*", paths=(f"{empty}/", f"{self._target}/"))
            except BackupError as error:
                return f"old backups could not be deleted: {error}"
        return ""

    def _run(self, *options: str, paths: tuple[str, ...]) -> str:
        """What it says; BackupError where it fails."""
        command = [*self._words, *options, "--", *paths]
        done = _done(command)
        if done.returncode != 0 and all(map(_NO_REASON.fullmatch, done.stderr.splitlines())):
            done = _done([command[0], _REASONS_IN_BAND, *command[1:]])
        if done.returncode != 0:
            said = done.stderr.strip() or f"ended with status {done.returncode}"
            raise BackupError(f"{self._target}: {explained(said, self._target)}")
        return done.stdout


def _done(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False,
        env={**os.environ, "RSYNC_RSH": _SSH, "LC_ALL": "C"},
    )  # fmt: skip


def explained(said: str, target: str) -> str:
    """The line that tells what went wrong, of all that rsync and ssh said, and what to do about it."""
    lines = said.splitlines()
    for pattern, mend in _MENDS:
        if line := next((line.strip() for line in lines if re.search(pattern, line)), ""):
            host = target.removeprefix("rsync://").partition("/" if "://" in target else ":")[0]
            user = pwd.getpwuid(os.geteuid()).pw_name
            words = {"host": host, "name": host.rpartition("@")[2], "user": user, "run": f"sudo -H -u {user}"}
            return f"{line.strip('@ .')}; {mend.format(**words)}"
    return lines[0]
