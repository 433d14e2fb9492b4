"""vlad under a real systemd: it gets ready, is watched, restarted, reloaded and stopped, and is fenced in."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tests.record.recordings import metadata, read
from tests.systemd.machine import Machine, missing
from tools.benchmarks.rig import write_policy
from vlad.driver import CommandReceiver
from vlad.logs import message_id
from vlad.messages import Command, CommandMode
from vlad.policy.bundle import write_manifest

ROOT = Path(__file__).resolve().parents[2]
SETTINGS, LIMITS = "/etc/vlad/vlad.toml", "/etc/vlad/robots/bench.toml"
_PATIENCE_S = 20.0

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())


@pytest.fixture
def vlad(machine: Machine) -> Iterator[Machine]:
    """vlad and its guard, running; afterwards neither, and all as it was before."""
    kept = {name: (machine.root / name.lstrip("/")).read_text() for name in (SETTINGS, LIMITS)}
    machine.run("systemctl", "start", "vlad")
    machine.wait(lambda: machine.call("status")["guard"]["state"] == "watching", "the guard in the status")
    yield machine
    machine.run("systemctl", "stop", "vlad", "vlad-guard")
    for name, text in kept.items():
        (machine.root / name.lstrip("/")).write_text(text)
    machine.run("rm", "-rf", "/run/systemd/system/vlad.service.d", "/run/systemd/system.control")
    machine.run("rm", "-f", "/var/lib/vlad/estop.json")
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "reset-failed", "vlad", "vlad-guard", check=False)


@pytest.fixture(scope="module")
def camera(machine: Machine) -> Iterator[None]:
    """A camera's driver, which finds vlad whenever it runs."""
    words = [sys.executable, "-m", "tools.benchmarks.feed", machine.sensors, "camera:image:30:64x48"]
    with subprocess.Popen(words, cwd=ROOT) as feed:
        yield
        feed.terminate()


@pytest.fixture
def moving(vlad: Machine, camera: None) -> Iterator[tuple[Machine, CommandReceiver]]:
    """A robot that drives ahead on what a camera sees, and whoever listens to its commands."""
    with CommandReceiver(vlad.commands) as motor:
        vlad.wait(lambda: vlad.call("arm")["ok"], "armed")
        await_command(motor, lambda command: command.mode is CommandMode.RUN and command.values[0] > 0.2)
        yield vlad, motor


def await_command(motor: CommandReceiver, what: Callable[[Command], bool]) -> Command:
    end_s = time.monotonic() + _PATIENCE_S
    while time.monotonic() < end_s:
        command = motor.receive(timeout_s=0.02)
        if what(command):
            return command
    raise AssertionError(f"not commanded within {_PATIENCE_S} s; the last was {command}")


def drop_in(machine: Machine, text: str) -> None:
    folder = Path(f"/proc/{machine.leader}/root/run/systemd/system/vlad.service.d")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "test.conf").write_text(f"[Service]\n{text}\n")
    machine.run("systemctl", "daemon-reload")


def restarted(machine: Machine, times: int = 1) -> bool:
    return int(machine.property("NRestarts")) >= times and machine.property("ActiveState") == "active"


# it starts ------------------------------------------------------------------------------------------------


def test_it_gets_ready_and_vladctl_finds_it(vlad: Machine) -> None:
    assert vlad.property("ActiveState") == "active"
    assert vlad.property("StatusText") == "bench: disarmed"
    assert vlad.property("ActiveState", "vlad-guard") == "active"
    status = json.loads(vlad.run("vladctl", "status", "--json").stdout)
    assert (status["mode"], status["policy"]["state"]) == ("disarmed", "running")


def test_real_time_is_had_by_capability_and_by_the_loops_thread_alone(vlad: Machine) -> None:
    assert set(vlad.call("status")["realtime"].values()) == {"applied", "off"}
    for unit in ("vlad", "vlad-guard"):
        pid = vlad.property("MainPID", unit)
        threads = vlad.run("ps", "-L", "-o", "cls=", "-p", pid).stdout.split()
        assert threads[0] == "FF"
        assert set(threads[1:]) == {"TS"}
        state = vlad.run("cat", f"/proc/{pid}/status").stdout
        assert "VmLck:\t       0 kB" not in state
        assert "CapEff:\t0000000000804000" in state
        assert "NoNewPrivs:\t1" in state
        assert "Seccomp:\t2" in state


