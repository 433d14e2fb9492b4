"""A process that publishes sensor messages at set rates, for the benchmarks; it stands in for many drivers.

`python -m tools.benchmarks.feed ENDPOINT TOPIC:TYPE:RATE_HZ[:WIDTHxHEIGHT] ...`
"""

from __future__ import annotations

import heapq
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from vlad.driver import SensorPublisher
from vlad.messages import Data, EStop, Image, JointState, LaserScan, Odometry

_JOINTS = tuple(f"joint_{number}" for number in range(12))


def _make(type_name: str, size: str) -> Callable[[], Data]:
    """A function that makes the next message; big payloads are made once, the sending is what is measured."""
    match type_name:
        case "image":
            width, height = (int(part) for part in size.split("x"))
            pixels = np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)
            return lambda: Image("rgb8", pixels)
        case "laser_scan":
            ranges = np.full(360, 5.0, np.float32)
            return lambda: LaserScan(-np.pi, 2 * np.pi / 360, 0.05, 8.0, ranges)
        case "joint_state":
            position = np.zeros(len(_JOINTS), np.float32)
            return lambda: JointState(_JOINTS, position=position, velocity=position)
        case "odometry":
            zero = (0.0, 0.0, 0.0)
            return lambda: Odometry("base_link", zero, (0.0, 0.0, 0.0, 1.0), zero, zero)
        case "estop":
            return lambda: EStop(False)
    raise SystemExit(f"feed: cannot make messages of type {type_name}")


@dataclass(order=True)
class _Stream:
    due_s: float
    period_s: float
    publisher: SensorPublisher
    make: Callable[[], Data]


def main() -> None:
    endpoint, *wanted = sys.argv[1:]
    streams = []
    start_s = time.monotonic() + 0.2
    for number, text in enumerate(wanted):
        topic, type_name, rate_hz, *size = text.split(":")
        publisher = SensorPublisher(endpoint, topic, type_name)
        period_s = 1 / float(rate_hz)
        offset_s = period_s * number / len(wanted)
        streams.append(_Stream(start_s + offset_s, period_s, publisher, _make(type_name, "".join(size))))
    heapq.heapify(streams)
    while True:
        stream = streams[0]
        time.sleep(max(0.0, stream.due_s - time.monotonic()))
        stream.publisher.publish(stream.make())
        stream.due_s = max(stream.due_s + stream.period_s, time.monotonic() - stream.period_s)
        heapq.heapreplace(streams, stream)


if __name__ == "__main__":
    main()
