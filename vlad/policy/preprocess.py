"""Samples as the tensors that a model takes: one reader for each kind of input.

Each reader has one buffer, allocated once, that `read` fills anew. All of this runs in the inference thread.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from vlad.messages import Data, Instruction, JointState, LaserScan, Odometry, PointCloud
from vlad.policy.inputs import (
    TWIST_FIELDS,
    CloudInput,
    ImageInput,
    InstructionInput,
    JointInput,
    LaserInput,
    Normalised,
    OdometryInput,
    SignalInput,
)
from vlad.policy.pictures import ImageReader, JpegReader, ObservationError
from vlad.policy.tokenizer import InstructionTokenizer

__all__ = ["History", "ObservationError", "Reader", "TokenReader", "instruction_text", "make_reader"]

_ANGLE_SLACK_RAD = 1e-6
_AXES = ("x", "y", "z")


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
        case ImageInput() if spec.encode:
            return JpegReader(spec)
        case ImageInput():
            return _remembering(ImageReader(spec), spec.history)
        case LaserInput():
            return LaserReader(spec)
        case CloudInput():
            return CloudReader(spec)
        case OdometryInput():
            return _remembering(OdometryReader(spec), spec.history)
        case JointInput():
            return _remembering(JointReader(spec), spec.history)
        case InstructionInput():
            return TokenReader(spec, folder / spec.tokenizer) if spec.tokenizer else TextReader(spec)


def _remembering(reader: Reader, count: int) -> Reader:
    return History(reader, count) if count else reader


def instruction_text(data: Data) -> str:
    """What an instruction sample tells the robot to do, without the space around it."""
    return data.text.strip() if isinstance(data, Instruction) else ""


class LaserReader:
    """(1, K): metres up to `range_max_m`, the nearest of each of K sectors, normalised."""

    def __init__(self, spec: LaserInput) -> None:
        self.buffer = np.zeros(spec.shape, np.float32)
        self._spec = spec
        self._limit = np.float32(spec.range_max_m)
        self._mean, self._std = _scale(spec)
        self._beams: tuple[int, float, float] | None = None
        """How many, the first one's angle and the step, of the scan that the sectors were worked out for."""
        self._order = self._starts = self._seen = np.zeros(0, np.intp)

    def read(self, data: Data) -> None:
        if not isinstance(data, LaserScan):
            raise ObservationError(f"{self._spec.signal}: is not a laser scan but {type(data).__name__}")
        beams = (len(data.ranges), data.angle_min, data.angle_increment)
        if beams != self._beams:
            self._share(*beams)
            self._beams = beams
        metres = np.where(np.isfinite(data.ranges), data.ranges, self._limit)
        row = self.buffer[0]
        row.fill(self._limit)
        row[self._seen] = np.minimum.reduceat(metres[self._order], self._starts)
        np.minimum(row, self._limit, out=row)
        _normalise(row, self._mean, self._std)

    def _share(self, beams: int, first_rad: float, step_rad: float) -> None:
        """Which beams are in which sector: their order, where each sector begins in it, which have any."""
        sectors, span = self.buffer.shape[1], self._spec.angles
        if span is None:
            if beams < sectors:
                raise ObservationError(
                    f"{self._spec.signal}: {beams} beams are too few for the {sectors} sectors that the "
                    f"policy takes; use a laser with at least as many, or set `angles` in the bundle"
                )
            where = np.arange(beams) * sectors // beams
        else:
            turned = (first_rad + step_rad * np.arange(beams) - span[0] + _ANGLE_SLACK_RAD) % (2 * np.pi)
            where = np.floor(turned / (span[1] - span[0]) * sectors).astype(np.intp)
        order = np.argsort(where, kind="stable")
        self._order = order[where[order] < sectors]
        self._seen, self._starts = np.unique(where[self._order], return_index=True)
        if not len(self._seen):
            raise ObservationError(
                f"{self._spec.signal}: no beam is within the angles {list(span or ())} rad that the policy "
                f"looks at; check the laser's angle_min and angle_increment"
            )


