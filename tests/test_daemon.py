"""The daemon as a process: it starts, says how it is, survives bad days, and ends in order."""

import json
import math
import os
import signal
import socket
import subprocess
import sys
import time

import pytest
import zmq

from tools.benchmarks.rig import rig, write_policy
from vlad.driver import CommandReceiver, SensorPublisher
from vlad.messages import CommandMode, EStop

CAMERA = {"camera": {"type": "image", "max_age_s": 1.0}}
FEED = ["camera:image:30:64x48"]
UNLOCKED = {"lock_memory": False}


@pytest.fixture
def idle():
    """A daemon without a policy, and no drivers."""
    with rig({"estop": {"type": "estop", "required": False}}, realtime=UNLOCKED) as made:
        made.start_daemon("vlad", "--config", made.write_settings())
        yield made


@pytest.fixture
def moving():
    """A daemon whose policy drives slowly ahead on what a camera sees, armed and moving."""
    with rig({**CAMERA, "estop": {"type": "estop", "required": False}}, realtime=UNLOCKED) as made:
        made.policy["bundle"] = str(write_policy(made.folder / "models" / "bench", "camera", 32, rounds=0))
        made.start_daemon("vlad", "--config", made.write_settings())
        made.camera = made.feed(FEED)
        with CommandReceiver(made.commands) as made.motor:
            made.arm()
            await_command(made, CommandMode.RUN)
            yield made


def await_command(made, *modes, timeout_s=5.0):
    """The first command in one of these modes."""
    end_s = time.monotonic() + timeout_s
    while time.monotonic() < end_s:
        command = made.motor.receive(timeout_s=0.02)
        if command.mode in modes:
            return command
    status, events = made.call("status"), made.call("events", limit=20)
    said = f"mode {status['mode']}, faults {status['faults']}, events {[event['text'] for event in events]}"
    pytest.fail(f"no command in mode {modes} within {timeout_s} s; the last was {command}; {said}")


def await_status(made, what, timeout_s=5.0):
    end_s = time.monotonic() + timeout_s
    while time.monotonic() < end_s:
        status = made.call("status")
        if what(status):
            return status
        time.sleep(0.02)
    pytest.fail(f"not seen within {timeout_s} s; the last status was {json.dumps(status, indent=1)}")


def log_of(made, module="vlad"):
    return (made.folder / f"{module}.log").read_text()


def test_it_gets_ready_ticks_and_ends_in_order_on_sigterm(idle):
    first = idle.call("status")
    await_status(idle, lambda status: status["tick"]["count"] > first["tick"]["count"] + 10)
    assert first["mode"] == "disarmed"
    idle.stop(0)
    assert idle.processes[0].returncode == 0
    assert not (idle.run_dir / "control.sock").exists()


def test_ctrl_c_ends_it_in_order_too(idle):
    idle.processes[0].send_signal(signal.SIGINT)
    assert idle.processes[0].wait(timeout=20) == 0


def test_a_second_daemon_in_the_same_run_folder_gets_a_clear_error(idle):
    settings = idle.folder / "vlad.toml"
    second = subprocess.run(
        [sys.executable, "-m", "vlad", "--config", settings], capture_output=True, text=True, timeout=30
    )
    assert second.returncode == 3
    assert f"another vlad (pid {idle.processes[0].pid}) runs here" in second.stderr
    assert idle.call("status")["mode"] == "disarmed"


