"""The keys and the payload of each sensor type on the wire, in both directions (the table of wire.py).

| type | keys | payload |
|---|---|---|
| image | encoding (rgb8 bgr8 mono8 16UC1 32FC1), height, width, step [bytes a row] | step * height bytes |
| compressed_image | format (jpeg png) | the file |
| laser_scan | angle_min, angle_increment, range_min, range_max | float32 ranges; inf and NaN as in REP 117 |
| point_cloud | fields | float32, a row of len(fields) for each point; NaN where invalid |
| joint_state | names, fields (some of position velocity effort temperature current) | float32, a row each |
| imu | orientation, angular_velocity, linear_acceleration | |
| battery | percentage 0..1; voltage, current, temperature (NaN: not measured) | |
| wrench | force, torque | |
| twist | linear, angular | |
| pose | position, orientation | |
| odometry | child_frame_id, position, orientation, linear, angular | |
| proximity | objects: list of maps name, distance, velocity | |
| power | watts | |
| temperature | celsius: map of component to degrees | |
| center_of_mass | x, y, z | |
| detections | detections: list of maps label, score 0..1, box (4 numbers) | |
| estop | pressed | |
| instruction | text, source, confidence 0..1 | |
| task_result | task, success | |

Every number is finite but where the table says otherwise; quaternions are xyzw and of length 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from math import isfinite, isinf
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

from vlad.messages import (
    Battery,
    CenterOfMass,
    CompressedImage,
    Detection,
    Detections,
    EStop,
    Image,
    Imu,
    Instruction,
    JointState,
    LaserScan,
    NearObject,
    Odometry,
    PointCloud,
    Pose,
    Power,
    Proximity,
    TaskResult,
    Temperature,
    Twist,
    Wrench,
)

Buffer: TypeAlias = bytes | memoryview
Header: TypeAlias = dict[str, Any]
Encoded: TypeAlias = tuple[Header, memoryview | None]

_PIXELS: dict[str, tuple[type[np.generic], int]] = {
    "rgb8": (np.uint8, 3),
    "bgr8": (np.uint8, 3),
    "mono8": (np.uint8, 1),
    "16UC1": (np.uint16, 1),
    "32FC1": (np.float32, 1),
}
_MAGIC = {"jpeg": b"\xff\xd8\xff", "png": b"\x89PNG"}
_JOINT_FIELDS = ("position", "velocity", "effort", "temperature", "current")
_UNIT_TOLERANCE = 0.02


class Reason(StrEnum):
    """Why a message is no good; the words under which `vladctl status` counts them."""

    VERSION = "version"
    MALFORMED = "malformed"
    UNKNOWN_TOPIC = "unknown_topic"
    UNKNOWN_TYPE = "unknown_type"
    WRONG_TYPE = "wrong_type"
    SIZE = "size"
    TOO_LARGE = "too_large"
    NON_FINITE = "non_finite"
    RANGE = "range"
    STAMP_FUTURE = "stamp_future"
    STAMP_OLD = "stamp_old"
    SEQ = "seq"
    CRC = "crc"


class BadMessage(Exception):  # noqa: N818 - a message is bad, vlad is not in error
    """Bytes that are not a good message. `reason` is for counting, `detail` for the log."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Codec:
    """How one type becomes header keys and payload, and comes back. `decode` raises only BadMessage."""

    encode: Callable[[Any], Encoded]
    decode: Callable[[Header, Buffer], Any]
    has_payload: bool = False


# reading header keys --------------------------------------------------------------------------------------


def _number(header: Header, key: str) -> float:
    value = header.get(key)
    if type(value) is not float and type(value) is not int:
        raise BadMessage(Reason.MALFORMED, f"{key} is not a number")
    if not isfinite(value):
        raise BadMessage(Reason.NON_FINITE, key)
    return float(value)


def _fraction(header: Header, key: str) -> float:
    value = _number(header, key)
    if not 0 <= value <= 1:
        raise BadMessage(Reason.RANGE, f"{key} {value} is not in 0 to 1")
    return value


def _measured(header: Header, key: str) -> float:
    """A finite number, or NaN for what the sender does not measure."""
    value = header.get(key)
    if type(value) is not float and type(value) is not int:
        raise BadMessage(Reason.MALFORMED, f"{key} is not a number")
    if isinf(value):
        raise BadMessage(Reason.NON_FINITE, key)
    return float(value)


