"""The drivers' kit: a receiver never hands out a stale command, a publisher never blocks."""

import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import zmq
import zmq.auth

from vlad.clock import FakeClock, SystemClock
from vlad.curve import ClientKeys, bind_curve
from vlad.driver import CommandReceiver, SensorPublisher
from vlad.messages import Command, CommandMode, EStop, Heartbeat, Image, Kind, Level, Mode
from vlad.wire import decode_sample, encode_command, encode_heartbeat

NAMES = ("linear_x", "angular_z")
ENDPOINT = "inproc://commands"


class Daemon:
    """Stands in for vlad: sends what a test wants, and knows when the receiver has got it."""

    def __init__(self, clock, **receiver):
        self.context = zmq.Context()
        self.clock = clock
        self.socket = self.context.socket(zmq.PUB)
        self.socket.bind(ENDPOINT)
        self.receiver = CommandReceiver(ENDPOINT, clock=clock, context=self.context, **receiver)
        self.seq = 0
        while not self.socket.poll(0, zmq.POLLOUT):
            time.sleep(0.001)

    def command(self, seq=None, *, mode=CommandMode.RUN, age_s=0.0, names=NAMES, kind=Kind.TWIST):
        self.seq = self.seq + 1 if seq is None else seq
        stamp_ns = self.clock.now_ns() - round(age_s * 1e9)
        values = np.array([0.5] * len(names), np.float32)
        return Command(self.seq, stamp_ns, 60, mode, kind, names, values, 1)

    def send(self, *args, **keys):
        command = self.command(*args, **keys)
        self.send_frames(encode_command(command))
        return command

    def send_frames(self, frames):
        self.socket.getsockopt(zmq.EVENTS)
        self.socket.send_multipart(frames)

    def receive(self, timeout_s=0.0):
        command = self.receiver.receive(timeout_s)
        return command.mode, self.receiver.reason

    def close(self):
        self.receiver.close()
        self.context.destroy(linger=0)


@pytest.fixture
def daemon():
    made = Daemon(FakeClock())
    yield made
    made.close()


STOP = CommandMode.STOP1
RUN = CommandMode.RUN


def test_before_anything_came_it_says_stop(daemon):
    assert daemon.receive() == (STOP, "silence")


def test_the_newest_of_several_commands_counts(daemon):
    for _ in range(5):
        daemon.send()
    command = daemon.receiver.receive()
    assert command.seq == 5
    assert command.values.tolist() == [0.5, 0.5]
    assert daemon.receiver.reason == ""


def test_a_command_stays_valid_until_it_expires_and_then_it_is_a_stop(daemon):
    daemon.send()
    assert daemon.receive() == (RUN, "")
    daemon.clock.advance(0.059)
    assert daemon.receive() == (RUN, "")
    daemon.clock.advance(0.001)
    assert daemon.receive() == (STOP, "silence")
    stop = daemon.receiver.receive()
    assert stop.names == NAMES
    assert stop.values.tolist() == [0.0, 0.0]


def test_a_stop_for_joint_positions_has_no_values(daemon):
    daemon.send(kind=Kind.JOINT_POSITION)
    daemon.receive()
    daemon.clock.advance(1)
    assert len(daemon.receiver.receive().values) == 0


def test_a_command_that_comes_too_late_is_not_handed_out(daemon):
    daemon.send(age_s=0.061)
    assert daemon.receive() == (STOP, "expired")


@pytest.mark.parametrize("seq", [4, 5, 0])
def test_a_number_that_goes_back_or_repeats_stops_until_the_next_good_one(daemon, seq):
    daemon.send(5)
    daemon.receive()
    daemon.clock.advance(0.01)
    daemon.send(seq)
    assert daemon.receive() == (STOP, "sequence")
    daemon.clock.advance(0.005)
    assert daemon.receive() == (STOP, "sequence")
    daemon.send(6)
    assert daemon.receive() == (RUN, "")
    assert daemon.receiver.bad == 1


def test_a_stamp_that_goes_back_stops_too(daemon):
    daemon.send(5)
    daemon.receive()
    daemon.send(6, age_s=0.01)
    assert daemon.receive() == (STOP, "sequence")


def test_a_daemon_that_was_restarted_is_obeyed_after_the_silence(daemon):
    daemon.send(5000)
    daemon.receive()
    daemon.clock.advance(0.08)
    daemon.send(1)
    assert daemon.receive() == (STOP, "sequence"), "no daemon restarts that fast"
    daemon.clock.advance(0.101)
    daemon.send(2)
    assert daemon.receive() == (RUN, "")


def test_a_sequence_that_stands_still_is_never_obeyed_again(daemon):
    daemon.send(5)
    daemon.receive()
    for _ in range(50):
        daemon.clock.advance(0.01)
        daemon.send(5)
        assert daemon.receive() == (STOP, "sequence")


@pytest.mark.parametrize("frame", [1, 2])
def test_a_damaged_command_stops_until_the_next_good_one(daemon, frame):
    daemon.send()
    assert daemon.receive() == (RUN, "")
    frames = encode_command(daemon.command())
    frames[frame] = bytes([frames[frame][0] ^ 1]) + bytes(frames[frame][1:])
    daemon.send_frames(frames)
    assert daemon.receive() == (STOP, "crc")
    daemon.send()
    assert daemon.receive() == (RUN, "")