def test_who_is_in_its_group_may_look_and_only_operators_may_act(vlad: Machine) -> None:
    def as_user(groups: str, *words: str) -> int:
        gids = [vlad.run("getent", "group", name).stdout.split(":")[2] for name in groups.split(",")]
        setpriv = ("setpriv", "--reuid=4242", "--regid=4242", f"--groups={','.join(gids)}")
        return vlad.run(*setpriv, "vladctl", *words, check=False).returncode

    assert as_user("nogroup", "status") == 4
    assert as_user("vlad", "status") == 0
    assert as_user("vlad", "reset") == 4
    assert as_user("vlad,vlad-operator", "reset") == 0


def test_a_drop_in_keeps_it_on_one_cpu(vlad: Machine) -> None:
    drop_in(vlad, "CPUAffinity=0")
    vlad.run("systemctl", "restart", "vlad")
    assert "Cpus_allowed_list:\t0\n" in vlad.run("cat", f"/proc/{vlad.property('MainPID')}/status").stdout


# it fails -------------------------------------------------------------------------------------------------


def test_a_frozen_loop_is_killed_and_the_emergency_stop_holds_after_the_restart(vlad: Machine) -> None:
    vlad.call("estop", reason="test")
    vlad.wait(lambda: vlad.daemon_is("estop"), "the e-stop")
    vlad.wait(lambda: "true" in vlad.run("cat", "/var/lib/vlad/estop.json", check=False).stdout, "stored")
    vlad.run("systemctl", "kill", "--kill-who=main", "--signal=STOP", "vlad")
    vlad.wait(lambda: vlad.property("Result") == "watchdog" or restarted(vlad), "the watchdog")
    vlad.wait(lambda: restarted(vlad), "the restart")
    assert "Watchdog timeout" in (told := vlad.journal("-u", "vlad"))
    assert "most recent call first" in told
    status = vlad.wait(lambda: vlad.daemon_is("estop"), "the e-stop after the restart")
    assert "test" in status["estop"]["reason"]


def test_a_killed_daemon_leaves_the_motors_with_the_guards_stop_and_comes_back_disarmed(moving) -> None:
    machine, motor = moving
    machine.run("systemctl", "kill", "--kill-who=main", "--signal=KILL", "vlad")
    await_command(motor, lambda command: command.mode in (CommandMode.STOP1, CommandMode.STOP0))
    machine.wait(lambda: restarted(machine), "the restart")
    machine.wait(lambda: machine.daemon_is("disarmed"), "disarmed")
    assert machine.property("NRestarts", "vlad-guard") == "0"


def test_a_killed_guard_is_missed_and_comes_back(moving) -> None:
    machine, _ = moving
    machine.run("systemctl", "kill", "--signal=KILL", "vlad-guard")
    machine.wait(lambda: machine.daemon_is("stopping", "stopped"), "a stop without the guard")
    machine.wait(lambda: machine.property("NRestarts", "vlad-guard") == "1", "the guard's restart")
    machine.wait(lambda: machine.call("status")["guard"]["state"] == "watching", "the guard")


def limit_memory(machine: Machine, most: str) -> None:
    """Where the kernel has cgroups of version 1 the machine may not write to them by itself."""
    machine.run("mount", "-o", "remount,bind,rw", "/sys/fs/cgroup/memory", check=False)
    machine.run("systemctl", "daemon-reexec")
    drop_in(machine, f"MemoryMax={most}")


def test_a_policy_larger_than_its_memory_ends_it_with_the_robot_stopped_and_the_old_one_back(
    vlad: Machine, camera: None
) -> None:
    folder = vlad.root / "var/lib/vlad/models/bench/2"
    write_policy(folder, "camera", 32, rounds=0, version="2")
    model = onnx.load(folder / "model.onnx")
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(60_000_000, np.float32), "ballast"))
    onnx.save(model, folder / "model.onnx")
    write_manifest(folder, tomllib.loads((folder / "policy.toml").read_text()))
    limit_memory(vlad, "200M")
    vlad.run("systemctl", "restart", "vlad")
    with CommandReceiver(vlad.commands) as motor:
        vlad.wait(lambda: vlad.call("arm")["ok"], "armed")
        await_command(motor, lambda command: command.mode is CommandMode.RUN)
        activate = ["nsenter", "-t", str(vlad.leader), "-a", "vladctl", "model", "activate", "bench", "2"]
        with subprocess.Popen(activate, stderr=subprocess.DEVNULL) as activating:
            await_command(motor, lambda command: command.mode in (CommandMode.STOP1, CommandMode.STOP0))
        assert activating.returncode == 3
    vlad.wait(lambda: restarted(vlad), "the restart")
    assert "status=9/KILL" in vlad.journal("-u", "vlad")
    status = vlad.wait(lambda: vlad.daemon_is("disarmed"), "disarmed")
    assert status["policy"]["version"] == "1"