def _text(header: Header, key: str) -> str:
    value = header.get(key)
    if type(value) is not str:
        raise BadMessage(Reason.MALFORMED, f"{key} is not a text")
    return value


def _flag(header: Header, key: str) -> bool:
    value = header.get(key)
    if type(value) is not bool:
        raise BadMessage(Reason.MALFORMED, f"{key} is not true or false")
    return value


def _vector(header: Header, key: str, size: int) -> Any:
    """A tuple of `size` finite floats."""
    values = header.get(key)
    if type(values) is not list or len(values) != size:
        raise BadMessage(Reason.MALFORMED, f"{key} is not a list of {size} numbers")
    for value in values:
        if type(value) is not float and type(value) is not int:
            raise BadMessage(Reason.MALFORMED, f"{key} is not a list of {size} numbers")
        if not isfinite(value):
            raise BadMessage(Reason.NON_FINITE, key)
    return tuple(map(float, values))


def _quaternion(header: Header, key: str) -> Any:
    x, y, z, w = values = _vector(header, key, 4)
    if abs(x * x + y * y + z * z + w * w - 1) > 2 * _UNIT_TOLERANCE:
        raise BadMessage(Reason.RANGE, f"{key} is not a unit quaternion")
    return values


def names_of(header: Header, key: str, least: int = 1) -> tuple[str, ...]:
    """A list of different texts, at least so many."""
    values = header.get(key)
    if type(values) is not list or len(values) < least or not set(map(type, values)) <= {str}:
        raise BadMessage(Reason.MALFORMED, f"{key} is not a list of texts")
    if len(set(values)) != len(values):
        raise BadMessage(Reason.MALFORMED, f"{key} has a name twice")
    return tuple(values)


def _maps(header: Header, key: str) -> list[Header]:
    values = header.get(key)
    if type(values) is not list or not all(type(value) is dict for value in values):
        raise BadMessage(Reason.MALFORMED, f"{key} is not a list of maps")
    return values


# payloads -------------------------------------------------------------------------------------------------


def _bytes_of(array: NDArray[Any], dtype: DTypeLike) -> memoryview:
    """A view on the bytes of `array`; a copy only where it has another type or gaps."""
    return np.ascontiguousarray(array, dtype).reshape(-1).view(np.uint8).data


def _floats(payload: Buffer) -> NDArray[np.float32]:
    """The payload as read-only float32 numbers, without a copy."""
    if not len(payload) or len(payload) % 4:
        raise BadMessage(Reason.SIZE, f"{len(payload)} bytes are not float32 numbers")
    array: NDArray[np.float32] = np.frombuffer(payload, np.float32)
    array.flags.writeable = False
    return array


def _encode_image(image: Image) -> Encoded:
    if image.encoding not in _PIXELS:
        raise ValueError(f"encoding {image.encoding!r} is not one of {', '.join(_PIXELS)}")
    dtype, channels = _PIXELS[image.encoding]
    pixels = image.pixels
    if pixels.dtype != dtype or pixels.shape[2:] != ((channels,) if channels > 1 else ()) or pixels.ndim < 2:
        raise ValueError(
            f"{image.encoding} needs (height, width{', 3' if channels > 1 else ''}) {np.dtype(dtype)}, "
            f"got {pixels.shape} {pixels.dtype}"
        )
    height, width = pixels.shape[:2]
    step = width * channels * pixels.itemsize
    keys = {"encoding": image.encoding, "height": height, "width": width, "step": step}
    return keys, _bytes_of(pixels, dtype)


def _decode_image(header: Header, payload: Buffer) -> Image:
    encoding = header.get("encoding")
    if type(encoding) is not str or encoding not in _PIXELS:
        raise BadMessage(Reason.MALFORMED, f"encoding {encoding!r:.40} is not one of {', '.join(_PIXELS)}")
    height, width, step = header.get("height"), header.get("width"), header.get("step")
    if type(height) is not int or type(width) is not int or type(step) is not int:
        raise BadMessage(Reason.MALFORMED, "height, width or step is not a whole number")
    dtype, channels = _PIXELS[encoding]
    size = np.dtype(dtype).itemsize
    row = width * channels * size
    if height < 1 or width < 1 or step < row or step * height != len(payload):
        raise BadMessage(
            Reason.SIZE, f"{len(payload)} bytes for {width}x{height} {encoding} with a step of {step}"
        )
    shape, strides = ((height, width), (step, size))
    if channels > 1:
        shape, strides = (*shape, channels), (step, channels * size, size)  # type: ignore[assignment]
    pixels: NDArray[Any] = np.ndarray(shape, dtype, payload, 0, strides)
    pixels.flags.writeable = False
    return Image(encoding, pixels)