def test_frames_that_are_no_command_stop(daemon):
    daemon.send()
    daemon.send_frames([b"command"])
    assert daemon.receive() == (STOP, "malformed")


def test_a_stamp_from_the_future_stops(daemon):
    daemon.send(age_s=-1)
    assert daemon.receive() == (STOP, "malformed")


@pytest.mark.parametrize("wrong", [{"names": ("angular_z", "linear_x")}, {"kind": Kind.JOINT_DELTA}])
def test_a_command_for_another_robot_stops(wrong):
    daemon = Daemon(FakeClock(), kind=Kind.TWIST, names=NAMES)
    daemon.send()
    assert daemon.receive() == (RUN, "")
    daemon.send(**wrong)
    assert daemon.receive() == (STOP, "names")
    assert daemon.receiver.receive().names == NAMES
    daemon.close()


def test_a_stop_command_is_passed_on_as_it_is(daemon):
    daemon.send(mode=CommandMode.STOP0)
    assert daemon.receive() == (CommandMode.STOP0, "")


@pytest.mark.parametrize("mode", [CommandMode.HOLD, CommandMode.STOP0])
def test_silence_after_a_stop_leaves_the_motors_as_the_stop_left_them(daemon, mode):
    daemon.send(mode=mode)
    assert daemon.receive() == (mode, "")
    daemon.clock.advance(1.0)
    assert daemon.receive() == (mode, "silence")
    assert daemon.receiver.receive().values.tolist() == [0.0, 0.0]


def test_a_damaged_command_after_a_hold_is_a_stop(daemon):
    daemon.send(mode=CommandMode.HOLD)
    daemon.send_frames([b"command", b"\xff", b""])
    assert daemon.receive() == (STOP, "crc")


def test_a_stop_without_names_is_obeyed_by_any_robot():
    daemon = Daemon(FakeClock(), kind=Kind.TWIST, names=NAMES)
    daemon.send()
    daemon.send(mode=CommandMode.STOP0, names=(), kind=Kind.JOINT_DELTA)
    stop = daemon.receiver.receive()
    assert (stop.mode, stop.kind, stop.names) == (CommandMode.STOP0, Kind.TWIST, NAMES)
    assert stop.values.tolist() == [0.0, 0.0]
    daemon.close()


def test_the_heartbeat_is_the_newest_and_is_no_command(daemon):
    beats = [Heartbeat(n, n, Mode.ACTIVE, Level.SAFE, ("a",)) for n in (1, 2)]
    for beat in beats:
        daemon.send_frames(encode_heartbeat(beat))
    daemon.send_frames([b"safety", b"\xc1"])
    assert daemon.receive() == (STOP, "silence")
    assert daemon.receiver.heartbeat == beats[1]
    assert daemon.receiver.bad == 1


def test_waiting_ends_when_a_command_comes():
    daemon = Daemon(SystemClock())
    sender = threading.Timer(0.05, daemon.send)
    sender.start()
    began_s = time.monotonic()
    assert daemon.receive(timeout_s=20) == (RUN, "")
    assert time.monotonic() - began_s < 10
    sender.join()
    daemon.close()


def test_waiting_ends_when_the_present_command_runs_out():
    daemon = Daemon(SystemClock())
    daemon.send()
    daemon.receive()
    began_s = time.monotonic()
    assert daemon.receive(timeout_s=20) == (STOP, "silence")
    assert time.monotonic() - began_s < 10
    daemon.close()


def test_the_kit_needs_only_zmq_msgpack_and_numpy():
    script = """
import sys
class Only:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("pydantic", "uvloop", "cv2", "onnxruntime", "rich", "psutil", "tokenizers"):
            raise ImportError(name)
sys.meta_path.insert(0, Only())
import vlad.driver
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


# another machine's clock ----------------------------------------------------------------------------------


class Shifted:
    """The daemon's clock: `base` as seen on a machine that booted at another time."""

    def __init__(self, base, shift_ns):
        self.base, self.shift_ns = base, shift_ns

    def now_ns(self):
        return self.base.now_ns() + self.shift_ns


@pytest.fixture
def remote():
    """A daemon on another machine: its monotonic clock has nothing to do with ours."""
    clock = FakeClock()
    made = Daemon(clock)
    made.receiver._same_clock = False
    made.clock = Shifted(clock, -900 * 10**9)
    made.clock.advance = clock.advance
    yield made
    made.close()


def test_over_tcp_the_age_counts_from_the_quickest_message(remote):
    remote.send(age_s=0.005)
    assert remote.receive() == (RUN, "")
    remote.clock.advance(0.05)
    remote.send(age_s=0.050)
    assert remote.receive() == (RUN, "")
    remote.clock.advance(0.016)
    assert remote.receive() == (STOP, "silence")


