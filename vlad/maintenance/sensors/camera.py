"""A camera: is it covered, out of focus, dirty, too dark or too bright, does it look elsewhere?

Sharpness is the variance of the Laplacian (Pech-Pacheco et al., Diatom autofocusing in brightfield
microscopy, 2000) as a part of the picture's own variance, so that neither light nor contrast counts. It is
taken of the mean of several frames: the noise of a single one looks like detail.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from vlad.maintenance.finding import State
from vlad.maintenance.sensors.figure import Figure, judged, unknown
from vlad.maintenance.settings_checks import CalibrationCheckSettings
from vlad.messages import CompressedImage, Image
from vlad.schema import Finite, NotNegative, Section

ROWS, COLUMNS = 3, 4
"""The picture is looked at in so many fields, too: dirt covers a part of it."""
_VIEW = (32, 24)
_BLACK, _WHITE = 5, 250
_COVERED = 0.02
"""The contrast of what shows nothing, a cap or a hand: less than this."""
_FLAT = 0.01
"""A field that had less contrast than this, a bare wall, tells nothing of dirt."""
_NAMES = tuple(f"{row} {column}" for row in ("top", "middle", "bottom")
               for column in ("far left", "left", "right", "far right"))  # fmt: skip
_GREY = {
    "rgb8": cv2.COLOR_RGB2GRAY, "bgr8": cv2.COLOR_BGR2GRAY,
    "rgba8": cv2.COLOR_RGBA2GRAY, "bgra8": cv2.COLOR_BGRA2GRAY,
}  # fmt: skip


class CameraReading(Section):
    """Brightness, contrast (standard deviation) and the clipped part are 0 to 1."""

    samples: int
    width: int
    height: int
    brightness: NotNegative
    contrast: NotNegative
    clipped: NotNegative
    sharpness: NotNegative
    details: tuple[NotNegative, ...]
    """Standard deviation in each field of the picture, less what varies slowly: 0 to 1."""
    view: tuple[Finite, ...]
    """The picture with 32 x 24 pixels, 0 to 1."""


def grey(picture: Image | CompressedImage) -> NDArray[np.uint8] | None:
    """(height, width); None for what is no photograph (depth), or no picture at all."""
    if isinstance(picture, CompressedImage):
        decoded = cv2.imdecode(np.frombuffer(picture.data, np.uint8), cv2.IMREAD_GRAYSCALE)
        return None if decoded is None else np.asarray(decoded, np.uint8)
    if picture.encoding == "mono8":
        return np.asarray(picture.pixels, np.uint8)
    code = _GREY.get(picture.encoding)
    return None if code is None else np.asarray(cv2.cvtColor(picture.pixels, code), np.uint8)


def measure(pictures: Sequence[NDArray[np.uint8]]) -> CameraReading:
    """`pictures`: grey, at least one; those of another size than the last are left out."""
    alike = [picture for picture in pictures if picture.shape == pictures[-1].shape]
    mean = np.asarray(np.mean(alike, axis=0, dtype=np.float32))
    height, width = mean.shape
    variance = float(mean.var())
    laplacian = cv2.Laplacian(mean, cv2.CV_32F)
    fine = mean - cv2.GaussianBlur(mean, (0, 0), max(1.0, width / 160))
    return CameraReading(
        samples=len(alike),
        width=width,
        height=height,
        brightness=float(mean.mean()) / 255,
        contrast=variance**0.5 / 255,
        clipped=float(np.mean((mean <= _BLACK) | (mean >= _WHITE))),
        sharpness=float(laplacian.var()) / variance if variance else 0.0,
        details=tuple(float(part.std()) / 255 for part in _fields(fine)),
        view=tuple((cv2.resize(mean, _VIEW, interpolation=cv2.INTER_AREA).ravel() / 255).tolist()),
    )


def unusable(reading: CameraReading, limits: CalibrationCheckSettings) -> str:
    """Why nothing can be said of it: one picture is enough."""
    return ""


def judge(
    topic: str, reading: CameraReading, reference: CameraReading | None, limits: CalibrationCheckSettings
) -> Iterator[Figure]:
    if reading.contrast < _COVERED:
        what = f"it shows nothing: a contrast of {reading.contrast:.3f}"
        mend = "is it covered, or its cap on? Is there light?"
        yield Figure("problem", topic, what, mend, "contrast", reading.contrast, _COVERED)
        return
    mend = "mind the light, and the camera's exposure"
    yield judged(topic, "black or white part", reading.clipped, 0.0, limits.clipped, "", mend)
    if reference is None:
        how = "with a clean, sharp camera: vladctl maintenance run calibration_check --reference"
        yield unknown(topic, "sharpness", "there is no reference", how, reading.sharpness)
        return
    size, before = f"{reading.width} x {reading.height}", f"{reference.width} x {reference.height}"
    if size != before:
        why = f"the picture has {size} pixels, the reference {before}"
        yield unknown(topic, "sharpness", why, "store a new reference: --reference", reading.sharpness)
        return
    yield judged(topic, "brightness", reading.brightness, reference.brightness, limits.brightness, "", mend)
    alike = _correlation(reading.view, reference.view)
    if alike < limits.view:
        why = f"it sees something else than in the reference picture (they agree to {alike:.2f})"
        where = "bring the robot to where the reference was taken; is the camera turned, or very dirty?"
        yield Figure("warning", topic, f"view: {why}", where, "view", alike, 1.0)
        return
    yield Figure("ok", topic, f"view agrees to {alike:.2f}", "", "view", alike, 1.0)
    mend = "clean its lens, and focus it"
    yield _less(topic, "sharpness", reading.sharpness, reference.sharpness, limits, mend)
    mend = "clean its lens; is there fog?"
    yield _less(topic, "contrast", reading.contrast, reference.contrast, limits, mend)
    yield from _dirt(topic, reading, reference, limits)


def _dirt(
    topic: str, reading: CameraReading, reference: CameraReading, limits: CalibrationCheckSettings
) -> Iterator[Figure]:
    """Fields that lost far more detail than the picture as a whole: dirt, which focus would not explain."""
    kept = {
        name: now / before
        for name, now, before in zip(_NAMES, reading.details, reference.details, strict=True)
        if before > _FLAT
    }
    usual = float(np.median(list(kept.values()))) if kept else 0.0
    for name, part in kept.items():
        if usual and part < (1 - limits.sharpness) * min(usual, 1.0):
            what = f"detail {name}: {part:.0%} of the reference, {usual:.0%} elsewhere"
            yield Figure("warning", topic, what, "clean its lens there", f"detail {name}", part, usual)


def _less(
    topic: str, name: str, measured: float, reference: float, limits: CalibrationCheckSettings, mend: str
) -> Figure:
    """What may only fall: more than in the reference is no fault."""
    if not reference:
        return unknown(topic, name, "the reference has none", "store a new reference: --reference", measured)
    lost = max(0.0, 1 - measured / reference)
    much = (1 + limits.sharpness) / 2
    state: State = "ok" if lost <= limits.sharpness else "warning" if lost <= much else "problem"
    what = f"{name} is {measured / reference:.0%} of the reference; {1 - limits.sharpness:.0%} must be left"
    return Figure(state, topic, what, "" if state == "ok" else mend, name, measured, reference)


def _correlation(one: Sequence[float], other: Sequence[float]) -> float:
    """-1 to 1; 0 where one of the two shows nothing."""
    a, b = np.array(one) - np.mean(one), np.array(other) - np.mean(other)
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / size if size else 0.0


def _fields(picture: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    """Row by row from the top left."""
    for band in np.array_split(picture, ROWS, axis=0):
        yield from np.array_split(band, COLUMNS, axis=1)
