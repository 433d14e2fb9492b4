"""What each recorded message looks like, so that Foxglove and other readers need nothing of ours.

Foxglove's own schemas where it draws pictures, scans and points; ours for what it plots. Whatever holds
arrays is Protocol Buffers: numbers are copied as they are, where JSON takes 0.5 us for each and has no
infinity. The rest is JSON.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from vlad.record.protobuf import Fields, descriptor_set


@dataclass(frozen=True, slots=True)
class Schema:
    """`encoding` is that of the schema, `message_encoding` that of the messages, by MCAP's names."""

    name: str
    encoding: str
    message_encoding: str
    data: bytes


_NUMERIC = "foxglove.PackedElementField.NumericType"
_ENUMS = {
    _NUMERIC: ("UNKNOWN", "UINT8", "INT8", "UINT16", "INT16", "UINT32", "INT32", "FLOAT32", "FLOAT64"),
}
FLOAT32 = 7
"""Its number in that enum."""

_STAMP = (1, "google.protobuf.Timestamp")
_MESSAGES: dict[str, Fields] = {
    "google.protobuf.Timestamp": {"seconds": (1, "int64"), "nanos": (2, "int32")},
    "foxglove.Vector3": {"x": (1, "double"), "y": (2, "double"), "z": (3, "double")},
    "foxglove.Quaternion": {"x": (1, "double"), "y": (2, "double"), "z": (3, "double"), "w": (4, "double")},
    "foxglove.Pose": {"position": (1, "foxglove.Vector3"), "orientation": (2, "foxglove.Quaternion")},
    "foxglove.CompressedImage": {
        "timestamp": _STAMP,
        "data": (2, "bytes"),
        "format": (3, "string"),
        "frame_id": (4, "string"),
    },
    "foxglove.LaserScan": {
        "timestamp": _STAMP,
        "frame_id": (2, "string"),
        "pose": (3, "foxglove.Pose"),
        "start_angle": (4, "double"),
        "end_angle": (5, "double"),
        "ranges": (6, "repeated double"),
        "intensities": (7, "repeated double"),
    },
    "foxglove.PackedElementField": {
        "name": (1, "string"),
        "offset": (2, "fixed32"),
        "type": (3, f"enum {_NUMERIC}"),
    },
    "foxglove.PointCloud": {
        "timestamp": _STAMP,
        "frame_id": (2, "string"),
        "pose": (3, "foxglove.Pose"),
        "point_stride": (4, "fixed32"),
        "fields": (5, "repeated foxglove.PackedElementField"),
        "data": (6, "bytes"),
    },
    "vlad.JointState": {
        "timestamp": _STAMP,
        "names": (2, "repeated string"),
        "position": (3, "repeated float"),
        "velocity": (4, "repeated float"),
        "effort": (5, "repeated float"),
        "temperature": (6, "repeated float"),
        "current": (7, "repeated float"),
    },
    "vlad.Command": {
        "timestamp": _STAMP,
        "mode": (2, "string"),
        "kind": (3, "string"),
        "names": (4, "repeated string"),
        "values": (5, "repeated float"),
        "source": (6, "google.protobuf.Timestamp"),
        "ttl_ms": (7, "int32"),
    },
    "vlad.Chunk": {
        "timestamp": _STAMP,
        "kind": (2, "string"),
        "names": (3, "repeated string"),
        "actions": (4, "repeated float"),
        "instruction": (5, "string"),
        "step_s": (6, "double"),
        "inference_s": (7, "double"),
        "collision": (8, "double"),
        "uncertainty": (9, "double"),
    },
}

Shape = dict[str, Any]
_NUMBER: Shape = {"type": ["number", "null"]}
_WHOLE: Shape = {"type": "integer"}
_TEXT: Shape = {"type": "string"}
_FLAG: Shape = {"type": "boolean"}


def _map(**properties: Shape) -> Shape:
    return {"type": "object", "properties": properties}


def _list(items: Shape) -> Shape:
    return {"type": "array", "items": items}


