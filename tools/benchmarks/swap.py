"""Another bundle takes the driver's seat again and again while the robot moves: missed ticks, and motion.

None stays loaded when it has left the seat: each is read and warmed up each time.
Loops that do nothing run beside it (`bare`): `missed_alone` is what is missed when the time is taken off for
which a CPU stood still.
"""

from __future__ import annotations

import argparse
import importlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from tools.benchmarks.report import Report, Target, at_most, machine, percentiles
from tools.benchmarks.rig import Rig, rig, write_policy
from tools.benchmarks.stalls import Bare
from vlad.driver import CommandReceiver
from vlad.messages import CommandMode

_CAMERA = {"camera": {"type": "image", "required": True}}
_FEED = ["camera:image:30:640x480"]
_BACKENDS = ("onnx", "torch")
_SPEEDS = ((0.2, 0.0), (0.6, 0.3))
_ACCELERATION = 20.0
"""Of the rig's robot [m/s^2]."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--swaps", type=int, default=20, help="with each backend (default: %(default)s)")
    parser.add_argument("--backends", nargs="+", choices=_BACKENDS, default=_BACKENDS,
                        help="of the bundles (default: all)")  # fmt: skip


class _Motion:
    """What the motor driver was told while the robot was armed."""

    def __init__(self) -> None:
        self.speeds: list[tuple[float, float]] = []
        """Time [s] and linear speed of each command."""
        self.stops = 0

    def listen(self, motor: CommandReceiver, ended: threading.Event) -> None:
        last = -1
        while not ended.is_set():
            command = motor.receive(timeout_s=0.02)
            if command.seq == last:
                continue
            last = command.seq
            if command.mode is CommandMode.RUN:
                self.speeds.append((command.stamp_ns / 1e9, float(command.values[0])))
            elif self.speeds:
                self.stops += 1

    def beyond(self) -> int:
        """Commands that are faster than the robot may be, or change faster than it may.

        Its limit is what the faster policy says, and catching up presses against it.
        """
        times, speeds = np.array(self.speeds).T
        steps = np.abs(np.diff(speeds)) > _ACCELERATION * np.diff(times) + 1e-4
        return int(np.count_nonzero(steps) + np.count_nonzero(speeds > _SPEEDS[1][0] + 1e-3))


@contextmanager
def _listening(motor: CommandReceiver, motion: _Motion) -> Iterator[None]:
    ended = threading.Event()
    thread = threading.Thread(target=motion.listen, args=(motor, ended))
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _swap(bench: Rig, count: int) -> list[float]:
    """How long each activation took [s]."""
    times_s = []
    for number in range(count):
        began_s = time.monotonic()
        answer = bench.call("activate", 60, name="bench", version=str(2 - number % 2))
        if not answer["ok"]:
            raise SystemExit("; ".join(answer["reasons"]))
        times_s.append(time.monotonic() - began_s)
        time.sleep(0.3)
    return times_s


def run(arguments: argparse.Namespace) -> Report:
    results: dict[str, Any] = {}
    targets: list[Target] = []
    for backend in arguments.backends:
        measured, beyond = _measure(backend, arguments.swaps)
        results[backend] = measured
        targets += [
            at_most(f"{backend}: missed ticks", measured["ticks"]["missed"], 0),
            at_most(f"{backend}: commands outside the envelope", beyond, 0),
            at_most(f"{backend}: stops", measured["stops"], 0),
        ]
    return Report("swap", {**machine(), "feed": _FEED}, results, targets)


def _measure(backend: str, swaps: int) -> tuple[dict[str, Any], int]:
    """What so many swaps did, and the commands outside the envelope."""
    motion, write = _Motion(), write_policy
    if backend == "torch":
        write = importlib.import_module("tools.benchmarks.torch_policy").write_torch_policy
    with rig(_CAMERA) as bench:
        bench.velocity = _SPEEDS[1]
        models = bench.folder / "state" / "models" / "bench"
        models.mkdir(parents=True)
        folders = [
            write(models / str(number), "camera", 224, 8, twist, str(number))
            for number, twist in enumerate(_SPEEDS, start=1)
        ]
        bench.policy |= {"bundle": str(folders[0]), "resident_mb": 0}
        notes = bench.folder / "notes.npz"
        bench.start_daemon("tools.benchmarks.host", bench.write_settings(), notes)
        host = len(bench.processes) - 1
        bench.feed(_FEED)
        with CommandReceiver(bench.commands) as motor, _listening(motor, motion):
            bench.arm()
            time.sleep(2)
            bare = Bare(bench)
            before, began_ns = bench.call("status"), time.monotonic_ns()
            times_s = _swap(bench, swaps)
            after, ended_ns = bench.call("status"), time.monotonic_ns()
        bare.stop()
        bench.stop(host)
        missed_alone = bare.missed_alone(notes, began_ns, ended_ns)
    ticks = {
        key: after["tick"][key] - before["tick"][key] for key in ("count", "missed", "late_1ms", "late_5ms")
    }
    results = {
        "swaps": len(times_s),
        "activation": percentiles(np.array(times_s), "s"),
        "ticks": ticks,
        "late_p99_ms": after["tick"]["late_p99_ms"],
        "missed_alone": missed_alone,
        "bare": bare.report(),
        "commands": len(motion.speeds),
        "stops": motion.stops,
        "mode": [before["mode"], after["mode"]],
        "device": after["policy"]["device"],
    }
    return results, motion.beyond()
