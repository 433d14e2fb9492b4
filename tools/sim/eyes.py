"""The processes of the camera and the laser scanner: look at the world from where the base is now."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from tools.sim.base import MUTE_BITS, TOPICS
from tools.sim.pace import Pace
from tools.sim.rover import Rover
from tools.sim.sensors import (
    LASER_BEAMS,
    LASER_RANGE_MAX_M,
    LASER_RANGE_MIN_M,
    Camera,
    Laser,
)
from tools.sim.shared import SharedPlacement
from tools.sim.world import make_world
from vlad.driver import SensorPublisher
from vlad.messages import Data, Image, LaserScan

CAMERA_HZ, LASER_HZ = 30.0, 10.0
_CAMERA_NOISE, _LASER_NOISE_M = 3.0, 0.01
_TAU = 6.283185307179586


class Eye(Protocol):
    """A sensor on a rover: what it sees now."""

    def look(self) -> Data: ...


class CameraEye:
    def __init__(self, rover: Rover, seed: int) -> None:
        self._camera = Camera(rover, noise=_CAMERA_NOISE, seed=seed)

    def look(self) -> Image:
        return Image("rgb8", self._camera.image())


class LaserEye:
    def __init__(self, rover: Rover, seed: int) -> None:
        self._laser = Laser(rover, noise_m=_LASER_NOISE_M, seed=seed)

    def look(self) -> LaserScan:
        return LaserScan(
            -_TAU / 2, _TAU / LASER_BEAMS, LASER_RANGE_MIN_M, LASER_RANGE_MAX_M, self._laser.ranges()
        )


def watch(
    run_dir: Path,
    wire_dir: Path,
    topic: str,
    rate_hz: float,
    make_eye: Callable[[Rover, int], Eye],
    shared: SharedPlacement,
    going_on: Callable[[], bool],
) -> None:
    """Publish what the eye sees, stamped with the time of its pose, until `going_on` says no.

    `wire_dir` has vlad's sockets, or those of a proxy before them. Besides vlad, whoever binds
    RUN/viewers.sock gets it, to show it to people.
    """
    pace = Pace(1 / rate_hz)
    rover: Rover | None = None
    with (
        SensorPublisher(f"ipc://{wire_dir}/sensors.sock", topic, TOPICS[topic], topic) as publisher,
        SensorPublisher(f"ipc://{run_dir}/viewers.sock", topic, TOPICS[topic], topic) as viewers,
    ):
        while going_on():
            pace.wait()
            placement = shared.read()
            if placement is None or placement.muted & MUTE_BITS[topic]:
                continue
            if rover is None or rover.world.seed != placement.seed:
                rover = Rover(make_world(placement.seed))
                eye = make_eye(rover, placement.seed)
            rover.place(placement.pose)
            seen = eye.look()
            publisher.publish(seen, placement.stamp_ns)
            viewers.publish(seen, placement.stamp_ns)