class CloudReader:
    """(1, X, Y, Z): 1 where a voxel has a point, else 0."""

    def __init__(self, spec: CloudInput) -> None:
        self.buffer = np.zeros(spec.shape, np.float32)
        self._signal = spec.signal
        self._low, self._high = np.asarray(spec.low, np.float32), np.asarray(spec.high, np.float32)
        self._counts = np.array(spec.shape[1:])

    def read(self, data: Data) -> None:
        if not isinstance(data, PointCloud):
            raise ObservationError(f"{self._signal}: is not a point cloud but {type(data).__name__}")
        if absent := [axis for axis in _AXES if axis not in data.fields]:
            raise ObservationError(
                f"{self._signal}: has no field {', '.join(absent)}; the driver must send it"
            )
        points = data.points[:, [data.fields.index(axis) for axis in _AXES]]
        inside = points[((points >= self._low) & (points < self._high)).all(axis=1)]
        voxels = ((inside - self._low) / (self._high - self._low) * self._counts).astype(np.intp)
        grid = self.buffer[0]
        grid.fill(0)
        grid[tuple(np.minimum(voxels, self._counts - 1).T)] = 1


class OdometryReader:
    """(1, D): components of the twist in the robot's own frame."""

    def __init__(self, spec: OdometryInput) -> None:
        self.buffer = np.zeros((1, spec.shape[-1]), np.float32)
        self._signal = spec.signal
        self._indices = [TWIST_FIELDS.index(field) for field in spec.fields]
        self._mean, self._std = _scale(spec)

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
        self.buffer = np.zeros((1, spec.shape[-1]), np.float32)
        self._spec = spec
        self._names: tuple[str, ...] = ()
        self._indices: NDArray[np.intp] = np.zeros(0, np.intp)
        self._mean, self._std = _scale(spec)

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


class TokenReader:
    """(1, L) token ids."""

    def __init__(self, spec: InstructionInput, tokenizer: Path) -> None:
        self.buffer = np.zeros(spec.shape, np.int64)
        self._signal = spec.signal
        self._tokenizer = InstructionTokenizer(tokenizer, self.buffer.shape[1])

    def read(self, data: Data) -> None:
        self.buffer[0] = self._tokenizer.encode(_told(self._signal, data))

    def hits_and_misses(self) -> tuple[int, int]:
        """How often the ids of an instruction were known already, and how often not."""
        return self._tokenizer.encode.cache_info()[:2]


class TextReader:
    """(1,): the instruction itself, a str."""

    def __init__(self, spec: InstructionInput) -> None:
        self.buffer = np.array([""], object)
        self._signal = spec.signal

    def read(self, data: Data) -> None:
        self.buffer[0] = _told(self._signal, data)


class History:
    """What a reader gave for this inference and for those before, the oldest first, along a second axis.

    At the beginning, and after `forget`, the first is there as often as needed.
    """

    def __init__(self, reader: Reader, count: int) -> None:
        now = reader.buffer
        self.buffer = np.zeros((1, count, *now.shape[1:]), now.dtype)
        self._reader = reader
        self._empty = True

    def read(self, data: Data) -> None:
        self._reader.read(data)
        past = self.buffer[0]
        if self._empty:
            past[:] = self._reader.buffer
        else:
            past[:-1] = past[1:]
            past[-1] = self._reader.buffer[0]
        self._empty = False

    def forget(self) -> None:
        """What comes next does not follow what was before."""
        self._empty = True


def _told(signal: str, data: Data) -> str:
    text = instruction_text(data)
    if not text:
        raise ObservationError(f"{signal}: there is no instruction; give one with `vladctl task`")
    return text


def _scale(spec: Normalised) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    mean, std = spec.scale()
    return np.asarray(mean, np.float32), np.asarray(std, np.float32)


def _normalise(row: NDArray[np.float32], mean: NDArray[np.float32], std: NDArray[np.float32]) -> None:
    np.subtract(row, mean, out=row)
    np.divide(row, std, out=row)


def _require_finite(where: str, row: NDArray[np.float32], names: Iterable[str]) -> None:
    finite = np.isfinite(row)
    if not finite.all():
        bad = ", ".join(name for name, good in zip(names, finite, strict=True) if not good)
        raise ObservationError(f"{where}: not a finite number for {bad}")
