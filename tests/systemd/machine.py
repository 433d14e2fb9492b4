"""A machine of our own: a real systemd as PID 1 of a container, over a throw-away overlay of this system."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from vlad.ctl.client import Client, ControlError

_PATIENCE_S = 30.0
_GROUPS = Path("/sys/fs/cgroup")
_HIERARCHIES = [_GROUPS, *(_GROUPS / name for name in ("systemd", "memory", "pids", "devices", "unified"))]
"""The first is one with version 2 of control groups, the others are with version 1."""
_DEVICE = Path("/dev/cpu_dma_latency")
_OPTIONS = (
    "--quiet", "--register=no", "--keep-unit", "--private-network", "--console=pipe", "--link-journal=no",
    "--capability=CAP_SYS_NICE,CAP_IPC_LOCK",
)  # fmt: skip


def missing() -> str:
    """Why no machine can be had here; empty: it can."""
    if os.geteuid() != 0:
        return "only root may start a container"
    if shutil.which("systemd-nspawn") is None:
        return "systemd-nspawn is missing: apt-get install systemd-container"
    if not _DEVICE.exists():
        return f"this machine has no {_DEVICE}"
    return ""


class Machine:
    """What runs inside, seen from outside: its file system is under `root`, its processes are ours to see."""

    def __init__(self, root: Path, leader: int) -> None:
        self.root = root
        self.leader = leader

    @property
    def run_dir(self) -> Path:
        """vlad's run folder; its sockets can be connected to from here."""
        return Path(f"/proc/{self.leader}/root/run/vlad")

    @property
    def sensors(self) -> str:
        return f"ipc://{self.run_dir}/sensors.sock"

    @property
    def commands(self) -> str:
        return f"ipc://{self.run_dir}/commands.sock"

    def run(self, *words: object, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a program inside, as root."""
        command = ["nsenter", "--target", str(self.leader), "--all", *map(str, words)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        if check and done.returncode:
            told = f"{done.stdout}{done.stderr}\n{self.journal()}"
            raise AssertionError(f"{' '.join(map(str, words))}: exit status {done.returncode}\n{told}")
        return done

    def journal(self, *words: object) -> str:
        """What vlad and its guard have logged, or what journalctl says with other `words`."""
        asked = words or ("-u", "vlad", "-u", "vlad-guard", "-n", "60")
        return self.run("journalctl", "--no-pager", "-o", "short-monotonic", *asked, check=False).stdout

    def property(self, name: str, unit: str = "vlad") -> str:
        """One property of a unit, as `systemctl show` knows it."""
        return self.run("systemctl", "show", "--value", "-p", name, unit).stdout.strip()

    def call(self, method: str, **params: Any) -> Any:
        with Client(self.run_dir, 5.0) as client:
            return client.call(method, **params)

    def wait(self, what: Callable[[], Any], about: str) -> Any:
        """The first truth that `what` tells; the journal where none comes."""
        end_s = time.monotonic() + _PATIENCE_S
        while time.monotonic() < end_s:
            with contextlib.suppress(ControlError, OSError):
                if seen := what():
                    return seen
            time.sleep(0.05)
        raise AssertionError(f"not seen: {about}\n{self.journal()}")

    def daemon_is(self, *modes: str) -> Any:
        """The daemon's status if it is in one of these modes, else nothing."""
        status = self.call("status")
        return status if status["mode"] in modes else None


@contextlib.contextmanager
def boot(image: Path | None) -> Iterator[Machine]:
    """A machine that runs this system, with `image` laid over it; all that it writes is gone at the end."""
    folder = Path(tempfile.mkdtemp(prefix="vlad-machine-"))
    with contextlib.ExitStack() as closing:
        closing.callback(folder.rmdir)
        _mount(closing, "-t", "tmpfs", "tmpfs", folder)
        for name in ("upper", "work", "root"):
            (folder / name).mkdir()
        root = folder / "root"
        layers = f"lowerdir=/,upperdir={folder}/upper,workdir={folder}/work"
        _mount(closing, "-t", "overlay", "overlay", "-o", layers, root)
        (root / "etc" / "machine-id").write_text(uuid.uuid4().hex + "\n")
        words = ["systemd-nspawn", *_OPTIONS, "-M", f"vlad-{uuid.uuid4().hex[:8]}", "-D", root]
        words.append(f"--bind={_own_node(folder, _DEVICE)}:{_DEVICE}")
        if image is not None:
            shutil.copytree(image / "etc", root / "etc", dirs_exist_ok=True, symlinks=True)
            shutil.copytree(image / "usr", root / "usr", dirs_exist_ok=True, symlinks=True)
            words.append(f"--bind-ro={image}/opt/vlad:/opt/vlad")
        console = closing.enter_context((folder / "console").open("wb"))
        groups = _own_groups(closing, folder.name)
        enter = 'for group in $0; do echo $$ >$group/cgroup.procs; done; exec "$@"'
        container = subprocess.Popen(
            ["sh", "-c", enter, " ".join(groups), *map(str, words), "--boot", "systemd.unit=basic.target"],
            stdin=subprocess.DEVNULL, stdout=console, stderr=console,
        )  # fmt: skip
        closing.callback(_end, container)
        machine = Machine(root, _leader(container))
        machine.wait(lambda: _is_up(machine), f"systemd\n{(folder / 'console').read_text()}")
        yield machine


def _mount(closing: contextlib.ExitStack, *words: object) -> None:
    subprocess.run(["mount", *map(str, words)], check=True)
    closing.callback(subprocess.run, ["umount", str(words[-1])], check=True)


def _own_node(folder: Path, device: Path) -> Path:
    """The same device under a node of its own, whose owner and mode the machine may change."""
    node = folder / device.name
    os.mknod(node, stat.S_IFCHR | 0o600, device.stat().st_rdev)
    return node


def _own_groups(closing: contextlib.ExitStack, name: str) -> list[str]:
    """Control groups for one machine alone: two in one would take each other's services for their own."""
    groups = []
    for hierarchy in _HIERARCHIES:
        if (hierarchy / "cgroup.procs").exists():
            group = hierarchy / name
            group.mkdir()
            groups.append(str(group))
            closing.callback(_remove_group, group)
    return groups


def _remove_group(group: Path) -> None:
    """With all that systemd made below; what runs there still is ended by the kernel in a moment."""
    for folder, _, _ in os.walk(group, topdown=False):
        end_s = time.monotonic() + 5
        while Path(folder).exists():
            try:
                os.rmdir(folder)
            except OSError:
                if time.monotonic() > end_s:
                    raise
                time.sleep(0.05)


def _leader(container: subprocess.Popen[bytes]) -> int:
    """The init of the container: the only child that nspawn has in the end."""
    children = Path(f"/proc/{container.pid}/task/{container.pid}/children")
    end_s = time.monotonic() + _PATIENCE_S
    while time.monotonic() < end_s and container.poll() is None:
        for child in map(int, children.read_text().split()):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
                if Path(f"/proc/{child}/comm").read_text() == "systemd\n":
                    return child
        time.sleep(0.02)
    raise AssertionError("systemd-nspawn started nothing")


def _is_up(machine: Machine) -> bool:
    told = machine.run("systemctl", "is-system-running", check=False).stdout.strip()
    return told in ("running", "degraded")


def _end(container: subprocess.Popen[bytes]) -> None:
    for _ in range(2):  # the first asks it to shut down, the second does not ask
        container.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            container.wait(timeout=10)
            return
    container.kill()
    container.wait()
