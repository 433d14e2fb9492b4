"""Samples as the tensors that a model takes: one reader for each kind of input.

Each reader has one buffer, allocated once, that `read` fills anew. All of this runs in the inference thread.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from vlad.messages import CompressedImage, Data, Image, Instruction, JointState, LaserScan, Odometry
from vlad.policy.manifest import (
    TWIST_FIELDS,
    ImageInput,
    InstructionInput,
    JointInput,
    LaserInput,
    OdometryInput,
    SignalInput,
)
from vlad.policy.tokenizer import InstructionTokenizer

Pixels: TypeAlias = NDArray[np.uint8]

_CHANNELS = {"rgb8": 3, "bgr8": 3, "mono8": 1}
_LARGE = 200_000
"""Pixels; below that the exact mean is fast enough."""
_SAMPLED = 4.5
"""Up to this ratio, samples at twice the target's size (each of 2 x 2 pixels) leave hardly a pixel out."""


class ObservationError(Exception):
    """A sample cannot be turned into what the model takes: the policy has nothing to go by."""


class Reader(Protocol):
    """Turns the data of one signal into one input of the model."""

    @property
    def buffer(self) -> NDArray[Any]:
        """What the model is given; C-contiguous, the same array for ever."""
        ...

    def read(self, data: Data) -> None:
        """Fill the buffer; ObservationError where that cannot be done, and then it must not be used."""
        ...


def make_reader(spec: SignalInput, folder: Path) -> Reader:
    """The reader for one input of the bundle in `folder`; TokenizerError if its tokenizer cannot be used."""
    match spec:
        case ImageInput():
            return ImageReader(spec)
        case LaserInput():
            return LaserReader(spec)
        case OdometryInput():
            return OdometryReader(spec)
        case JointInput():
            return JointReader(spec)
        case InstructionInput():
            return InstructionReader(spec, folder)


def instruction_text(data: Data) -> str:
    """What an instruction sample tells the robot to do, without the space around it."""
    return data.text.strip() if isinstance(data, Instruction) else ""


class ImageReader:
    """(1, 3, H, W): decoded, resized by area, RGB, (x / 255 - mean) / std."""

    def __init__(self, spec: ImageInput) -> None:
        cv2.setNumThreads(1)  # OpenCV's own threads would take the safety tick's core
        self.buffer = np.zeros(spec.shape, np.float32)
        self._signal = spec.signal
        levels = np.arange(256)[None] / 255
        mean, std = np.asarray(spec.mean)[:, None], np.asarray(spec.std)[:, None]
        self._tables = ((levels - mean) / std).astype(np.float32)
        """What each of the 256 values of a pixel becomes in each channel."""

    def read(self, data: Data) -> None:
        match data:
            case CompressedImage():
                pixels, encoding = self._decode(data), "bgr8"
            case Image():
                pixels, encoding = self._checked(data), data.encoding
            case _:
                raise ObservationError(f"{self._signal}: is not an image but {type(data).__name__}")
        planes = self.buffer[0]
        small = resize_area(pixels, (planes.shape[1], planes.shape[2]))
        channels = (small,) * 3 if encoding == "mono8" else cv2.split(small)
        for plane, table, channel in zip(
            planes, self._tables, reversed(channels) if encoding == "bgr8" else channels, strict=True
        ):
            cv2.LUT(channel, table, dst=plane)

    def _decode(self, data: CompressedImage) -> Pixels:
        pixels = (
            cv2.imdecode(np.frombuffer(data.data, np.uint8), cv2.IMREAD_COLOR) if len(data.data) else None
        )
        if pixels is None:
            raise ObservationError(
                f"{self._signal}: {len(data.data)} bytes of {data.format} cannot be decoded; "
                f"the camera driver must send whole JPEG or PNG files"
            )
        return np.asarray(pixels, np.uint8)

    def _checked(self, data: Image) -> Pixels:
        channels, shape = _CHANNELS.get(data.encoding), data.pixels.shape
        if channels is None:
            raise ObservationError(
                f"{self._signal}: encoding {data.encoding!r} is not a picture; send {', '.join(_CHANNELS)}"
            )
        wanted = 2 if channels == 1 else 3
        if data.pixels.dtype != np.uint8 or len(shape) != wanted or (wanted == 3 and shape[2] != 3):
            raise ObservationError(
                f"{self._signal}: {data.encoding} with {data.pixels.dtype} pixels of shape {shape}; it must "
                f"be uint8 of shape (height, width{', 3' if wanted == 3 else ''})"
            )
        return data.pixels


def resize_area(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """`pixels` as (height, width) = `size`, each new pixel the mean of the area that it covers.

    OpenCV's area resize is slow where the ratio is no whole number: 4.4 ms from 1920x1080 to 224x224, 0.8 ms
    from 640x480. A large picture that shrinks that way is therefore halved where it is three times too large
    (again where four times), and what is large even then is sampled linearly at twice the size, and these
    pixels averaged, unless that would leave pixels out. It takes 0.7 and 0.3 ms, and differs from the exact
    mean by 1 or 2 of 255 on the average.
    """
    height, width = pixels.shape[:2]
    high, wide = size
    if (height, width) == size:
        return pixels
    whole = height % high == 0 and width % wide == 0
    least = 3
    while not whole and height * width >= _LARGE and min(height / high, width / wide) >= least:
        height, width, least = height // 2, width // 2, 4
        pixels = _resize(pixels, height, width, cv2.INTER_AREA)
    ratios = (height / high, width / wide)
    if not whole and height * width >= _LARGE and min(ratios) >= 1.5 and 2 < max(ratios) < _SAMPLED:
        pixels = _resize(pixels, 2 * high, 2 * wide, cv2.INTER_LINEAR)
    return _resize(pixels, high, wide, cv2.INTER_AREA)


def _resize(pixels: Pixels, height: int, width: int, how: int) -> Pixels:
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=how), np.uint8)