def test_a_daemon_that_never_has_enough_memory_is_not_started_for_ever(vlad: Machine) -> None:
    limit_memory(vlad, "40M")
    assert vlad.run("systemctl", "restart", "vlad", check=False).returncode != 0
    vlad.wait(lambda: vlad.property("ActiveState") == "failed", "the end of the restarts")
    assert vlad.property("Result") in (
        "oom-kill",
        "signal",
    )  # systemd knows the one from the other by cgroups 2
    assert int(vlad.property("NRestarts")) >= 4
    assert vlad.property("ActiveState", "vlad-guard") == "active"


def test_mistakes_in_the_settings_are_told_and_not_tried_again(vlad: Machine) -> None:
    with (vlad.root / SETTINGS.lstrip("/")).open("a") as settings:
        settings.write("[computer]\nspeed = 9\n")
    assert vlad.run("systemctl", "restart", "vlad", check=False).returncode != 0
    assert vlad.property("ExecMainStatus") == "2"
    assert vlad.property("NRestarts") == "0"
    assert f"{SETTINGS}: computer.speed: unknown key" in vlad.journal("-u", "vlad")


# it is told -----------------------------------------------------------------------------------------------


def test_stop_brings_the_robot_to_rest_first(moving) -> None:
    machine, motor = moving
    stopping = subprocess.Popen(["nsenter", "-t", str(machine.leader), "-a", "systemctl", "stop", "vlad"])
    speeds = []
    command = await_command(motor, lambda command: command.mode is CommandMode.HOLD)
    while stopping.poll() is None and command.mode is CommandMode.HOLD and len(command.values):
        speeds.append(float(command.values[0]))
        command = motor.receive(timeout_s=0.02)
    assert stopping.wait(timeout=_PATIENCE_S) == 0
    braking = [speed for speed in speeds if speed]  # between them the receiver's own zero, where one was late
    assert braking[0] > 0.1
    assert sorted(braking, reverse=True) == braking
    assert abs(speeds[-1]) < 1e-3
    assert machine.property("Result") == "success"
    assert machine.property("ActiveState", "vlad-guard") == "active"


def test_reload_takes_new_settings_and_keeps_the_old_ones_where_the_new_are_wrong(vlad: Machine) -> None:
    pid, limits = vlad.property("MainPID"), vlad.root / LIMITS.lstrip("/")
    limits.write_text(limits.read_text().replace("velocity = 1.0", "velocity = 0.5"))
    vlad.run("systemctl", "reload", "vlad")
    vlad.wait(lambda: "applied: limits.axes" in vlad.journal("MESSAGE_ID=" + message_id("reload")), "applied")
    limits.write_text(limits.read_text().replace("velocity = 0.5", "velocity = -1.0"))
    assert vlad.run("systemctl", "reload", "vlad", check=False).returncode != 0
    vlad.run("systemctl", "kill", "--kill-who=main", "--signal=HUP", "vlad")
    told = vlad.wait(lambda: vlad.call("status")["reload"]["problems"], "the mistakes in the status")
    assert "axes.linear_x.velocity" in told[0]
    assert "old ones hold" in vlad.wait(lambda: vlad.property("StatusText"), "a status")
    assert "refused, the old ones hold" in vlad.run("vladctl", "status").stdout
    assert (vlad.property("MainPID"), vlad.property("ActiveState")) == (pid, "active")
    limits.write_text(limits.read_text().replace("velocity = -1.0", "velocity = 0.4"))
    vlad.run("vladctl", "reload")
    assert vlad.call("status")["reload"]["problems"] == []


def test_the_journal_can_be_asked_for_a_fault_and_its_signal(moving) -> None:
    machine, motor = moving
    motor.close()
    told = ("FAULT=no_driver", f"_PID={machine.property('MainPID')}", "MESSAGE_ID=" + message_id("fault"))
    entry = json.loads(machine.wait(lambda: machine.journal(*told, "-o", "json"), "it").splitlines()[0])
    assert entry["_SYSTEMD_UNIT"] == "vlad.service"
    assert entry["LEVEL"] == "DANGER"
    events = machine.call("events", limit=1000, kinds=["fault"])
    assert entry["SEQ"] in [str(event["id"]) for event in events]
    assert entry["SIGNAL"] == next(e["data"]["subject"] for e in events if str(e["id"]) == entry["SEQ"])


# it records -----------------------------------------------------------------------------------------------


def recordings(machine: Machine, pattern: str = "*.mcap") -> list[Path]:
    return sorted((machine.root / "var/lib/vlad/recordings").glob(pattern))


def begin_to_record(machine: Machine) -> None:
    machine.wait(lambda: machine.call("record", what="start")["ok"], "a recorder")
    machine.wait(lambda: machine.call("status")["record"]["file"], "a recording")
    machine.run("sleep", "2")


