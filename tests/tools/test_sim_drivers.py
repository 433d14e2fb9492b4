"""The simulated robot as it runs: drivers in processes of their own, on real sockets, obeying."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import zmq

from tools.sim.base import BRAKE, NAMES, TOPICS, Motors
from tools.sim.remote import Simulator, SimulatorError
from tools.sim.rover import STEP_S, Rover
from tools.sim.shared import Placement, SharedPlacement
from tools.sim.world import make_world
from vlad.messages import Command, CommandMode, Kind
from vlad.wire import decode_sample

SEED = 3_000_001
TIMEOUT_S = 20.0

DRIVE = """
import sys, time
from pathlib import Path
import numpy as np, zmq
from vlad.clock import SystemClock
from vlad.command import CommandWriter
from vlad.config import Settings
from vlad.messages import CommandMode, Kind

raw = {"robot": {"limits": "none.toml"}, "paths": {"run_dir": sys.argv[1]}, "signals": {}}
clock = SystemClock()
writer = CommandWriter(zmq.Context(), Settings.model_validate(raw), clock)
values = np.array([float(sys.argv[3]), 0.0], np.float32)
while True:
    writer.send(CommandMode(sys.argv[2]), Kind.TWIST, ("linear_x", "angular_z"), values, 0, clock.now_ns())
    time.sleep(0.01)
