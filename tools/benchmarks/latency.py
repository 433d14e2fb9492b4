"""What vlad adds: camera message received to command received, and e-stop sent to stop received.

Drivers, daemon and motor are processes of their own on real sockets. The model does next to nothing, and its
own run, as the daemon timed it on that very frame, is taken off. The time of a frame on its way into the
daemon is given apart (`transport`). What people write in place of vlad is measured beside it (`script`).
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
import zmq

from tools.benchmarks.report import Report, at_most, machine, percentiles
from tools.benchmarks.rig import Rig, rig, write_policy
from tools.benchmarks.script import COMMAND
from vlad.driver import SensorPublisher
from vlad.messages import Command, CommandMode, EStop
from vlad.wire import decode_command

_SIZES = {"640x480": 1.0, "1920x1080": 2.5}
_MODEL_SIZE = 224
_NS_PER_MS = 1e6


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=float, default=20, help="for each camera (default: %(default)s)")
    parser.add_argument("--presses", type=int, default=100, help="of the e-stop (default: %(default)s)")


class Motor:
    """Listens to the commands as a motor driver does, and notes when each came."""

    def __init__(self, endpoint: str) -> None:
        self._socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.SUB)
        self._socket.subscribe(b"command")
        self._socket.connect(endpoint)

    def next(self, timeout_s: float) -> tuple[int, Command] | None:
        """When the next command came, CLOCK_MONOTONIC [ns], and the command; None after the time-out."""
        if not self._socket.poll(round(timeout_s * 1000)):
            return None
        frames = self._socket.recv_multipart()
        return time.monotonic_ns(), decode_command(frames)

    def next_of_script(self) -> int:
        """What the script added to the next frame [ns]."""
        if not self._socket.poll(5000):
            raise SystemExit("the script sent no command within 5 s")
        _, payload = self._socket.recv_multipart()
        at_ns = time.monotonic_ns()
        received_ns, model_ns = COMMAND.unpack(payload)
        return at_ns - int(received_ns) - int(model_ns)

    def close(self) -> None:
        self._socket.close()


def _frames(size: str, seconds: float) -> dict[str, Any]:
    """Follow each frame from the camera driver to the motor driver."""
    with rig({"camera": {"type": "image", "max_age_s": 0.5}}, guard=True) as bench:
        folder = write_policy(bench.folder / "models" / "bench", "camera", _MODEL_SIZE, rounds=0)
        bench.policy.update(bundle=str(folder), rate_hz=1000.0)
        notes = bench.folder / "notes.npz"
        bench.start_daemon("tools.benchmarks.host", bench.write_settings(), notes)
        bench.feed([f"camera:image:30:{size}"])
        motor = Motor(bench.commands)
        bench.arm()
        arrived = _first_commands(motor, seconds)
        motor.close()
        bench.stop(0)
        kept = np.load(notes)
    received = dict(zip(kept["stamp_ns"].tolist(), kept["received_ns"].tolist(), strict=True))
    model = dict(zip(kept["chunk_ns"].tolist(), kept["model_ns"].tolist(), strict=True))
    added = [
        at_ns - received[stamp_ns] - model[stamp_ns]
        for stamp_ns, at_ns in arrived.items()
        if stamp_ns in received and stamp_ns in model
    ]
    transport = kept["received_ns"] - kept["stamp_ns"]
    return {
        "frames": len(added),
        "added": percentiles(np.array(added) / _NS_PER_MS, "ms"),
        "transport": percentiles(transport / _NS_PER_MS, "ms"),
        "model": percentiles(kept["model_ns"] / _NS_PER_MS, "ms"),
    }


def _first_commands(motor: Motor, seconds: float) -> dict[int, int]:
    """Stamp of a frame -> when the first command that came of it was received."""
    arrived: dict[int, int] = {}
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        heard = motor.next(1.0)
        if heard is not None and heard[1].mode is CommandMode.RUN:
            arrived.setdefault(heard[1].source_stamp_ns, heard[0])
    return arrived


def _script(size: str, seconds: float) -> dict[str, float]:
    """The same frames and the same model with a script in place of the daemon."""
    with rig({}) as bench:
        folder = write_policy(bench.folder / "bench", "camera", _MODEL_SIZE, rounds=0)
        bench.run_dir.mkdir()
        motor = Motor(bench.commands)
        bench.start("tools.benchmarks.script", bench.sensors, bench.commands, folder / "model.onnx")
        bench.feed([f"camera:image:30:{size}"])
        motor.next_of_script()
        end_s = time.monotonic() + seconds
        added = []
        while time.monotonic() < end_s:
            added.append(motor.next_of_script())
        motor.close()
    return percentiles(np.array(added) / _NS_PER_MS, "ms")


def _presses(count: int) -> dict[str, float]:
    """Press the e-stop of a moving robot again and again, each time after a reset and a new arming."""
    signals: dict[str, dict[str, Any]] = {
        "camera": {"type": "image"},
        "estop": {"type": "estop", "required": False},
    }
    delays = []
    with rig(signals, guard=True) as bench:
        folder = write_policy(bench.folder / "models" / "bench", "camera", _MODEL_SIZE, rounds=0)
        bench.policy.update(bundle=str(folder), rate_hz=30.0)
        bench.start_daemon("vlad", "--config", bench.write_settings())
        bench.feed(["camera:image:30:640x480"])
        motor = Motor(bench.commands)
        with SensorPublisher(bench.sensors, "estop", "estop") as button:
            time.sleep(0.5)
            for _ in range(count):
                _release(bench, button)
                bench.arm()
                _wait_for(motor, {CommandMode.RUN})
                sent_ns = time.monotonic_ns()
                button.publish(EStop(True))
                delays.append(_wait_for(motor, {CommandMode.STOP0, CommandMode.STOP1}) - sent_ns)
        motor.close()
    return percentiles(np.array(delays) / _NS_PER_MS, "ms")


def _release(bench: Rig, button: SensorPublisher) -> None:
    """Release the button and reset: it is refused for as long as the robot moves or the button is down."""
    for _ in range(100):
        button.publish(EStop(False))
        if bench.call("reset")["ok"]:
            return
        time.sleep(0.05)
    raise SystemExit("the e-stop could not be reset within 5 s")


def _wait_for(motor: Motor, modes: set[CommandMode]) -> int:
    """When the first command in one of these modes came; what waited in the socket before is read first."""
    end_s = time.monotonic() + 5
    while time.monotonic() < end_s:
        heard = motor.next(0.5)
        if heard is not None and heard[1].mode in modes:
            return heard[0]
    raise SystemExit(f"no command in mode {' or '.join(sorted(modes))} within 5 s")


def run(arguments: argparse.Namespace) -> Report:
    conditions = {
        **machine(),
        "seconds_each": arguments.seconds,
        "presses": arguments.presses,
        "camera_hz": 30,
    }
    results: dict[str, Any] = {size: _frames(size, arguments.seconds) for size in _SIZES}
    results["script"] = {size: _script(size, arguments.seconds / 2) for size in _SIZES}
    results["estop"] = _presses(arguments.presses)
    targets = [
        at_most(f"added to one {size} rgb8 frame, p50 [ms]", results[size]["added"]["p50_ms"], limit)
        for size, limit in _SIZES.items()
    ]
    targets += [
        at_most("e-stop sent to stop received, p50 [ms]", results["estop"]["p50_ms"], 1.0),
        at_most("e-stop sent to stop received, p99 [ms]", results["estop"]["p99_ms"], 5.0),
    ]
    return Report("latency", conditions, results, targets)