def test_over_tcp_a_burst_after_a_stall_is_not_obeyed(remote):
    remote.send()
    remote.receive()
    late = encode_command(remote.command())
    remote.clock.advance(0.4)
    remote.send_frames(late)
    assert remote.receive() == (STOP, "expired")
    remote.send()
    assert remote.receive() == (RUN, "")


def test_over_tcp_a_daemon_whose_machine_was_rebooted_is_obeyed_after_the_silence(remote):
    remote.send(3)
    remote.receive()
    remote.clock.advance(30)
    remote.clock.shift_ns = -960 * 10**9
    remote.send(9)
    assert remote.receive() == (RUN, "")


# publishing -----------------------------------------------------------------------------------------------


@pytest.fixture
def heard(tmp_path):
    """A SUB socket bound where vlad would bind its own."""
    context = zmq.Context()
    socket = context.socket(zmq.SUB)
    socket.subscribe(b"")
    socket.bind(f"ipc://{tmp_path}/sensors.sock")
    yield context, socket, f"ipc://{tmp_path}/sensors.sock"
    context.destroy(linger=0)


def test_samples_are_numbered_stamped_and_of_the_sensors_frame(heard):
    context, socket, endpoint = heard
    with SensorPublisher(endpoint, "button", "estop", "base_link", context=context) as publisher:
        while not socket.poll(5):
            publisher.publish(EStop(False))
        publisher.publish(EStop(True), stamp_ns=time.monotonic_ns() - 1000)
        samples = []
        while socket.poll(200):
            samples.append(decode_sample(socket.recv_multipart(), time.monotonic_ns(), time.time_ns()))
    assert samples[-1].data == EStop(True)
    assert samples[-1].frame_id == "base_link"
    seqs = [sample.seq for sample in samples]
    assert seqs == list(range(seqs[0], publisher.seq))


def test_an_array_that_is_reused_after_publishing_arrives_as_it_was(heard):
    context, socket, endpoint = heard
    pixels = np.zeros((480, 640, 3), np.uint8)
    with SensorPublisher(endpoint, "camera", "image", context=context) as publisher:
        while not socket.poll(5):
            publisher.publish(Image("rgb8", pixels))
        while socket.poll(100):
            socket.recv_multipart()
        pixels[:] = 1
        publisher.publish(Image("rgb8", pixels))
        pixels[:] = 2
        assert set(socket.recv_multipart()[2]) == {1}
        pixels.flags.writeable = False
        publisher.publish(Image("rgb8", pixels))
        assert set(socket.recv_multipart()[2]) == {2}


def test_the_first_message_after_a_long_wait_arrives(heard):
    context, socket, endpoint = heard
    with SensorPublisher(endpoint, "button", "estop", context=context) as publisher:
        for _ in range(50):
            time.sleep(0.1)
            publisher.publish(EStop(True))
            if socket.poll(300):
                break
        assert publisher.seq <= 2


def test_what_was_published_before_closing_still_arrives(heard):
    context, socket, endpoint = heard
    with SensorPublisher(endpoint, "camera", "image", context=context) as publisher:
        while not socket.poll(5):
            publisher.publish(Image("rgb8", np.zeros((1, 1, 3), np.uint8)))
        while socket.poll(100):
            socket.recv_multipart()
        pixels = np.full((2160, 3840, 3), 7, np.uint8)
        publisher.publish(Image("rgb8", pixels))
    assert socket.poll(5000)
    assert bytes(socket.recv_multipart()[2]) == pixels.tobytes()


def test_publishing_with_nobody_there_never_blocks(tmp_path):
    with SensorPublisher(f"ipc://{tmp_path}/sensors.sock", "button", "estop") as publisher:
        for _ in range(1000):
            publisher.publish(EStop(False))
    assert publisher.seq == 1000


def test_a_wrong_type_is_told_to_the_author(tmp_path):
    with pytest.raises(ValueError, match="no sensor type 'imgae'"):
        SensorPublisher(f"ipc://{tmp_path}/sensors.sock", "camera", "imgae")
    with (
        SensorPublisher(f"ipc://{tmp_path}/sensors.sock", "camera", "image") as publisher,
        pytest.raises(TypeError, match="expected Image, got EStop"),
    ):
        publisher.publish(EStop(False))


def test_commands_come_over_tcp_with_curve(tmp_path):
    for name in ("daemon", "motor"):
        zmq.auth.create_certificates(tmp_path, name)
    context = zmq.Context()
    socket = context.socket(zmq.PUB)
    bind_curve(socket, "tcp://127.0.0.1:*", tmp_path / "daemon.key_secret")
    endpoint = socket.last_endpoint.decode().rstrip("\0")
    curve = ClientKeys.load(tmp_path / "motor.key_secret", tmp_path / "daemon.key")
    with CommandReceiver(endpoint, curve=curve) as receiver:
        end_s, seq = time.monotonic() + 10, 0
        while receiver.receive(0.01).mode is not RUN and time.monotonic() < end_s:
            seq += 1
            command = Command(seq, 5 * seq, 60, RUN, Kind.TWIST, NAMES, np.zeros(2, np.float32), 0)
            socket.send_multipart(encode_command(command))
        assert receiver.receive().mode is RUN
    context.destroy(linger=0)
