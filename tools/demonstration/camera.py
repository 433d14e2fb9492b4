"""What the simulated camera sends, for people: the simulator publishes it to whoever binds viewers.sock."""

from __future__ import annotations

from pathlib import Path

import zmq

from tools.demonstration.pictures import Pixels
from vlad.clock import SystemClock
from vlad.messages import Image
from vlad.wire import decode_sample

_TOPIC = b"camera"


class CameraView:
    """The newest frame. `newest` never waits."""

    def __init__(self, run_dir: Path) -> None:
        self._clock = SystemClock()
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
        self._socket = context.socket(zmq.SUB)
        self._socket.rcvhwm = 2
        self._socket.linger = 0
        self._socket.subscribe(_TOPIC)
        self._socket.bind(f"ipc://{run_dir}/viewers.sock")
        self._pixels: Pixels | None = None

    def newest(self) -> Pixels | None:
        """(height, width, 3) rgb, or None before the first."""
        frames: list[bytes] | None = None
        while self._socket.poll(0):
            frames = self._socket.recv_multipart()
        if frames is not None:
            sample = decode_sample(frames, self._clock.now_ns(), self._clock.wall_ns(), "image")
            assert isinstance(sample.data, Image)
            self._pixels = sample.data.pixels
        return self._pixels

    def close(self) -> None:
        self._socket.close()