"""


class Robot:
    """The simulator as a process, and who commands it."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        words = [sys.executable, "-m", "tools.sim", "--run-dir", str(run_dir), "--seed", str(SEED)]
        self.process = subprocess.Popen(words)
        self.commander: subprocess.Popen | None = None
        self.sim = Simulator(run_dir, timeout_s=TIMEOUT_S)
        self.sim.state()

    def drivers(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children()

    def command(self, mode: str, speed: float) -> None:
        self.hush()
        words = [sys.executable, "-c", DRIVE, str(self.run_dir), mode, str(speed)]
        self.commander = subprocess.Popen(words)

    def hush(self) -> None:
        """SIGKILL whoever commands."""
        if self.commander is not None:
            self.commander.kill()
            self.commander.wait()
            self.commander = None

    def until(self, what):
        """The first state in which `what` holds."""
        end_s = time.monotonic() + TIMEOUT_S
        while not what(state := self.sim.state()):
            assert time.monotonic() < end_s, f"it did not come to pass; {state}"
            time.sleep(0.01)
        return state

    def close(self) -> None:
        self.hush()
        self.sim.close()
        self.process.terminate()
        self.process.wait(TIMEOUT_S)


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    robot = Robot(tmp_path_factory.mktemp("sim"))
    yield robot
    robot.close()


@pytest.fixture
def robot(running):
    yield running
    running.hush()
    running.sim.reset(SEED)
    running.sim.release()
    for topic in TOPICS:
        running.sim.unmute(topic)


@pytest.fixture
def sensors(robot):
    """A socket where vlad would bind its own; and `collect`: what comes until it is enough."""
    context = zmq.Context()
    socket = context.socket(zmq.SUB)
    socket.subscribe(b"")
    socket.bind(f"ipc://{robot.run_dir}/sensors.sock")

    def collect(enough):
        seen, end_s = {}, time.monotonic() + TIMEOUT_S
        while not enough(seen):
            assert time.monotonic() < end_s, f"came: { {topic: len(came) for topic, came in seen.items()} }"
            if socket.poll(100):
                frames = socket.recv_multipart()
                expected = TOPICS[frames[0].decode()]
                sample = decode_sample(frames, time.monotonic_ns(), time.time_ns(), expected)
                seen.setdefault(sample.topic, []).append(sample)
        return seen

    yield collect
    context.destroy(linger=0)


def test_it_acknowledges_vlads_commands_and_never_stops_of_its_own(robot, sensors):
    robot.command("run", 0.2)
    robot.until(lambda state: state.mode == "run")
    seen = sensors(lambda seen: len(seen.get("command_ack", ())) > 20)["command_ack"]
    acks = [sample.data for sample in seen]
    assert {ack.mode for ack in acks} == {CommandMode.RUN}
    assert all(0 <= sample.stamp_ns - sample.data.command_stamp_ns < 0.5e9 for sample in seen)
    assert acks[-1].seq > acks[0].seq
    periods_s = np.diff([sample.stamp_ns for sample in seen]) / 1e9
    assert np.median(periods_s) == pytest.approx(0.05, abs=0.02)
    robot.hush()
    robot.until(lambda state: state.mode == "stop1")
    acks = [s.data for s in sensors(lambda seen: len(seen.get("command_ack", ())) > 5)["command_ack"]]
    assert acks[-1].mode is CommandMode.STOP1
    assert len({(ack.seq, ack.command_stamp_ns) for ack in acks[-3:]}) == 1


def test_every_signal_of_the_rover_comes_with_its_type(sensors):
    seen = sensors(lambda seen: set(seen) == set(TOPICS) and len(seen["camera"]) >= 3)
    image = seen["camera"][-1].data
    assert (image.encoding, image.pixels.shape) == ("rgb8", (120, 160, 3))
    scan = seen["laser"][-1].data
    assert len(scan.ranges) == 360
    assert (scan.angle_min, scan.range_max) == (pytest.approx(-np.pi), 8.0)
    assert seen["joints"][-1].data.names == ("left_wheel", "right_wheel")
    assert seen["odometry"][-1].data.child_frame_id == "base_link"
    assert seen["imu"][-1].data.linear_acceleration[2] == pytest.approx(9.81, abs=0.3)
    for samples in seen.values():
        stamps = [sample.stamp_ns for sample in samples]
        assert stamps == sorted(stamps)


def test_the_camera_shows_the_world_that_the_base_is_in(robot, sensors):
    before = sensors(lambda seen: "camera" in seen)["camera"][-1].data.pixels.astype(int)
    robot.sim.reset(SEED + 1)
    after = sensors(lambda seen: len(seen.get("camera", ())) > 5)["camera"][-1].data.pixels.astype(int)
    assert np.abs(after - before).mean() > 10


def test_a_muted_signal_stops_and_the_others_go_on(robot, sensors):
    for topic in ("camera", "odometry"):
        assert topic in robot.sim.mute(topic).muted
    sensors(lambda seen: len(seen.get("imu", ())) > 20)
    seen = sensors(lambda seen: len(seen.get("imu", ())) > 60)
    assert "laser" in seen
    assert not {"camera", "odometry"} & set(seen)
    robot.sim.unmute("camera")
    sensors(lambda seen: "camera" in seen)


def test_the_button_is_published_while_it_is_pressed(robot, sensors):
    assert robot.sim.press().estop
    sensors(lambda seen: any(sample.data.pressed for sample in seen.get("estop", ())))
    robot.sim.release()
    sensors(lambda seen: "estop" in seen and not seen["estop"][-1].data.pressed)


def test_it_follows_a_twist_and_stands_still_without_one(robot):
    state = robot.until(lambda state: state.reason == "silence")
    assert state.mode == "stop1"
    robot.command("run", 0.3)
    moving = robot.until(lambda state: state.twist[0] > 0.28)
    assert (moving.mode, moving.reason) == ("run", "")


@pytest.mark.parametrize("mode", ["hold", "stop1", "stop0"])
def test_it_obeys_a_stop(robot, mode):
    robot.command("run", 0.3)
    robot.until(lambda state: state.twist[0] > 0.28)
    robot.command(mode, 0.0)
    robot.until(lambda state: state.mode == mode and abs(state.twist[0]) < 0.01)


def test_it_stops_by_itself_when_who_commands_it_is_killed(robot):
    robot.command("run", 0.5)
    robot.until(lambda state: state.twist[0] > 0.45)
    robot.hush()
    killed = robot.sim.state()
    resting = robot.until(lambda state: abs(state.twist[0]) < 0.02)
    assert resting.reason == "silence"
    expiry_s, brake_s, slack_s = 0.1, 0.5 / BRAKE[0], 0.5
    assert resting.time_s - killed.time_s < expiry_s + brake_s + slack_s


def test_a_collision_is_counted(robot):
    before = robot.sim.state().collisions
    robot.command("run", 0.8)
    state = robot.until(lambda state: state.collided)
    assert state.collisions > before
    assert not robot.sim.reset(SEED).collided


@pytest.mark.parametrize("request_", [{"do": "fly"}, {}, {"do": "mute", "signal": "nose"}, {"do": "reset"}])
def test_a_request_that_makes_no_sense_gets_an_error(robot, request_):
    with pytest.raises(SimulatorError, match="cannot do"):
        robot.sim._ask(**request_)
    assert robot.sim.state().seed == SEED


def test_without_a_simulator_the_client_says_what_to_do(tmp_path):
    with Simulator(tmp_path, timeout_s=0.1) as sim:
        for _ in range(2):
            with pytest.raises(SimulatorError, match=r"is `python -m tools\.sim` running"):
                sim.state()


def test_sigterm_ends_all_its_processes_in_order(tmp_path):
    robot = Robot(tmp_path)
    drivers = robot.drivers()
    assert len(drivers) == 3
    robot.close()
    assert robot.process.returncode == 0
    assert not psutil.wait_procs(drivers, TIMEOUT_S)[1]


def test_its_drivers_die_with_it(tmp_path):
    robot = Robot(tmp_path)
    drivers = robot.drivers()
    os.kill(robot.process.pid, signal.SIGKILL)
    assert not psutil.wait_procs(drivers, TIMEOUT_S)[1]
    robot.close()


def test_a_driver_that_dies_ends_the_others_and_is_told(tmp_path):
    robot = Robot(tmp_path)
    drivers = robot.drivers()
    drivers[1].kill()
    assert robot.process.wait(TIMEOUT_S) == 1
    assert not psutil.wait_procs(drivers, TIMEOUT_S)[1]
    robot.close()


# in process -----------------------------------------------------------------------------------------------


def command(mode, *values):
    return Command(1, 1, 60, mode, Kind.TWIST, NAMES, np.array(values, np.float32), 0)


class Drive:
    """A rover and its motors, in simulated time."""

    def __init__(self):
        self.rover = Rover(make_world(SEED))
        self.motors = Motors(self.rover)

    def obey(self, seconds, mode, *values):
        for _ in range(round(seconds / STEP_S)):
            self.motors.obey(command(mode, *values))
            self.rover.step()
        return self.rover.twist[0]


def test_a_controlled_stop_brakes_no_harder_than_the_base_can():
    drive = Drive()
    assert drive.obey(0.6, CommandMode.RUN, 0.5, 0.0) == pytest.approx(0.5, abs=0.03)
    assert drive.obey(0.1, CommandMode.STOP1, 0.0, 0.0) == pytest.approx(0.5 - 0.1 * BRAKE[0], abs=0.1)
    assert drive.obey(0.3, CommandMode.STOP1, 0.0, 0.0) == pytest.approx(0.0, abs=0.03)


def test_a_stop_that_has_no_values_is_a_stop_too():
    drive = Drive()
    drive.obey(0.6, CommandMode.RUN, 0.5, 0.0)
    assert drive.obey(0.6, CommandMode.HOLD) == pytest.approx(0.0, abs=0.03)


def test_without_power_it_runs_down_and_with_power_it_drives_again():
    drive = Drive()
    drive.obey(0.6, CommandMode.RUN, 0.5, 0.0)
    assert drive.obey(0.1, CommandMode.STOP0) > 0.15
    assert drive.obey(1.0, CommandMode.STOP0) == pytest.approx(0.0, abs=0.02)
    assert drive.obey(0.6, CommandMode.RUN, 0.3, 0.0) == pytest.approx(0.3, abs=0.03)


def _write_for_ever(shared):
    number = 0
    while True:
        number += 1
        shared.write(Placement(number, number, (number, number, number), number))


def test_a_placement_is_never_read_half_written():
    shared = SharedPlacement()
    assert shared.read() is None
    writer = multiprocessing.get_context("fork").Process(target=_write_for_ever, args=(shared,), daemon=True)
    writer.start()
    while (seen := shared.read()) is None or seen.seed < 20_000:
        if seen is not None:
            assert {seen.seed, seen.stamp_ns, *seen.pose, seen.muted} == {seen.seed}
    writer.kill()
    writer.join()