class LaserReader:
    """(1, K): metres up to `range_max_m`, the nearest of each group of beams, normalised."""

    def __init__(self, spec: LaserInput) -> None:
        self.buffer = np.zeros(spec.shape, np.float32)
        self._signal = spec.signal
        self._limit = np.float32(spec.range_max_m)
        self._mean, self._std = np.asarray(spec.mean, np.float32), np.asarray(spec.std, np.float32)

    def read(self, data: Data) -> None:
        if not isinstance(data, LaserScan):
            raise ObservationError(f"{self._signal}: is not a laser scan but {type(data).__name__}")
        beams, groups = len(data.ranges), self.buffer.shape[1]
        if beams == 0 or beams % groups:
            raise ObservationError(
                f"{self._signal}: {beams} beams cannot be grouped into the {groups} that the policy takes; "
                f"the laser must send a whole multiple of {groups}"
            )
        metres = np.where(np.isfinite(data.ranges), data.ranges, self._limit)
        row = self.buffer[0]
        np.minimum(metres.reshape(groups, -1).min(axis=1), self._limit, out=row)
        _normalise(row, self._mean, self._std)


class OdometryReader:
    """(1, D): components of the twist in the robot's own frame."""

    def __init__(self, spec: OdometryInput) -> None:
        self.buffer = np.zeros(spec.shape, np.float32)
        self._signal = spec.signal
        self._indices = [TWIST_FIELDS.index(field) for field in spec.fields]
        self._mean, self._std = np.asarray(spec.mean, np.float32), np.asarray(spec.std, np.float32)

    def read(self, data: Data) -> None:
        if not isinstance(data, Odometry):
            raise ObservationError(f"{self._signal}: is not odometry but {type(data).__name__}")
        twist = (*data.linear, *data.angular)
        row = self.buffer[0]
        row[:] = [twist[index] for index in self._indices]
        _require_finite(self._signal, row, (TWIST_FIELDS[index] for index in self._indices))
        _normalise(row, self._mean, self._std)


class JointReader:
    """(1, N): one quantity of the joints in the order of the bundle, whatever order the driver has."""

    def __init__(self, spec: JointInput) -> None:
        self.buffer = np.zeros(spec.shape, np.float32)
        self._spec = spec
        self._names: tuple[str, ...] = ()
        self._indices: NDArray[np.intp] = np.zeros(0, np.intp)
        self._mean, self._std = np.asarray(spec.mean, np.float32), np.asarray(spec.std, np.float32)

    def read(self, data: Data) -> None:
        spec = self._spec
        if not isinstance(data, JointState):
            raise ObservationError(f"{spec.signal}: is not a joint state but {type(data).__name__}")
        values = getattr(data, spec.field)
        if values is None:
            raise ObservationError(f"{spec.signal}: has no {spec.field}; the driver must send it")
        if len(values) != len(data.names):
            raise ObservationError(
                f"{spec.signal}: {len(data.names)} names, but {len(values)} values of {spec.field}"
            )
        if data.names != self._names:
            self._indices, self._names = self._order(data.names), data.names
        row = self.buffer[0]
        row[:] = values[self._indices]
        _require_finite(f"{spec.signal}: {spec.field}", row, spec.joints)
        _normalise(row, self._mean, self._std)

    def _order(self, names: tuple[str, ...]) -> NDArray[np.intp]:
        """Where each joint of the bundle is in `names`."""
        where = {name: index for index, name in enumerate(names)}
        absent = [joint for joint in self._spec.joints if joint not in where]
        if absent:
            raise ObservationError(
                f"{self._spec.signal}: the driver does not send {', '.join(absent)}; the policy needs them"
            )
        if len(where) != len(names):
            twice = sorted({name for name in names if names.count(name) > 1})
            raise ObservationError(f"{self._spec.signal}: the driver names {', '.join(twice)} more than once")
        return np.array([where[joint] for joint in self._spec.joints], np.intp)


class InstructionReader:
    """(1, L) token ids."""

    def __init__(self, spec: InstructionInput, folder: Path) -> None:
        self.buffer = np.zeros(spec.shape, np.int64)
        self._signal = spec.signal
        self._tokenizer = InstructionTokenizer(folder / spec.tokenizer, spec.shape[1])

    def read(self, data: Data) -> None:
        text = instruction_text(data)
        if not text:
            raise ObservationError(f"{self._signal}: there is no instruction; give one with `vladctl task`")
        self.buffer[0] = self._tokenizer.encode(text)


def _normalise(row: NDArray[np.float32], mean: NDArray[np.float32], std: NDArray[np.float32]) -> None:
    np.subtract(row, mean, out=row)
    np.divide(row, std, out=row)


def _require_finite(where: str, row: NDArray[np.float32], names: Iterable[str]) -> None:
    finite = np.isfinite(row)
    if not finite.all():
        bad = ", ".join(name for name, good in zip(names, finite, strict=True) if not good)
        raise ObservationError(f"{where}: not a finite number for {bad}")
