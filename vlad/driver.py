"""The kit for people who write drivers: publish what a sensor sees, receive what the motors shall do.

A camera driver:

    from vlad.driver import SensorPublisher
    from vlad.messages import Image

    with SensorPublisher("ipc:///run/vlad/sensors.sock", "camera", "image", "camera") as publisher:
        while True:
            pixels = camera.read()                      # (height, width, 3) uint8
            publisher.publish(Image("rgb8", pixels))

A motor driver:

    from vlad.driver import CommandReceiver
    from vlad.messages import CommandMode, Kind

    with CommandReceiver("ipc:///run/vlad/commands.sock", Kind.TWIST, ("linear_x", "angular_z")) as receiver:
        while True:
            command = receiver.receive(timeout_s=0.01)
            if command.mode is CommandMode.STOP0:
                motors.power_off()
            else:
                motors.drive(*command.values)           # zeros in a stop that came without values

It needs nothing but zmq, msgpack and numpy. Times are CLOCK_MONOTONIC [ns]. One thread uses one object.
"""

from __future__ import annotations

from types import TracebackType
from typing import Literal, Self

import zmq

from vlad.clock import Clock, SystemClock
from vlad.curve import ClientKeys, connect
from vlad.messages import DATA_TYPES, CompressedImage, Data, Image, PointCloud
from vlad.receiver import CommandReceiver, StopReason
from vlad.wire import encode_sample

__all__ = ["CommandReceiver", "SensorPublisher", "StopReason"]

_LARGE_QUEUE, _SMALL_QUEUE = 2, 256
_LINGER_MS = 1000


class SensorPublisher:
    """Publishes the samples of one topic. It never blocks: what vlad cannot take in time is dropped.

    `type_name` is a type of the wire ("image", "laser_scan"...), `frame_id` the sensor's coordinate frame.
    Over TCP, to another machine, samples carry wall-clock stamps: both machines need synchronized clocks.
    """

    def __init__(
        self,
        endpoint: str,
        topic: str,
        type_name: str,
        frame_id: str = "",
        clock: Clock | None = None,
        curve: ClientKeys | None = None,
        context: zmq.Context[zmq.Socket[bytes]] | None = None,
    ) -> None:
        if type_name not in DATA_TYPES:
            raise ValueError(f"no sensor type {type_name!r}; there are {', '.join(DATA_TYPES)}")
        self.topic = topic
        self.frame_id = frame_id
        self.seq = 0
        self._data_type = DATA_TYPES[type_name]
        self._clock = clock or SystemClock()
        self._remote = endpoint.startswith("tcp:")
        self._socket = (context or zmq.Context.instance()).socket(zmq.PUB)
        large = self._data_type in (Image, CompressedImage, PointCloud)
        self._socket.sndhwm = _LARGE_QUEUE if large else _SMALL_QUEUE
        connect(self._socket, endpoint, curve)
        self._socket.linger = _LINGER_MS

    def publish(self, data: Data, stamp_ns: int | None = None) -> None:
        """Send one sample, measured at `stamp_ns`; None: now.

        The array of `data` may be written to again at once; one that is marked read-only
        (`pixels.flags.writeable = False`) is sent without a copy and must stay as it is.
        TypeError for another type than this publisher's, ValueError for a shape that does not fit.
        """
        if type(data) is not self._data_type:
            raise TypeError(f"{self.topic}: expected {self._data_type.__name__}, got {type(data).__name__}")
        stamp_ns = self._clock.now_ns() if stamp_ns is None else stamp_ns
        if self._remote:
            stamp_ns += self._clock.wall_ns() - self._clock.now_ns()
        clock: Literal["realtime", "monotonic"] = "realtime" if self._remote else "monotonic"
        frames = encode_sample(self.topic, self.seq, stamp_ns, data, self.frame_id, clock)
        last = frames[-1]
        # Reading EVENTS makes libzmq notice now that vlad has connected; a mere send may overlook it.
        self._socket.getsockopt(zmq.EVENTS)
        self._socket.send_multipart(
            frames, zmq.NOBLOCK, copy=not (isinstance(last, memoryview) and last.readonly)
        )
        self.seq += 1

    def close(self) -> None:
        """What was published is still delivered to a vlad that takes it within a second."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