_TIME: Shape = {"title": "time", **_map(sec=_WHOLE, nsec=_WHOLE)}
_VECTOR = _map(x=_NUMBER, y=_NUMBER, z=_NUMBER)
_QUATERNION = _map(x=_NUMBER, y=_NUMBER, z=_NUMBER, w=_NUMBER)
_POSE = _map(position=_VECTOR, orientation=_QUATERNION)
_JSON: dict[str, dict[str, Shape]] = {
    "foxglove.PoseInFrame": {"pose": _POSE},
    "foxglove.Log": {"level": _WHOLE, "message": _TEXT, "name": _TEXT, "file": _TEXT, "line": _WHOLE},
    "vlad.Odometry": {"child_frame_id": _TEXT, "pose": _POSE, "linear": _VECTOR, "angular": _VECTOR},
    "vlad.Imu": {
        "orientation": _QUATERNION,
        "angular_velocity": _VECTOR,
        "linear_acceleration": _VECTOR,
    },
    "vlad.Battery": dict.fromkeys(("percentage", "voltage", "current", "temperature"), _NUMBER),
    "vlad.Wrench": {"force": _VECTOR, "torque": _VECTOR},
    "vlad.Twist": {"linear": _VECTOR, "angular": _VECTOR},
    "vlad.Proximity": {"objects": _list(_map(name=_TEXT, distance=_NUMBER, velocity=_NUMBER))},
    "vlad.Power": {"watts": _NUMBER},
    "vlad.Temperature": {"celsius": {"type": "object"}},
    "vlad.CenterOfMass": {"x": _NUMBER, "y": _NUMBER, "z": _NUMBER},
    "vlad.Detections": {"detections": _list(_map(label=_TEXT, score=_NUMBER, box=_list(_NUMBER)))},
    "vlad.EStop": {"pressed": _FLAG},
    "vlad.Instruction": {"text": _TEXT, "source": _TEXT, "confidence": _NUMBER},
    "vlad.TaskResult": {"task": _TEXT, "success": _FLAG},
    "vlad.Deadman": {"held": _FLAG},
    "vlad.CommandAck": {"seq": _WHOLE, "command_stamp_ns": _WHOLE, "mode": _TEXT},
    "vlad.Tick": {
        "mode": _TEXT,
        "level": _WHOLE,
        "early": _FLAG,
        "missed": _WHOLE,
        "late_ms": _NUMBER,
        "task": _TEXT,
        "faults": _list(_map(id=_TEXT, subject=_TEXT, detail=_TEXT, level=_WHOLE, reaction=_TEXT)),
    },
}

SIGNAL_SCHEMAS: dict[str, str] = {
    "image": "foxglove.CompressedImage",
    "compressed_image": "foxglove.CompressedImage",
    "laser_scan": "foxglove.LaserScan",
    "point_cloud": "foxglove.PointCloud",
    "joint_state": "vlad.JointState",
    "imu": "vlad.Imu",
    "battery": "vlad.Battery",
    "wrench": "vlad.Wrench",
    "twist": "vlad.Twist",
    "pose": "foxglove.PoseInFrame",
    "odometry": "vlad.Odometry",
    "proximity": "vlad.Proximity",
    "power": "vlad.Power",
    "temperature": "vlad.Temperature",
    "center_of_mass": "vlad.CenterOfMass",
    "detections": "vlad.Detections",
    "estop": "vlad.EStop",
    "instruction": "vlad.Instruction",
    "task_result": "vlad.TaskResult",
    "deadman": "vlad.Deadman",
    "command_ack": "vlad.CommandAck",
}
"""Type of a signal -> name of its schema."""

TICK_TOPIC, COMMAND_TOPIC, CHUNK_TOPIC, EVENT_TOPIC = "vlad/tick", "vlad/command", "vlad/chunk", "vlad/events"
OWN_SCHEMAS: dict[str, str] = {
    TICK_TOPIC: "vlad.Tick",
    COMMAND_TOPIC: "vlad.Command",
    CHUNK_TOPIC: "vlad.Chunk",
    EVENT_TOPIC: "foxglove.Log",
}
"""The daemon's own topics -> name of their schema."""


def schema(name: str) -> Schema:
    """The schema of this name."""
    if name in _MESSAGES:
        return Schema(name, "protobuf", "protobuf", descriptor_set(name, _MESSAGES, _ENUMS))
    shape = {"title": name, **_map(timestamp=_TIME, frame_id=_TEXT, **_JSON[name])}
    return Schema(name, "jsonschema", "json", json.dumps(shape, separators=(",", ":")).encode())