def test_a_stop_finishes_the_recording_and_the_robots_coming_to_rest_is_in_it(moving) -> None:
    machine, _ = moving
    begin_to_record(machine)
    machine.run("systemctl", "stop", "vlad")
    assert machine.property("Result") == "success"
    assert recordings(machine, "*.part") == []
    rows = read(recordings(machine)[-1])
    modes = [row["mode"] for row in rows["vlad/tick"]]
    assert "active" in modes
    assert modes[-1] in ("disarmed", "stopped")
    assert rows["camera"]


def test_a_frozen_daemon_leaves_a_whole_recording_and_is_there_again(moving) -> None:
    machine, _ = moving
    begin_to_record(machine)
    frozen_ns = time.time_ns()
    machine.run("systemctl", "kill", "--kill-who=main", "--signal=STOP", "vlad")
    machine.wait(lambda: restarted(machine), "the restart")
    machine.wait(lambda: not recordings(machine, "*.part"), "the end of the recording")
    path = recordings(machine)[-1]
    assert "crash vlad is gone" in metadata(path)["causes"].values()
    assert frozen_ns - read(path)["vlad/tick"][-1]["log_ns"] < 1e9
    machine.wait(lambda: machine.call("status")["record"]["state"] == "waiting", "a new recorder")


def test_a_killed_recorder_is_started_anew_and_the_daemon_goes_on(vlad: Machine) -> None:
    vlad.wait(lambda: vlad.call("status")["record"]["state"] == "waiting", "a recorder")
    before = vlad.property("MainPID")
    assert vlad.property("OOMPolicy") == "continue"
    (recorder,) = vlad.run("pgrep", "-f", "vlad.record").stdout.split()
    vlad.run("kill", "-KILL", recorder)
    vlad.wait(lambda: vlad.call("status")["record"]["state"] != "waiting", "its end")
    vlad.wait(lambda: vlad.call("status")["record"]["state"] == "waiting", "another")
    assert vlad.property("MainPID") == before


# it is fenced in ------------------------------------------------------------------------------------------


def test_maintenance_runs_fenced_in_and_a_backup_goes_elsewhere_by_a_drop_in(vlad: Machine) -> None:
    def maintain(name: str) -> dict[str, Any]:
        done = vlad.run("vladctl", "maintenance", "run", name, "--json", check=False)
        row: dict[str, Any] = json.loads(done.stdout)
        return row

    for name in ("backup", "clean_up", "health_check", "vacuum"):
        assert maintain(name)["verdict"] in ("ok", "warning"), name
    assert vlad.run("ls", "/var/lib/vlad/backups").stdout.startswith("bench_000001_")
    vlad.run("install", "-d", "-o", "vlad", "/mnt/backups")
    settings = vlad.root / SETTINGS.lstrip("/")
    settings.write_text(f'{settings.read_text()}\n[maintenance.backup]\ntargets = ["/mnt/backups"]\n')
    vlad.run("systemctl", "restart", "vlad")
    refused = maintain("backup")
    assert refused["verdict"] == "failed"
    assert refused["summary"].startswith("/mnt/backups: Read-only file system")
    assert refused["summary"].endswith("systemctl edit vlad, [Service] ReadWritePaths=/mnt/backups")
    drop_in(vlad, "ReadWritePaths=/mnt/backups")
    vlad.run("systemctl", "restart", "vlad")
    assert maintain("backup")["verdict"] == "ok"
    (name,) = vlad.run("ls", "/mnt/backups").stdout.split()
    vlad.run("systemctl", "stop", "vlad")
    done = vlad.run("vladctl", "maintenance", "restore", f"/mnt/backups/{name}", "--json")
    assert "/var/lib/vlad/vlad.db" in json.loads(done.stdout)["files"]
    assert vlad.run("stat", "-c", "%U", "/var/lib/vlad/vlad.db").stdout == "vlad\n"
    vlad.run("systemctl", "start", "vlad")
    assert [event for event in vlad.call("events", limit=100) if event["kind"] == "maintenance"]


@pytest.mark.parametrize("unit", ["vlad.service", "vlad-guard.service"])
def test_its_exposure_is_at_most_two(machine: Machine, unit: str) -> None:
    words = ["systemd-analyze", "security", "--no-pager", "--offline=true", "--threshold=20", unit]
    done = machine.run(*words, check=False)
    assert done.returncode == 0, done.stdout


def test_systemd_finds_nothing_wrong_with_the_units(machine: Machine) -> None:
    done = machine.run("systemd-analyze", "verify", "vlad.service", "vlad-guard.service")
    assert (done.stdout, done.stderr) == ("", "")