def test_three_mistakes_in_the_settings_are_all_reported_and_nothing_starts(tmp_path):
    (tmp_path / "vlad.toml").write_text(
        '[robot]\nlimits = "none.toml"\n[signals.camera]\ntype = "picture"\n[safety]\nspeed = 9\n'
    )
    done = subprocess.run(
        [sys.executable, "-m", "vlad", "--config", tmp_path / "vlad.toml"],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 2
    for part in ("none.toml", "signals.camera.type", "safety.speed"):
        assert part in done.stderr
    assert len(done.stderr.splitlines()) == 3


def test_a_folder_that_cannot_be_made_is_told_with_the_option_that_names_another(tmp_path):
    (tmp_path / "file").touch()
    with rig({}, realtime=UNLOCKED) as made:
        words = ["--config", made.write_settings(), "--state-dir", tmp_path / "file" / "state"]
        done = subprocess.run(
            [sys.executable, "-m", "vlad", *words], capture_output=True, text=True, timeout=30
        )
    assert done.returncode == 2
    assert "file/state: Not a directory; make it writable, or name another with --state-dir" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_estop_survives_sigkill_and_a_restart_and_is_left_only_by_reset(idle):
    idle.call("estop", reason="test")
    await_status(idle, lambda status: status["estop"]["latched"])
    end_s = time.monotonic() + 5
    while not (idle.folder / "state" / "estop.json").exists() and time.monotonic() < end_s:
        time.sleep(0.01)
    idle.processes[0].kill()
    idle.processes[0].wait()
    (idle.folder / "notify").unlink()
    idle.start_daemon("vlad", "--config", idle.folder / "vlad.toml")
    status = idle.call("status")
    assert status["mode"] == "estop"
    assert "test" in status["estop"]["reason"]
    idle.call("reset")
    await_status(idle, lambda status: status["mode"] == "disarmed" and not status["estop"]["latched"])


def test_a_camera_that_stops_leads_to_a_stop_with_its_reason_in_the_event_log(moving):
    moving.processes[moving.camera].kill()
    await_command(moving, CommandMode.HOLD, CommandMode.STOP1, CommandMode.STOP0)
    status = await_status(moving, lambda status: status["mode"] in ("stopping", "stopped"))
    stale = [fault for fault in status["faults"] if fault["subject"] == "camera"]
    assert stale, [event["text"] for event in moving.call("events", limit=20)]
    assert stale[0]["hint"]
    events = await_events(moving, lambda event: "camera" in event["text"])
    assert events


def test_a_motor_driver_that_ends_is_missed_while_moving(moving):
    assert moving.call("status")["commands"]["listeners"] == 1
    moving.motor.close()
    status = await_status(moving, lambda status: status["mode"] in ("stopping", "stopped"))
    assert "no_driver" in [fault["id"] for fault in status["faults"]]
    assert status["commands"]["listeners"] == 0


def test_a_backup_camera_takes_over_and_the_policy_goes_on():
    spare = {"camera": CAMERA["camera"] | {"max_age_s": 0.3, "backups": ["spare"]}, "spare": CAMERA["camera"]}
    with rig(spare, realtime=UNLOCKED) as made:
        made.policy["bundle"] = str(write_policy(made.folder / "models" / "bench", "camera", 32, rounds=0))
        made.start_daemon("vlad", "--config", made.write_settings())
        camera = made.feed(FEED)
        made.feed(["spare:image:30:64x48"])
        with CommandReceiver(made.commands) as made.motor:
            made.arm()
            await_command(made, CommandMode.RUN)
            made.processes[camera].kill()
            status = await_status(made, lambda status: status["signals"]["camera"]["source"] == "spare")
            assert "signal_replaced" in [fault["id"] for fault in status["faults"]]
            inferred = status["policy"]["inferences"]
            status = await_status(made, lambda status: status["policy"]["inferences"] > inferred + 30)
            assert status["mode"] == "active", status["faults"]
            assert await_status(made, lambda status: status["computer"])["computer"]["memory"] > 0
        assert not [event for event in made.call("events", limit=100) if "stopping" in event["text"]]


def await_events(made, what, timeout_s=5.0):
    end_s = time.monotonic() + timeout_s
    while time.monotonic() < end_s:
        found = [event for event in made.call("events", limit=100) if what(event)]
        if found:
            return found
        time.sleep(0.05)
    return []


def test_an_estop_message_stops_the_motors_and_stays(moving):
    with SensorPublisher(moving.sensors, "estop", "estop") as button:
        connected_s = time.monotonic() + 0.3
        while time.monotonic() < connected_s:
            mode = moving.motor.receive(timeout_s=0.02).mode
            assert mode is CommandMode.RUN, [event["text"] for event in moving.call("events", limit=20)]
        button.publish(EStop(True))
        await_command(moving, CommandMode.STOP0, CommandMode.STOP1)
        assert moving.call("status")["mode"] == "estop"


def test_sigterm_while_moving_brings_the_robot_to_rest_before_the_end(moving):
    moving.processes[0].send_signal(signal.SIGTERM)
    last = await_command(moving, CommandMode.HOLD)
    while (command := moving.motor.receive(timeout_s=0.02)).mode is CommandMode.HOLD and len(command.values):
        last = command
        if moving.processes[0].poll() is not None:
            break
    assert all(abs(value) < 1e-3 for value in last.values)
    assert moving.processes[0].wait(timeout=20) == 0


def test_a_frozen_daemon_leaves_the_motors_with_a_stop(moving):
    os.kill(moving.processes[0].pid, signal.SIGSTOP)
    try:
        command = await_command(moving, CommandMode.STOP1, CommandMode.HOLD)
        assert not any(command.values)
    finally:
        os.kill(moving.processes[0].pid, signal.SIGCONT)


def test_a_bundle_that_was_tampered_with_is_refused_and_the_robot_cannot_be_armed():
    with rig(CAMERA, realtime=UNLOCKED) as made:
        folder = write_policy(made.folder / "models" / "bench", "camera", 32, rounds=0)
        made.policy["bundle"] = str(folder)
        with (folder / "model.onnx").open("ab") as model:
            model.write(b"more")
        made.start_daemon("vlad", "--config", made.write_settings())
        status = made.call("status")
        assert status["policy"]["state"] == "refused"
        assert "SHA-256" in status["policy"]["error"]
        assert any(refusal["subject"] == "policy" for refusal in status["refusals"])
        assert min(math.copysign(1, refusal["since_s"]) for refusal in status["refusals"]) > 0


def test_garbage_on_the_sensor_socket_is_counted_and_does_not_hurt(moving):
    with zmq.Context.instance().socket(zmq.PUB) as stranger:
        stranger.connect(moving.sensors)

        def all_are_counted(status):
            for frames in (
                [b"camera"],
                [b"camera", b"\xff"],
                [b"camera", b"\x80", b"x"],
                [b"nobody", b"\x80"],
            ):
                stranger.getsockopt(zmq.EVENTS)
                stranger.send_multipart(frames)
            bad = status["signals"]["camera"]["bad"]
            return bad.get("malformed") and bad.get("version") and status["unknown_topics"]

        await_status(moving, all_are_counted)
    status = await_status(moving, lambda status: status["mode"] == "active")
    assert status["signals"]["camera"]["age_s"] < 1.0


def test_it_asks_systemd_for_more_time_while_a_policy_loads(tmp_path):
    with rig(CAMERA, realtime=UNLOCKED) as made, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(30)
        made.policy["bundle"] = str(write_policy(made.folder / "models" / "bench", "camera", 32, rounds=0))
        environment = {"NOTIFY_SOCKET": str(tmp_path / "notify")}
        made.start("vlad", "--config", made.write_settings(), environment=environment)
        told = [systemd.recv(4096)]
        while b"READY=1" not in told[-1]:
            told.append(systemd.recv(4096))
    assert any(message.startswith(b"EXTEND_TIMEOUT_USEC=60000000") for message in told[:-1])


def test_the_systemd_watchdog_is_fed_by_the_tick(tmp_path):
    with rig({}, realtime=UNLOCKED) as made, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(20)
        made.start(
            "vlad",
            "--config",
            made.write_settings(),
            environment={"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "200000"},
        )
        fed = 0
        while fed < 5:
            fed += b"WATCHDOG=1" in systemd.recv(4096)
