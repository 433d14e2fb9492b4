"""tools/inject process: faults of harmless processes and of a small disk, and what is refused."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.tools.injecting import TIMEOUT_S, daemon_with, inject
from tools.injection import processes
from tools.injection.remote import InjectionError


def forever():
    return True


@pytest.fixture
def sleeper():
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield child
    child.kill()
    child.wait()


def test_a_process_is_killed(sleeper):
    processes.send_signal(sleeper.pid, signal.SIGKILL)
    assert sleeper.wait(TIMEOUT_S) == -signal.SIGKILL


def test_a_process_stands_still_for_so_long_and_goes_on(sleeper):
    seen = []
    process = psutil.Process(sleeper.pid)

    def going_on():
        seen.append(process.status())
        return len(seen) < 5

    processes.freeze(sleeper.pid, TIMEOUT_S, going_on)
    assert psutil.STATUS_STOPPED in seen
    os.kill(sleeper.pid, 0)
    assert process.status() != psutil.STATUS_STOPPED


def test_a_process_stands_still_until_it_is_continued(sleeper):
    processes.freeze(sleeper.pid, None, forever)
    process = psutil.Process(sleeper.pid)
    end_s = time.monotonic() + TIMEOUT_S
    while process.status() != psutil.STATUS_STOPPED:
        assert time.monotonic() < end_s
    processes.send_signal(sleeper.pid, signal.SIGCONT)


def test_a_process_that_is_not_there_is_said_so(sleeper):
    sleeper.kill()
    sleeper.wait()
    with pytest.raises(InjectionError, match="No such process"):
        processes.send_signal(sleeper.pid, signal.SIGSTOP)


def test_a_host_that_is_not_there_is_said_so(tmp_path):
    with pytest.raises(InjectionError, match=r"tools\.injection\.host"):
        processes.ask_host(tmp_path / "none.sock", "stall", 0.1)


def test_nobody_elses_disk_is_filled(tmp_path):
    with pytest.raises(InjectionError, match="no file system of its own"):
        processes.fill_disk(tmp_path, 0.0, forever)
    with pytest.raises(InjectionError, match="refused"):
        processes.fill_disk(Path("/"), 0.0, forever)


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip("this user may not mount a tmpfs")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_small_tmpfs_is_filled_and_emptied_again(small_disk):
    left = []

    def going_on():
        with pytest.raises(OSError, match="No space left"):
            (small_disk / "log").write_bytes(b"x")
        left.append(psutil.disk_usage(str(small_disk)).free)
        return False

    processes.fill_disk(small_disk, TIMEOUT_S, going_on)
    assert left == [0]
    assert psutil.disk_usage(str(small_disk)).free > 0


def test_memory_is_taken_and_given_back():
    grown = []

    def going_on():
        children = psutil.Process().children()
        grown.append(sum(child.memory_info().rss for child in children if child.is_running()))
        return len(grown) < 30

    assert processes.take_memory(20, TIMEOUT_S, going_on) == 20
    assert max(grown) > 20 * processes.MIB


def test_the_machines_last_memory_is_not_taken(monkeypatch):
    monkeypatch.setattr(processes, "LEAST_FREE_BYTES", 2**62)
    assert processes.take_memory(20, 0.0, forever) == 0


def test_a_command_that_is_refused_says_why(tmp_path, sleeper):
    with daemon_with(tmp_path, "active", False):
        done = inject("process", "kill", "--run-dir", tmp_path, "--pid", sleeper.pid)
    assert done.returncode == 1
    assert "is no simulated robot" in done.stderr
    assert sleeper.poll() is None
    done = inject("process", "kill", "--run-dir", tmp_path)
    assert done.returncode == 1
    assert "kill needs --pid" in done.stderr


@pytest.mark.parametrize("fault", ["stall", "gil", "wall"])
def test_a_host_is_asked_for_what_it_can_do(tmp_path, fault):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "host.sock"))
        listening.settimeout(TIMEOUT_S)
        words = ("--host", tmp_path / "host.sock", "--run-dir", tmp_path, "--seconds", "0.5")
        done = inject("process", fault, *words)
        assert done.returncode == 0, done.stderr
        assert listening.recv(100).split() == [fault.encode(), b"0.5"]
