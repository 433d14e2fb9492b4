"""tools/inject: the proxy on real sockets, and when it is refused."""

import threading
import time

import numpy as np
import pytest
import zmq

from tests.tools.injecting import TIMEOUT_S, daemon_with, inject
from tools.injection.kinds import Kind
from tools.injection.plan import Planned, run_planned
from tools.injection.proxy import Proxy
from tools.injection.remote import InjectionError, Injector, check_allowed
from vlad.clock import SystemClock
from vlad.driver import CommandReceiver, SensorPublisher
from vlad.folders import AlreadyRunningError
from vlad.messages import Battery, Command, CommandMode, Image
from vlad.messages import Kind as CommandKind
from vlad.wire import encode_command


class Vlad:
    """The sockets that a daemon binds, and a proxy before them in a thread."""

    def __init__(self, folder):
        self.run_dir, self.listen = folder / "run", folder / "drivers"
        self.run_dir.mkdir()
        self.context = zmq.Context()
        self.sensors = self._bind(zmq.SUB, "sensors")
        self.sensors.subscribe(b"")
        self.commands, self.guard = self._bind(zmq.XPUB, "commands"), self._bind(zmq.XPUB, "guard")
        self.proxy = Proxy(self.run_dir, self.listen, SystemClock())
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self.proxy.run, args=(lambda: not self._ended.is_set(),))
        self._thread.start()
        self.injector = Injector(self.listen)

    def _bind(self, kind, name):
        socket = self.context.socket(kind)
        socket.linger = 0
        socket.bind(f"ipc://{self.run_dir}/{name}.sock")
        return socket

    def close(self):
        self._ended.set()
        self._thread.join()
        self.injector.close()
        self.proxy.close()
        self.context.destroy(linger=0)


@pytest.fixture
def vlad(tmp_path):
    made = Vlad(tmp_path)
    yield made
    made.close()


def first(socket, send, timeout_s=TIMEOUT_S):
    """Send again and again until something comes: a PUB socket drops what it sends before it is connected."""
    end_s = time.monotonic() + timeout_s
    while time.monotonic() < end_s:
        send()
        if socket.poll(50):
            return socket.recv_multipart()
    return None


def drain(socket):
    while socket.poll(100):
        socket.recv_multipart()


def test_sensor_messages_pass_as_they_are(vlad):
    pixels = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    with SensorPublisher(f"ipc://{vlad.listen}/sensors.sock", "camera", "image") as camera:
        topic, _, payload = first(vlad.sensors, lambda: camera.publish(Image("rgb8", pixels)))
    assert (topic, payload) == (b"camera", pixels.tobytes())


def test_a_topic_is_cut_off_and_comes_back(vlad):
    with SensorPublisher(f"ipc://{vlad.listen}/sensors.sock", "battery", "battery") as battery:
        send = lambda: battery.publish(Battery(0.9, 25.0, 0.0, 20.0))  # noqa: E731
        assert first(vlad.sensors, send)
        drain(vlad.sensors)
        assert vlad.injector.set("battery", Kind.OFF)["topics"]["battery"]["kind"] == "off"
        assert first(vlad.sensors, send, timeout_s=0.3) is None
        assert vlad.injector.clear()["topics"]["battery"]["kind"] == "ok"
        assert first(vlad.sensors, send)
        row = vlad.injector.list()["topics"]["battery"]
        assert row["sent"] < row["came"]


def test_what_is_delayed_comes_though_nothing_follows_it(vlad):
    with SensorPublisher(f"ipc://{vlad.listen}/sensors.sock", "battery", "battery") as battery:
        send = lambda: battery.publish(Battery(0.9, 25.0, 0.0, 20.0))  # noqa: E731
        assert first(vlad.sensors, send)
        drain(vlad.sensors)
        vlad.injector.set("battery", Kind.DELAYED)
        send()
        assert vlad.sensors.poll(TIMEOUT_S * 1000)


def send_command(socket, seq):
    values = np.array([0.1], np.float32)
    command = Command(seq, time.monotonic_ns(), 100, CommandMode.RUN, CommandKind.TWIST, ("x",), values, 1)
    socket.send_multipart(encode_command(command))


def subscribed(socket):
    """Wait for the next subscription message."""
    assert socket.poll(TIMEOUT_S * 1000)
    return socket.recv()