def _encode_compressed(image: CompressedImage) -> Encoded:
    return {"format": image.format}, memoryview(image.data).cast("B")


def _decode_compressed(header: Header, payload: Buffer) -> CompressedImage:
    form = header.get("format")
    if type(form) is not str or form not in _MAGIC:
        raise BadMessage(Reason.MALFORMED, f"format {form!r:.40} is not one of {', '.join(_MAGIC)}")
    if bytes(payload[:4])[: len(_MAGIC[form])] != _MAGIC[form]:
        raise BadMessage(Reason.MALFORMED, f"the payload is no {form} file")
    return CompressedImage(form, memoryview(payload).toreadonly())


def _encode_laser(scan: LaserScan) -> Encoded:
    keys = {
        "angle_min": float(scan.angle_min),
        "angle_increment": float(scan.angle_increment),
        "range_min": float(scan.range_min),
        "range_max": float(scan.range_max),
    }
    return keys, _bytes_of(scan.ranges, np.float32)


def _decode_laser(header: Header, payload: Buffer) -> LaserScan:
    scan = LaserScan(
        _number(header, "angle_min"),
        _number(header, "angle_increment"),
        _number(header, "range_min"),
        _number(header, "range_max"),
        _floats(payload),
    )
    if not 0 <= scan.range_min < scan.range_max or scan.angle_increment == 0:
        raise BadMessage(Reason.RANGE, "range_min, range_max or angle_increment makes no sense")
    return scan


def _encode_cloud(cloud: PointCloud) -> Encoded:
    if cloud.points.ndim != 2 or cloud.points.shape[1] != len(cloud.fields):
        raise ValueError(f"points {cloud.points.shape} do not fit {len(cloud.fields)} fields")
    return {"fields": cloud.fields}, _bytes_of(cloud.points, np.float32)


def _decode_cloud(header: Header, payload: Buffer) -> PointCloud:
    fields = names_of(header, "fields")
    if len(payload) % (4 * len(fields)):
        raise BadMessage(Reason.SIZE, f"{len(payload)} bytes are not rows of {len(fields)} float32")
    points = np.frombuffer(payload, np.float32).reshape(-1, len(fields))
    points.flags.writeable = False
    return PointCloud(fields, points)


def _encode_joints(state: JointState) -> Encoded:
    rows = [(field, row) for field in _JOINT_FIELDS if (row := getattr(state, field)) is not None]
    if any(np.shape(row) != (len(state.names),) for _, row in rows):
        raise ValueError(f"every field of a joint state needs {len(state.names)} numbers, one for each name")
    keys = {"names": state.names, "fields": [field for field, _ in rows]}
    if len(rows) == 1:
        return keys, _bytes_of(rows[0][1], np.float32)
    return keys, _bytes_of(np.array([row for _, row in rows], np.float32), np.float32)


def _decode_joints(header: Header, payload: Buffer) -> JointState:
    names, fields = names_of(header, "names"), names_of(header, "fields")
    if not set(fields).issubset(_JOINT_FIELDS):
        raise BadMessage(Reason.MALFORMED, f"fields are some of {', '.join(_JOINT_FIELDS)}")
    if len(payload) != 4 * len(names) * len(fields):
        raise BadMessage(Reason.SIZE, f"{len(payload)} bytes for {len(fields)} fields of {len(names)} joints")
    rows = _floats(payload)
    if not np.isfinite(rows).all():
        raise BadMessage(Reason.NON_FINITE, "joint state")
    width = len(names)
    return JointState(names, **{field: rows[k * width : (k + 1) * width] for k, field in enumerate(fields)})


# types without a payload ----------------------------------------------------------------------------------


def _plain(*keys: str) -> Callable[[Any], Encoded]:
    """Encoder of a type whose fields are the header's keys."""
    return lambda data: ({key: getattr(data, key) for key in keys}, None)


def _decode_imu(header: Header, _: Buffer) -> Imu:
    return Imu(
        _quaternion(header, "orientation"),
        _vector(header, "angular_velocity", 3),
        _vector(header, "linear_acceleration", 3),
    )


def _decode_battery(header: Header, _: Buffer) -> Battery:
    return Battery(
        _fraction(header, "percentage"),
        _measured(header, "voltage"),
        _measured(header, "current"),
        _measured(header, "temperature"),
    )


