"""Live pictures: a real feed, read by the page's process only while somebody looks."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest

from tests.ctl.reports import report, signal
from tests.dashboard.pages import PageProcess
from tests.fake_daemon import Served
from vlad.clock import SystemClock, Tick
from vlad.dashboard.camera import to_jpeg
from vlad.feed import Feed
from vlad.messages import CompressedImage, Data, Image, Sample
from vlad.wire import encode_sample

SIGNALS = {"camera": "image", "camera2": "image", "depth": "image", "jpeg": "compressed_image"}
RED, BLUE = (0, 0, 200), (200, 0, 0)


def coloured(colour: tuple[int, int, int], height: int = 48, width: int = 64) -> Image:
    return Image("bgr8", np.full((height, width, 3), colour, np.uint8))


def decoded(file: bytes) -> np.ndarray:
    picture = cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    return picture


class Cameras:
    """The daemon's side of the feed, with cameras that show what they are told to."""

    def __init__(self, run_dir: Path) -> None:
        self.shows: dict[str, Data] = {}
        self.seen: set[str] = set()
        self._clock = SystemClock()
        self._feed = Feed(run_dir, SIGNALS, 50.0, self._clock)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def close(self) -> None:
        self._ending.set()
        self._thread.join()
        self._feed.close()

    def _run(self) -> None:
        for number in range(1_000_000):
            if self._ending.wait(0.01):
                return
            now_ns = self._clock.now_ns()
            for topic, data in list(self.shows.items()):
                frames = encode_sample(topic, number, now_ns, data)
                self._feed.sensor(Sample(topic, number, now_ns, now_ns, "", data), frames)
            self._feed._look()
            self._feed._send_pictures()
            self.seen = set(self._feed.shown)


@pytest.fixture
def cameras(daemon: Served) -> Iterator[Cameras]:
    signals = {topic: signal(kind) for topic, kind in SIGNALS.items()}
    daemon.actions.report = report(signals=signals)
    made = Cameras(daemon.folder)
    yield made
    made.close()
