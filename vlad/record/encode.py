"""What the daemon feeds, as the bytes of recorded messages."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

from vlad.feed import Turn
from vlad.jsontext import to_json
from vlad.messages import (
    Battery,
    CenterOfMass,
    Chunk,
    Command,
    CommandAck,
    CompressedImage,
    Data,
    Deadman,
    Detections,
    EStop,
    Floats,
    Image,
    Imu,
    Instruction,
    JointState,
    LaserScan,
    Level,
    Odometry,
    PointCloud,
    Pose,
    Power,
    Proximity,
    Quaternion,
    Sample,
    TaskResult,
    Temperature,
    Twist,
    Vector3,
    Wrench,
)
from vlad.record.protobuf import block, double, fixed32, natural, text, texts, time
from vlad.record.schemas import FLOAT32
from vlad.safety.reaction import Reaction

_NS_PER_S = 1_000_000_000
_MM_PER_M = 1000.0
_FARTHEST_MM = 65_535.0
_LOG_LEVELS = {Level.SAFE: 2, Level.CAUTION: 3, Level.WARNING: 3, Level.DANGER: 4, Level.EMERGENCY: 5}
"""Of foxglove.Log: info, warning, error, fatal."""


def tick(turn: Turn, wall_ns: int) -> bytes:
    """A vlad.Tick of that wall-clock time."""
    return _json(
        wall_ns,
        mode=turn.mode.value,
        level=int(turn.level),
        early=turn.early,
        missed=turn.missed,
        late_ms=turn.late_ns / 1e6,
        task=turn.task,
        faults=[
            {
                "id": seen.id,
                "subject": seen.subject,
                "detail": seen.detail,
                "level": int(seen.level),
                "reaction": str(Reaction(seen.reaction)),
            }
            for seen in turn.faults
        ],
    )


def command(sent: Command, offset_ns: int) -> bytes:
    """A vlad.Command; `offset_ns` leads from CLOCK_MONOTONIC to the wall clock."""
    source_ns = sent.source_stamp_ns
    return b"".join(
        (
            time(1, sent.stamp_ns + offset_ns),
            text(2, sent.mode.value),
            text(3, sent.kind.value),
            texts(4, sent.names),
            block(5, sent.values.tobytes()),
            time(6, source_ns + offset_ns) if source_ns else b"",
            natural(7, sent.ttl_ms),
        )
    )


def chunk(made: Chunk, offset_ns: int) -> bytes:
    """A vlad.Chunk."""
    return b"".join(
        (
            time(1, made.stamp_ns + offset_ns),
            text(2, made.kind.value),
            texts(3, made.names),
            _floats(4, made.actions),
            text(5, made.instruction),
            double(6, made.step_ns / _NS_PER_S),
            double(7, made.inference_ns / _NS_PER_S),
            double(8, math.nan if made.collision is None else made.collision),
            double(9, math.nan if made.uncertainty is None else made.uncertainty),
        )
    )


def event(row: dict[str, Any], wall_ns: int) -> bytes:
    """A foxglove.Log of an event, as the event log tells it to its subscribers."""
    level = _LOG_LEVELS[Level[row["level"]]]
    return _json(
        wall_ns, level=level, message=row["text"], name=row["kind"], file="", line=0, data=row["data"]
    )


class SampleEncoder:
    """Sensor samples; raw pictures become JPEG, depth pictures PNG of 16 bits [mm, as in REP 118]."""

    def __init__(self, jpeg_quality: int) -> None:
        self._jpeg = (cv2.IMWRITE_JPEG_QUALITY, jpeg_quality)
        self._png = (cv2.IMWRITE_PNG_COMPRESSION, 1)

    def encode(self, sample: Sample, offset_ns: int) -> bytes:
        """The message of a sample; ValueError for a picture that cannot be encoded."""
        data, wall_ns = sample.data, sample.stamp_ns + offset_ns
        match data:
            case Image():
                form, picture = self._picture(data)
                return _compressed(wall_ns, sample.frame_id, form, picture)
            case CompressedImage():
                return _compressed(wall_ns, sample.frame_id, data.format, data.data)
            case LaserScan():
                return _laser(wall_ns, sample.frame_id, data)
            case PointCloud():
                return _cloud(wall_ns, sample.frame_id, data)
            case JointState():
                return _joints(wall_ns, data)
            case _:
                return _json(wall_ns, frame_id=sample.frame_id, **_PLAIN[type(data)](data))

    def _picture(self, image: Image) -> tuple[str, memoryview]:
        form = "png" if image.encoding in ("16UC1", "32FC1") else "jpeg"
        try:
            return form, self._code(form, image)
        except cv2.error as error:
            raise ValueError(f"OpenCV: {error}") from None

    def _code(self, form: str, image: Image) -> memoryview:
        pixels = image.pixels
        if image.encoding == "32FC1":
            millimetres = np.nan_to_num(pixels * _MM_PER_M, nan=0.0, posinf=0.0, neginf=0.0)
            pixels = millimetres.clip(0, _FARTHEST_MM).astype(np.uint16)
        elif image.encoding == "rgb8":
            pixels = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
        done, coded = cv2.imencode(f".{form}", pixels, self._png if form == "png" else self._jpeg)
        if not done:
            raise ValueError(f"OpenCV makes no {form} of {pixels.shape} {pixels.dtype}")
        file: memoryview = coded.data
        return file


def _json(wall_ns: int, **values: Any) -> bytes:
    seconds, nanos = divmod(wall_ns, _NS_PER_S)
    return to_json({"timestamp": {"sec": seconds, "nsec": nanos}, **values}).encode()


def _floats(number: int, values: Floats) -> bytes:
    return block(number, np.ascontiguousarray(values, np.float32).tobytes())


def _compressed(wall_ns: int, frame_id: str, form: str, picture: memoryview) -> bytes:
    return b"".join((time(1, wall_ns), block(2, picture), text(3, form), text(4, frame_id)))


_NO_POSE = block(3, block(2, double(4, 1.0)))
"""The identity: Foxglove takes a missing rotation for all zeros."""


def _laser(wall_ns: int, frame_id: str, scan: LaserScan) -> bytes:
    last = scan.angle_min + scan.angle_increment * (len(scan.ranges) - 1)
    ranges = scan.ranges.astype(np.float64).tobytes()
    angles = double(4, scan.angle_min) + double(5, last)
    return b"".join((time(1, wall_ns), text(2, frame_id), _NO_POSE, angles, block(6, ranges)))


def _cloud(wall_ns: int, frame_id: str, cloud: PointCloud) -> bytes:
    fields = (
        block(5, text(1, name) + fixed32(2, 4 * k) + natural(3, FLOAT32))
        for k, name in enumerate(cloud.fields)
    )
    head = time(1, wall_ns) + text(2, frame_id) + _NO_POSE + fixed32(4, 4 * len(cloud.fields))
    return b"".join((head, *fields, _floats(6, cloud.points)))


def _joints(wall_ns: int, state: JointState) -> bytes:
    rows = (state.position, state.velocity, state.effort, state.temperature, state.current)
    arrays = (_floats(3 + k, row) for k, row in enumerate(rows) if row is not None)
    return b"".join((time(1, wall_ns), texts(2, state.names), *arrays))


def _xyz(vector: Vector3) -> dict[str, float]:
    return {"x": vector[0], "y": vector[1], "z": vector[2]}


def _xyzw(rotation: Quaternion) -> dict[str, float]:
    return {"x": rotation[0], "y": rotation[1], "z": rotation[2], "w": rotation[3]}


def _pose(data: Pose | Odometry) -> dict[str, Any]:
    return {"position": _xyz(data.position), "orientation": _xyzw(data.orientation)}


def _keys(*names: str) -> Callable[[Any], dict[str, Any]]:
    return lambda data: {name: getattr(data, name) for name in names}


_PLAIN: dict[type[Data], Callable[[Any], dict[str, Any]]] = {
    Imu: lambda data: {
        "orientation": _xyzw(data.orientation),
        "angular_velocity": _xyz(data.angular_velocity),
        "linear_acceleration": _xyz(data.linear_acceleration),
    },
    Battery: _keys("percentage", "voltage", "current", "temperature"),
    Wrench: lambda data: {"force": _xyz(data.force), "torque": _xyz(data.torque)},
    Twist: lambda data: {"linear": _xyz(data.linear), "angular": _xyz(data.angular)},
    Pose: lambda data: {"pose": _pose(data)},
    Odometry: lambda data: {
        "child_frame_id": data.child_frame_id,
        "pose": _pose(data),
        "linear": _xyz(data.linear),
        "angular": _xyz(data.angular),
    },
    Proximity: lambda data: {
        "objects": [_keys("name", "distance", "velocity")(near) for near in data.objects]
    },
    Power: _keys("watts"),
    Temperature: _keys("celsius"),
    CenterOfMass: _keys("x", "y", "z"),
    Detections: lambda data: {
        "detections": [_keys("label", "score", "box")(seen) for seen in data.detections]
    },
    EStop: _keys("pressed"),
    Instruction: _keys("text", "source", "confidence"),
    TaskResult: _keys("task", "success"),
    Deadman: _keys("held"),
    CommandAck: _keys("seq", "command_stamp_ns", "mode"),
}
