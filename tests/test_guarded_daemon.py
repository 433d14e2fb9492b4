"""The daemon and the guard, both as processes: each stops the robot when the other fails."""

import os
import signal
import time

import pytest

from tests.test_daemon import CAMERA, FEED, UNLOCKED, await_command, await_status
from tools.benchmarks.rig import rig, write_policy
from vlad.driver import CommandReceiver, SensorPublisher
from vlad.messages import CommandMode, EStop


@pytest.fixture
def moving():
    """A daemon that needs its guard, armed and moving."""
    with rig(CAMERA, realtime=UNLOCKED, guard=True) as made:
        made.policy["bundle"] = str(write_policy(made.folder / "models" / "bench", "camera", 32, rounds=0))
        made.start_daemon("vlad", "--config", made.write_settings())
        made.guard_process = made.processes[-1]
        made.feed(FEED)
        with CommandReceiver(made.commands) as made.motor:
            made.arm()
            while not max(await_command(made, CommandMode.RUN).values) > 0.02:
                pass  # the guard has heard of the motion by then
            yield made


def has_fault(name):
    return lambda status: any(fault["id"] == name for fault in status["faults"])


def test_a_robot_without_its_guard_cannot_be_armed():
    with rig(CAMERA, realtime=UNLOCKED) as made:
        made.guard = True
        settings = made.write_settings()
        made.guard = False
        made.start_daemon("vlad", "--config", settings)
        made.feed(FEED)
        assert "guard_silent" in [row["id"] for row in made.call("arm")["refusals"]]
        assert made.call("status")["guard"]["state"] is None
        made.start("vlad.guard", "--config", settings)
        await_status(made, lambda status: "guard_silent" not in [row["id"] for row in status["refusals"]])
        assert made.call("status")["guard"]["state"] == "watching"


def test_a_guard_that_dies_stops_the_robot_until_a_reset(moving):
    moving.guard_process.kill()
    await_command(moving, CommandMode.HOLD)
    status = await_status(moving, has_fault("guard_silent"))
    assert status["mode"] in ("stopping", "stopped")
    assert status["guard"]["age_s"] > 0.15


def test_a_guard_may_be_started_anew(moving):
    moving.guard_process.kill()
    await_status(moving, lambda status: status["mode"] == "stopped")
    moving.start("vlad.guard", "--config", moving.folder / "vlad.toml")
    end_s = time.monotonic() + 10
    while not moving.call("reset")["ok"] and time.monotonic() < end_s:
        time.sleep(0.05)
    moving.arm()
    await_command(moving, CommandMode.RUN)


def test_a_frozen_daemon_does_not_go_on_by_itself(moving):
    daemon = moving.processes[0].pid
    os.kill(daemon, signal.SIGSTOP)
    try:
        await_command(moving, CommandMode.STOP1)
        while moving.motor.reason != "guard":
            assert moving.motor.receive(timeout_s=0.1).mode is not CommandMode.RUN
    finally:
        os.kill(daemon, signal.SIGCONT)
    status = await_status(moving, lambda status: status["mode"] == "stopped")
    assert has_fault("guard_stop")(status)
    await_status(moving, lambda status: status["guard"]["state"] == "watching")
    assert moving.motor.receive(timeout_s=0.1).mode is not CommandMode.RUN


def test_a_button_of_the_guard_is_an_estop_of_the_daemon(moving):
    with SensorPublisher(f"ipc://{moving.run_dir}/guard-estop.sock", "wall", "estop") as button:
        end_s = time.monotonic() + 10
        while moving.call("status")["mode"] != "estop" and time.monotonic() < end_s:
            button.publish(EStop(True))
            time.sleep(0.02)
        status = await_status(moving, has_fault("guard_estop"))
        assert status["mode"] == "estop"
        assert "button 'wall' pressed" in status["estop"]["reason"]
        assert not moving.call("reset")["ok"]
        button.publish(EStop(False))
        await_status(moving, lambda status: status["guard"]["state"] == "watching")
        while not moving.call("reset")["ok"] and time.monotonic() < end_s:
            time.sleep(0.05)
        assert moving.call("status")["mode"] == "disarmed"