def test_vlad_sees_a_motor_driver_come_and_go(vlad):
    with CommandReceiver(f"ipc://{vlad.listen}/commands.sock") as _:
        seen = {subscribed(vlad.commands), subscribed(vlad.commands)}
        assert b"\x01command" in seen
    assert b"\x00" in {message[:1] for message in (subscribed(vlad.commands), subscribed(vlad.commands))}


def test_commands_pass_and_a_wrong_one_stops_the_motors_by_its_checksum(vlad):
    with CommandReceiver(f"ipc://{vlad.listen}/commands.sock") as motors:
        subscribed(vlad.commands)
        seq, end_s, injected = 0, time.monotonic() + TIMEOUT_S, False
        while motors.reason != "crc" and time.monotonic() < end_s:
            seq += 1
            send_command(vlad.commands, seq)
            if motors.receive(0.02).mode is CommandMode.RUN and not injected:
                vlad.injector.set("command", Kind.WRONG)
                injected = True
        assert injected
        assert motors.reason == "crc"
        assert motors.receive().mode is CommandMode.STOP1


def test_the_guard_is_heard_through_the_proxy(vlad):
    socket = vlad.context.socket(zmq.SUB)
    socket.subscribe(b"command")
    socket.connect(f"ipc://{vlad.listen}/guard.sock")
    assert first(socket, lambda: vlad.guard.send_multipart([b"command", b"stop"])) == [b"command", b"stop"]


def test_what_the_proxy_cannot_do_it_says(vlad):
    with pytest.raises(InjectionError, match="unknown request"):
        vlad.injector._ask(do="dance")
    with pytest.raises(InjectionError, match="not a valid Kind"):
        vlad.injector._ask(do="set", topic="camera", kind="tired")


def test_a_folder_in_use_is_refused(vlad):
    with pytest.raises(AlreadyRunningError):
        Proxy(vlad.run_dir, vlad.listen, SystemClock())


# refusal ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "simulated", "refused"),
    [
        ("active", False, True), ("degraded", False, True), ("stopping", False, True),
        ("stopped", None, True), ("disarmed", False, False), ("estop", False, False), ("active", True, False),
    ],
)  # fmt: skip
def test_a_real_robot_that_is_armed_is_left_alone(tmp_path, mode, simulated, refused):
    with daemon_with(tmp_path, mode, simulated):
        if refused:
            with pytest.raises(InjectionError, match="arm 1 is armed"):
                check_allowed(tmp_path)
        else:
            check_allowed(tmp_path)


def test_where_no_daemon_is_nothing_is_refused(tmp_path):
    check_allowed(tmp_path)


def test_a_daemon_that_cannot_be_asked_counts_as_armed(tmp_path):
    (tmp_path / "control.sock").touch()
    with pytest.raises(InjectionError, match="cannot be known"):
        check_allowed(tmp_path)


def test_no_proxy_is_said_so(tmp_path, monkeypatch):
    monkeypatch.setattr("tools.injection.remote._TIMEOUT_S", 0.1)
    with Injector(tmp_path) as injector, pytest.raises(InjectionError, match="tools/inject proxy"):
        injector.list()


def test_a_plan_goes_wrong_on_time(tmp_path):
    run_dir, listen = tmp_path / "run", tmp_path / "drivers"
    run_dir.mkdir()
    plan = [Planned("camera", Kind.OFF, 0.0, None), Planned("imu", Kind.STUCK, 3600.0, None)]
    ended = threading.Event()
    proxy = threading.Thread(target=run_planned, args=(run_dir, listen, plan, lambda: not ended.is_set()))
    proxy.start()
    try:
        with Injector(listen) as injector:
            topics = injector.list()["topics"]
        assert {topic: row["kind"] for topic, row in topics.items()} == {"camera": "off", "imu": "ok"}
    finally:
        ended.set()
        proxy.join()


def test_the_commands_of_a_person(vlad):
    done = inject("set", "--listen", vlad.listen, "camera", "stuck", "--for", "60")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[:2] == ["camera", "stuck"]
    assert inject("list", "--listen", vlad.listen).stdout.split()[:2] == ["camera", "stuck"]
    assert inject("clear", "--listen", vlad.listen).stdout.split()[:2] == ["camera", "ok"]