def _decode_wrench(header: Header, _: Buffer) -> Wrench:
    return Wrench(_vector(header, "force", 3), _vector(header, "torque", 3))


def _decode_twist(header: Header, _: Buffer) -> Twist:
    return Twist(_vector(header, "linear", 3), _vector(header, "angular", 3))


def _decode_pose(header: Header, _: Buffer) -> Pose:
    return Pose(_vector(header, "position", 3), _quaternion(header, "orientation"))


def _decode_odometry(header: Header, _: Buffer) -> Odometry:
    return Odometry(
        _text(header, "child_frame_id"),
        _vector(header, "position", 3),
        _quaternion(header, "orientation"),
        _vector(header, "linear", 3),
        _vector(header, "angular", 3),
    )


def _encode_proximity(proximity: Proximity) -> Encoded:
    objects = [
        {"name": near.name, "distance": near.distance, "velocity": near.velocity}
        for near in proximity.objects
    ]
    return {"objects": objects}, None


def _near(entry: Header) -> NearObject:
    near = NearObject(_text(entry, "name"), _number(entry, "distance"), _number(entry, "velocity"))
    if near.distance < 0:
        raise BadMessage(Reason.RANGE, "a distance is negative")
    return near


def _decode_proximity(header: Header, _: Buffer) -> Proximity:
    return Proximity(tuple(_near(entry) for entry in _maps(header, "objects")))


def _decode_power(header: Header, _: Buffer) -> Power:
    return Power(_number(header, "watts"))


def _decode_temperature(header: Header, _: Buffer) -> Temperature:
    celsius = header.get("celsius")
    if type(celsius) is not dict:
        raise BadMessage(Reason.MALFORMED, "celsius is not a map")
    return Temperature({part: _number(celsius, part) for part in celsius})


def _decode_center(header: Header, _: Buffer) -> CenterOfMass:
    return CenterOfMass(_number(header, "x"), _number(header, "y"), _number(header, "z"))


def _encode_detections(data: Detections) -> Encoded:
    found = [{"label": item.label, "score": item.score, "box": item.box} for item in data.detections]
    return {"detections": found}, None


def _decode_detections(header: Header, _: Buffer) -> Detections:
    return Detections(
        tuple(
            Detection(_text(entry, "label"), _fraction(entry, "score"), _vector(entry, "box", 4))
            for entry in _maps(header, "detections")
        )
    )


def _decode_estop(header: Header, _: Buffer) -> EStop:
    return EStop(_flag(header, "pressed"))


def _decode_instruction(header: Header, _: Buffer) -> Instruction:
    return Instruction(_text(header, "text"), _text(header, "source"), _fraction(header, "confidence"))


def _decode_result(header: Header, _: Buffer) -> TaskResult:
    return TaskResult(_text(header, "task"), _flag(header, "success"))


CODECS: dict[str, Codec] = {
    "image": Codec(_encode_image, _decode_image, has_payload=True),
    "compressed_image": Codec(_encode_compressed, _decode_compressed, has_payload=True),
    "laser_scan": Codec(_encode_laser, _decode_laser, has_payload=True),
    "point_cloud": Codec(_encode_cloud, _decode_cloud, has_payload=True),
    "joint_state": Codec(_encode_joints, _decode_joints, has_payload=True),
    "imu": Codec(_plain("orientation", "angular_velocity", "linear_acceleration"), _decode_imu),
    "battery": Codec(_plain("percentage", "voltage", "current", "temperature"), _decode_battery),
    "wrench": Codec(_plain("force", "torque"), _decode_wrench),
    "twist": Codec(_plain("linear", "angular"), _decode_twist),
    "pose": Codec(_plain("position", "orientation"), _decode_pose),
    "odometry": Codec(
        _plain("child_frame_id", "position", "orientation", "linear", "angular"), _decode_odometry
    ),
    "proximity": Codec(_encode_proximity, _decode_proximity),
    "power": Codec(_plain("watts"), _decode_power),
    "temperature": Codec(_plain("celsius"), _decode_temperature),
    "center_of_mass": Codec(_plain("x", "y", "z"), _decode_center),
    "detections": Codec(_encode_detections, _decode_detections),
    "estop": Codec(_plain("pressed"), _decode_estop),
    "instruction": Codec(_plain("text", "source", "confidence"), _decode_instruction),
    "task_result": Codec(_plain("task", "success"), _decode_result),
}
