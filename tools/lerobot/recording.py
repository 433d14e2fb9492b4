"""Recordings of the black box as episodes: what the robot saw, was told and did, at a steady rate.

An episode is a stretch in which the robot was let to move, with one task. Each frame has the newest
observation of every kind at that moment, and the first command from then on as the answer to it.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from mcap.exceptions import McapError
from mcap.reader import make_reader
from mcap.records import Schema
from numpy.typing import NDArray

from vlad.record.schemas import COMMAND_TOPIC, TICK_TOPIC

Floats = NDArray[np.float32]
Times = NDArray[np.int64]

_GIVEN = ("active", "degraded")
_DRIVEN = (*_GIVEN, "stopping")


class RecordingError(Exception):
    """The file cannot be used; the text says which, why and what to do."""


@dataclass
class Series:
    """All messages of a topic, in the order of their times [ns since 1970]."""

    schema: str
    times_ns: list[int] = field(default_factory=list)
    rows: list[Any] = field(default_factory=list)

    def newest(self, at_ns: Times) -> list[Any]:
        """The newest message at each of these times, which are not before the first."""
        found = np.searchsorted(np.array(self.times_ns), at_ns, side="right") - 1
        return [self.rows[index] for index in found]

    def next(self, at_ns: Times) -> list[Any]:
        """The first message from each of these times on; the last where there is none."""
        found = np.searchsorted(np.array(self.times_ns), at_ns, side="left")
        return [self.rows[min(index, len(self.rows) - 1)] for index in found]


@dataclass(frozen=True, slots=True)
class Episode:
    """`state` and `action` are (frames, numbers), `intervention` (frames,): vlad slowed or stopped the robot.

    `pictures` has the files of each camera's frames, JPEG or PNG.
    """

    task: str
    state: Floats
    action: Floats
    intervention: NDArray[np.bool_]
    pictures: dict[str, list[bytes]]


class Recording:
    """One file. RecordingError where it is none of the black box's."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.series = _read(path)
        missing = [topic for topic in (TICK_TOPIC, COMMAND_TOPIC) if topic not in self.series]
        if missing:
            raise RecordingError(f"{path}: has no {' and no '.join(missing)}; is it one of vlad's?")
        if not self.state_names:
            raise RecordingError(f"{path}: has neither joints nor odometry; there is no state to learn from")

    @property
    def cameras(self) -> list[str]:
        """The topics with pictures that a video can hold; depth is none of them."""
        found = self._of("foxglove.CompressedImage")
        return [topic for topic in found if not _is_depth(self.series[topic].rows[0].data)]

    @property
    def state_names(self) -> list[str]:
        """Of the joints' positions; of a robot without joints, of its speed [m/s, rad/s]."""
        if joints := self._of("vlad.JointState"):
            return [f"{topic}.{name}" for topic in joints for name in self.series[topic].rows[0].names]
        return [f"{topic}.{name}" for topic in self._of("vlad.Odometry") for name in ("x", "y", "yaw")]

    @property
    def action_names(self) -> list[str]:
        return list(self.series[COMMAND_TOPIC].rows[0].names)

    def episodes(self, fps: int) -> Iterator[Episode]:
        """Each that is longer than a second."""
        for task, start_ns, end_ns in self._stretches():
            used = (*self.cameras, *self._state_topics())
            start_ns = max(start_ns, *(self.series[topic].times_ns[0] for topic in used))
            at_ns = np.arange(start_ns, end_ns, 1_000_000_000 // fps, dtype=np.int64)
            commands = self.series[COMMAND_TOPIC].next(at_ns) if len(at_ns) else []
            stopped = (k for k, command in enumerate(commands) if not len(command.values))
            length = next(stopped, len(commands))
            if length > fps:
                yield self._episode(task, at_ns[:length], commands[:length])

    def _episode(self, task: str, at_ns: Times, commands: list[Any]) -> Episode:
        rows = [self.series[topic].newest(at_ns) for topic in self._state_topics()]
        state = np.column_stack([np.array([_numbers(row) for row in column]) for column in rows])
        return Episode(
            task=task,
            state=state.astype(np.float32),
            action=np.array([command.values for command in commands], np.float32),
            intervention=np.array([tick["mode"] != "active" for tick in self.series[TICK_TOPIC].next(at_ns)]),
            pictures={
                topic: [row.data for row in self.series[topic].newest(at_ns)] for topic in self.cameras
            },
        )

    def _stretches(self) -> Iterator[tuple[str, int, int]]:
        """Task, begin and end of each time in which the robot was driven."""
        ticks = self.series[TICK_TOPIC]
        begun: tuple[str, int] | None = None
        for at_ns, tick in zip(ticks.times_ns, ticks.rows, strict=True):
            if begun is not None and (tick["mode"] not in _DRIVEN or tick["task"] != begun[0]):
                yield *begun, at_ns
                begun = None
            if begun is None and tick["mode"] in _GIVEN:
                begun = tick["task"], at_ns
        if begun is not None:
            yield *begun, ticks.times_ns[-1]

    def _state_topics(self) -> list[str]:
        return self._of("vlad.JointState") or self._of("vlad.Odometry")

    def _of(self, schema: str) -> list[str]:
        return sorted(topic for topic, series in self.series.items() if series.schema == schema)


def _numbers(row: Any) -> list[float]:
    """What of a message is state: the positions of joints, or the speed of a base."""
    if isinstance(row, dict):
        return [row["linear"]["x"], row["linear"]["y"], row["angular"]["z"]]
    return list(row.position)


def _is_depth(data: bytes) -> bool:
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    return pixels is None or pixels.dtype != np.uint8


def _read(path: Path) -> dict[str, Series]:
    try:
        file = path.open("rb")
    except OSError as error:
        raise RecordingError(f"{path}: {error.strerror}") from None
    with file:
        try:
            return _messages(file)
        except (McapError, ValueError, struct.error, OSError) as error:
            mend = "vlad mends recordings at its start"
            raise RecordingError(f"{path}: cannot be read ({error}); {mend}") from None


def _messages(file: BinaryIO) -> dict[str, Series]:
    series: dict[str, Series] = {}
    types: dict[int, Any] = {}
    for schema, channel, message in make_reader(file).iter_messages():
        if schema is None:
            continue
        if schema.id not in types:
            types[schema.id] = _decoder(schema)
        found = series.setdefault(channel.topic, Series(schema.name))
        found.times_ns.append(message.log_time)
        found.rows.append(types[schema.id](message.data))
    return series


def _decoder(schema: Schema) -> Any:
    if schema.encoding == "jsonschema":
        return json.loads
    pool = descriptor_pool.DescriptorPool()
    for file in FileDescriptorSet.FromString(schema.data).file:
        pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(schema.name)).FromString
