"""The sensor types with a payload: pixels, files, ranges, points, joints. Views on the bytes received."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from vlad.messages import CompressedImage, Image, JointState, LaserScan, PointCloud
from vlad.wire.fields import BadMessage, Buffer, Encoded, Header, Reason, names_of, number_of

_PIXELS: dict[str, tuple[type[np.generic], int]] = {
    "rgb8": (np.uint8, 3),
    "bgr8": (np.uint8, 3),
    "mono8": (np.uint8, 1),
    "16UC1": (np.uint16, 1),
    "32FC1": (np.float32, 1),
}
_MAGIC = {"jpeg": b"\xff\xd8\xff", "png": b"\x89PNG"}
_JOINT_FIELDS = ("position", "velocity", "effort", "temperature", "current")


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


def encode_image(image: Image) -> Encoded:
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


def decode_image(header: Header, payload: Buffer) -> Image:
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


def encode_compressed(image: CompressedImage) -> Encoded:
    return {"format": image.format}, memoryview(image.data).cast("B")


def decode_compressed(header: Header, payload: Buffer) -> CompressedImage:
    form = header.get("format")
    if type(form) is not str or form not in _MAGIC:
        raise BadMessage(Reason.MALFORMED, f"format {form!r:.40} is not one of {', '.join(_MAGIC)}")
    if bytes(payload[:4])[: len(_MAGIC[form])] != _MAGIC[form]:
        raise BadMessage(Reason.MALFORMED, f"the payload is no {form} file")
    return CompressedImage(form, memoryview(payload).toreadonly())


def encode_laser(scan: LaserScan) -> Encoded:
    keys = {
        "angle_min": float(scan.angle_min),
        "angle_increment": float(scan.angle_increment),
        "range_min": float(scan.range_min),
        "range_max": float(scan.range_max),
    }
    return keys, _bytes_of(scan.ranges, np.float32)


def decode_laser(header: Header, payload: Buffer) -> LaserScan:
    scan = LaserScan(
        number_of(header, "angle_min"),
        number_of(header, "angle_increment"),
        number_of(header, "range_min"),
        number_of(header, "range_max"),
        _floats(payload),
    )
    if not 0 <= scan.range_min < scan.range_max or scan.angle_increment == 0:
        raise BadMessage(Reason.RANGE, "range_min, range_max or angle_increment makes no sense")
    return scan


def encode_cloud(cloud: PointCloud) -> Encoded:
    if cloud.points.ndim != 2 or cloud.points.shape[1] != len(cloud.fields):
        raise ValueError(f"points {cloud.points.shape} do not fit {len(cloud.fields)} fields")
    return {"fields": cloud.fields}, _bytes_of(cloud.points, np.float32)


def decode_cloud(header: Header, payload: Buffer) -> PointCloud:
    fields = names_of(header, "fields")
    if len(payload) % (4 * len(fields)):
        raise BadMessage(Reason.SIZE, f"{len(payload)} bytes are not rows of {len(fields)} float32")
    points = np.frombuffer(payload, np.float32).reshape(-1, len(fields))
    points.flags.writeable = False
    return PointCloud(fields, points)


def encode_joints(state: JointState) -> Encoded:
    rows = [(field, row) for field in _JOINT_FIELDS if (row := getattr(state, field)) is not None]
    if any(np.shape(row) != (len(state.names),) for _, row in rows):
        raise ValueError(f"every field of a joint state needs {len(state.names)} numbers, one for each name")
    keys = {"names": state.names, "fields": [field for field, _ in rows]}
    if len(rows) == 1:
        return keys, _bytes_of(rows[0][1], np.float32)
    return keys, _bytes_of(np.array([row for _, row in rows], np.float32), np.float32)


def decode_joints(header: Header, payload: Buffer) -> JointState:
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
