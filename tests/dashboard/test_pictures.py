"""Live pictures: a real feed, read by the page's process only while somebody looks."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.ctl.reports import report, signal
from tests.dashboard.pages import PageProcess
from tests.fake_daemon import Served
from vlad.clock import SystemClock, Tick
from vlad.dashboard.camera import to_jpeg
from vlad.feed import Feed
from vlad.messages import CommandMode, CompressedImage, Data, Image, Kind, Level, Mode, Sample
from vlad.safety.kernel import Verdict
from vlad.wire import encode_sample

SIGNALS = {"camera": "image", "camera2": "image", "depth": "image", "jpeg": "compressed_image"}
TICK = Tick(0, 0, 0, early=False)
VERDICT = Verdict(
    Mode.DISARMED, Level.SAFE, (), CommandMode.HOLD, Kind.TWIST, (), np.zeros(0, np.float32), 0, (), None
)
PATIENCE_S = 20.0
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
        self.watched: frozenset[str] = frozenset()
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
            if self._ending.wait(0.02):
                return
            now_ns = self._clock.now_ns()
            for topic, data in list(self.shows.items()):
                frames = encode_sample(topic, number, now_ns, data)
                self._feed.sensor(Sample(topic, number, now_ns, now_ns, "", data), frames)
            self._feed.turn(TICK, VERDICT, None, "")
            self.watched = self._feed.shown


@pytest.fixture
def cameras(daemon: Served) -> Iterator[Cameras]:
    signals = {topic: signal(kind) for topic, kind in SIGNALS.items()}
    daemon.actions.report = report(signals=signals)
    made = Cameras(daemon.folder)
    yield made
    made.close()


@pytest.fixture
def looked_at(cameras: Cameras, daemon: Served) -> Iterator[PageProcess]:
    with PageProcess(daemon.folder) as page:
        page.seen(lambda: page.request("GET", "/picture/camera")[0] != 404)
        yield page


def colour(page: PageProcess, topic: str, after: str = "0") -> tuple[np.ndarray, str]:
    """The mean colour of the next picture, and its number."""
    end_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < end_s:
        status, headers, body = page.request("GET", f"/picture/{topic}?after={after}")
        if status == 200:
            assert float(headers["x-age-s"]) < 1.0
            return decoded(body).mean(axis=(0, 1)), headers["x-number"]
    raise AssertionError(f"no picture of {topic} within {PATIENCE_S:g} s")


def test_the_next_picture_comes_to_whoever_asks(cameras: Cameras, looked_at: PageProcess) -> None:
    cameras.shows = {"camera": coloured(RED), "camera2": coloured(BLUE)}
    first, number = colour(looked_at, "camera")
    second, later = colour(looked_at, "camera", number)
    assert number != later
    for seen in (first, second):
        np.testing.assert_allclose(seen, RED, atol=8)
    np.testing.assert_allclose(colour(looked_at, "camera2")[0], BLUE, atol=8)


def test_a_camera_that_is_silent_gives_no_old_picture(cameras: Cameras, looked_at: PageProcess) -> None:
    cameras.shows = {"camera": coloured(RED)}
    colour(looked_at, "camera")
    cameras.shows = {}
    end_s = time.monotonic() + PATIENCE_S
    while looked_at.request("GET", "/picture/camera")[0] != 204:
        assert time.monotonic() < end_s


def test_a_file_of_the_camera_is_handed_on_as_it_is(cameras: Cameras, looked_at: PageProcess) -> None:
    file = cv2.imencode(".png", coloured(BLUE).pixels)[1].tobytes()
    cameras.shows = {"jpeg": CompressedImage("png", memoryview(file))}
    looked_at.seen(lambda: looked_at.request("GET", "/picture/jpeg")[0] == 200)
    _, headers, body = looked_at.request("GET", "/picture/jpeg")
    assert (headers["content-type"], body) == ("image/png", file)


def test_the_feed_is_read_only_while_somebody_looks(cameras: Cameras, looked_at: PageProcess) -> None:
    cameras.shows = {"camera": coloured(RED), "camera2": coloured(BLUE)}
    colour(looked_at, "camera2")
    assert "camera2" in cameras.watched
    looked_at.seen(lambda: not cameras.watched)


def test_what_is_no_camera_has_no_picture(looked_at: PageProcess) -> None:
    for path in ("/picture/none", "/picture/", "/picture/..%2f..%2fetc%2fpasswd"):
        assert looked_at.request("GET", path)[0] == 404
    assert looked_at.request("GET", "/picture/camera?after=x")[0] in (200, 204)


@pytest.mark.parametrize(
    "image",
    [
        coloured(RED, 1, 4000),
        coloured(RED, 3000, 2),
        Image("mono8", np.zeros((4, 4), np.uint8)),
        Image("rgb8", np.zeros((4, 4, 3), np.uint8)),
        Image("16UC1", np.zeros((4, 4), np.uint16)),
        Image("16UC1", np.full((4, 700), 65_535, np.uint16)),
        Image("32FC1", np.full((4, 4), np.nan, np.float32)),
        Image("32FC1", np.array([[np.inf, -np.inf, -3.0, 3.4e38]], np.float32)),
    ],
)
def test_whatever_a_camera_sends_is_made_a_picture(image: Image) -> None:
    assert max(decoded(to_jpeg(image)).shape[1], 1) <= 640


def test_near_is_dark_and_far_is_bright() -> None:
    depth = np.tile(np.array([500, 4000], np.uint16).repeat(16), (32, 1))
    grey = decoded(to_jpeg(Image("16UC1", depth)))
    assert grey[:, :8].mean() < 64 < 192 < grey[:, -8:].mean()
