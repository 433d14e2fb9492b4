"""Pictures from the daemon's feed as files that a browser shows. Imported by the thread that makes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
import zmq

from vlad.clock import Clock
from vlad.messages import CompressedImage, Image
from vlad.wire import decode_sample
from vlad.wire.fields import BadMessage

Put: TypeAlias = Callable[[str, int, str, bytes], object]
"""Takes topic, time of the picture, media type and file."""

SOCKET_NAME = "pictures.sock"
_PREFIX = b"sensor/"
_WAIT_MS = 200
_WIDEST = 640
_JPEG = (cv2.IMWRITE_JPEG_QUALITY, 75)


def watch(run_dir: Path, clock: Clock, wanted: Callable[[], frozenset[str]], put: Put) -> None:
    """Hand over the newest picture of each wanted topic, again and again, until none is wanted."""
    subscribed: frozenset[str] = frozenset()
    with zmq.Context() as context, context.socket(zmq.SUB) as socket:
        socket.linger = 0
        socket.rcvhwm = 2
        socket.connect(f"ipc://{run_dir / SOCKET_NAME}")
        while topics := wanted():
            for topic in topics - subscribed:
                socket.subscribe(_PREFIX + topic.encode())
            for topic in subscribed - topics:
                socket.unsubscribe(_PREFIX + topic.encode())
            subscribed = topics
            newest: dict[str, Sequence[bytes]] = {}
            while socket.poll(0 if newest else _WAIT_MS):
                frames = socket.recv_multipart()
                newest[frames[0].removeprefix(_PREFIX).decode(errors="replace")] = frames
            for topic in topics & newest.keys():
                _hand_over(topic, newest[topic], clock, put)


def _hand_over(topic: str, frames: Sequence[bytes], clock: Clock, put: Put) -> None:
    """What the daemon took in was good; what cannot be shown all the same is left out."""
    try:
        received_ns = int.from_bytes(frames[1], "little")
        wall_ns = clock.wall_ns() - clock.now_ns() + received_ns
        sample = decode_sample([topic.encode(), *frames[2:]], received_ns, wall_ns)
        if isinstance(sample.data, CompressedImage):
            put(topic, sample.stamp_ns, f"image/{sample.data.format}", bytes(sample.data.data))
        elif isinstance(sample.data, Image):
            put(topic, sample.stamp_ns, "image/jpeg", to_jpeg(sample.data))
    except (BadMessage, cv2.error):
        return


def to_jpeg(image: Image) -> bytes:
    """At most 640 pixels wide; distances in grey, the nearest dark."""
    pixels: Any = image.pixels
    height, width = pixels.shape[:2]
    if width > _WIDEST:
        pixels = cv2.resize(pixels, (_WIDEST, height * _WIDEST // width), interpolation=cv2.INTER_AREA)
    if image.encoding in ("16UC1", "32FC1"):
        known = np.nan_to_num(pixels.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
        pixels = (known * (255 / max(float(known.max()), 1e-6))).astype(np.uint8)
    elif image.encoding == "rgb8":
        pixels = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    _, coded = cv2.imencode(".jpg", pixels, _JPEG)
    return coded.tobytes()
