"""Pictures from the daemon's feed as files that a browser shows. Imported by the thread that makes them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np

from vlad.feed import FeedReader
from vlad.messages import CompressedImage, Image, Sample

Put: TypeAlias = Callable[[str, int, str, bytes], object]
"""Takes topic, time of the picture, media type and file."""

_WAIT_S = 0.2
_WIDEST = 640
_JPEG = (cv2.IMWRITE_JPEG_QUALITY, 75)


def watch(run_dir: Path, wanted: Callable[[], frozenset[str]], put: Put) -> None:
    """Hand over the newest picture of each wanted topic, again and again, until none is wanted."""
    while topics := wanted():
        with closing(FeedReader(run_dir, [f"sensor/{topic}" for topic in topics])) as feed:
            while wanted() == topics:
                feed.wait(_WAIT_S)
                newest = {item.topic: item for item in feed.read() if isinstance(item, Sample)}
                for topic in topics & newest.keys():
                    _hand_over(newest[topic], put)


def _hand_over(sample: Sample, put: Put) -> None:
    """What cannot be shown is left out."""
    if isinstance(sample.data, CompressedImage):
        put(sample.topic, sample.stamp_ns, f"image/{sample.data.format}", bytes(sample.data.data))
    elif isinstance(sample.data, Image):
        with suppress(cv2.error):
            put(sample.topic, sample.stamp_ns, "image/jpeg", to_jpeg(sample.data))


def to_jpeg(image: Image) -> bytes:
    """At most 640 pixels wide; distances in grey, the nearest dark."""
    pixels: Any = image.pixels
    height, width = pixels.shape[:2]
    if width > _WIDEST:
        pixels = cv2.resize(
            pixels, (_WIDEST, max(1, height * _WIDEST // width)), interpolation=cv2.INTER_AREA
        )
    if image.encoding in ("16UC1", "32FC1"):
        known = np.nan_to_num(pixels.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
        pixels = (known.clip(0) * (255 / max(float(known.max()), 1e-6))).astype(np.uint8)
    elif image.encoding == "rgb8":
        pixels = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    _, coded = cv2.imencode(".jpg", pixels, _JPEG)
    return coded.tobytes()
