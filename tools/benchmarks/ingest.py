"""Four raw cameras and 2,000 small messages a second into the daemon while it drives: CPU share, late ticks,
copies.

Its model, on the first camera, does next to nothing: it is there so that the robot moves. A loop that does
nothing runs on each CPU beside it (`bare`): what that is late by is the machine's doing.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import zmq

from tools.benchmarks.report import Report, at_most, machine
from tools.benchmarks.rig import rig, write_policy
from tools.benchmarks.stalls import Bare
from vlad.driver import CommandReceiver
from vlad.messages import Image
from vlad.wire import decode_sample, encode_sample

_CAMERAS = [f"camera{number}:image:30:640x480" for number in range(4)]
_SMALL = ["joints:joint_state:1000", "odometry:odometry:1000"]
_FEED = [*_CAMERAS, *_SMALL]
_SIGNALS = {line.split(":")[0]: {"type": line.split(":")[1]} for line in _FEED}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=float, default=30)


def _copies() -> int:
    """Payload copies from the wire's frame to the slot: 0 when the pixels still lie in the received frame."""
    image = Image("rgb8", np.zeros((480, 640, 3), np.uint8))
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
    with context.socket(zmq.PAIR) as left, context.socket(zmq.PAIR) as right:
        left.bind("inproc://copies")
        right.connect("inproc://copies")
        now_ns = time.monotonic_ns()
        left.send_multipart(encode_sample("camera", 1, now_ns, image), copy=False)
        topic, header, payload = right.recv_multipart(copy=False)
        sample = decode_sample([topic.bytes, header.bytes, payload.buffer], now_ns, time.time_ns())
    assert isinstance(sample.data, Image)
    return int(not np.shares_memory(sample.data.pixels, np.frombuffer(payload.buffer, np.uint8)))


def run(arguments: argparse.Namespace) -> Report:
    with rig(_SIGNALS) as bench:
        bench.policy["bundle"] = str(write_policy(bench.folder / "models" / "bench", "camera0", 32, rounds=0))
        ready_s = bench.start_daemon("vlad", "--config", bench.write_settings())
        bench.feed(_CAMERAS)
        bench.feed(_SMALL)
        bare = Bare(bench)
        with CommandReceiver(bench.commands):
            bench.arm()
            time.sleep(2)
            before = bench.call("status")
            began_cpu, began_s = sum(bench.daemon.cpu_times()[:2]), time.monotonic()
            time.sleep(arguments.seconds)
            after = bench.call("status")
            used = (sum(bench.daemon.cpu_times()[:2]) - began_cpu) / (time.monotonic() - began_s)
        bare.stop()
    seconds = time.monotonic() - began_s
    received = {
        topic: round((row["received"] - before["signals"][topic]["received"]) / arguments.seconds, 1)
        for topic, row in after["signals"].items()
    }
    late = {
        key: after["tick"][key] - before["tick"][key] for key in ("count", "missed", "late_1ms", "late_5ms")
    }
    results = {
        "mode": [before["mode"], after["mode"]],
        "received_per_s": received,
        "bad": {topic: row["bad"] for topic, row in after["signals"].items() if row["bad"]},
        "cpu_percent_of_one_core": round(100 * used, 1),
        "ticks": late,
        "late_p99_ms": after["tick"]["late_p99_ms"],
        "bare": bare.report(),
        "payload_copies": _copies(),
    }
    conditions = {**machine(), "seconds": round(seconds, 1), "feed": _FEED, "ready_s": round(ready_s, 2)}
    targets = [
        at_most("CPU of one core [%]", results["cpu_percent_of_one_core"], 40.0),
        at_most("missed ticks", late["missed"], 0),
        at_most("ticks late by more than 5 ms", late["late_5ms"], 0),
        at_most("payload copies from wire to slot", results["payload_copies"], 0),
    ]
    return Report("ingest", conditions, results, targets)
