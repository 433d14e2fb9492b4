"""What is recorded says what came in: every type of signal, read back by its own schema."""

from __future__ import annotations

import json
import math
from typing import Any

import cv2
import numpy as np
import pytest

from tests.record.recordings import decode
from vlad.feed import FaultSeen, Turn
from vlad.messages import (
    DATA_TYPES,
    Battery,
    CenterOfMass,
    Chunk,
    Command,
    CommandAck,
    CommandMode,
    CompressedImage,
    Data,
    Deadman,
    Detection,
    Detections,
    EStop,
    Image,
    Imu,
    Instruction,
    JointState,
    Kind,
    LaserScan,
    Level,
    Mode,
    NearObject,
    Odometry,
    PointCloud,
    Pose,
    Power,
    Proximity,
    Sample,
    TaskResult,
    Temperature,
    Twist,
    Wrench,
)
from vlad.record import encode
from vlad.record.encode import SampleEncoder
from vlad.record.schemas import OWN_SCHEMAS, SIGNAL_SCHEMAS, schema
from vlad.safety.reaction import Reaction

OFFSET_NS = 1_700_000_000_000_000_000
X, Q = (1.0, 2.0, 3.0), (0.0, 0.0, 0.0, 1.0)
PIXELS = np.full((8, 8, 3), (200, 100, 50), np.uint8)
NUMBERS = np.array([0.5, -1.5], np.float32)
SAMPLES: dict[str, Data] = {
    "image": Image("rgb8", PIXELS),
    "compressed_image": CompressedImage("jpeg", memoryview(b"\xff\xd8\xff")),
    "laser_scan": LaserScan(-1.0, 0.25, 0.1, 8.0, np.array([1.0, math.inf, math.nan], np.float32)),
    "point_cloud": PointCloud(("x", "y", "z"), np.arange(6, dtype=np.float32).reshape(2, 3)),
    "joint_state": JointState(("a", "b"), position=NUMBERS, effort=NUMBERS),
    "imu": Imu(Q, X, X),
    "battery": Battery(0.5, 24.0, -1.0, math.nan),
    "wrench": Wrench(X, X),
    "twist": Twist(X, X),
    "pose": Pose(X, Q),
    "odometry": Odometry("base_link", X, Q, X, X),
    "proximity": Proximity((NearObject("hand", 0.2, -0.1),)),
    "power": Power(12.5),
    "temperature": Temperature({"motor": 40.0}),
    "center_of_mass": CenterOfMass(0.1, 0.2, 0.3),
    "detections": Detections((Detection("ball", 0.9, (1.0, 2.0, 3.0, 4.0)),)),
    "estop": EStop(True),
    "instruction": Instruction("go", "speech", 0.8),
    "task_result": TaskResult("go", True),
    "deadman": Deadman(False),
    "command_ack": CommandAck(7, 123, CommandMode.RUN),
}


def recorded(data: Data, kind: str) -> dict[str, Any]:
    sample = Sample("topic", 1, 2_500_000_000, 3_000_000_000, "frame", data)
    known = schema(SIGNAL_SCHEMAS[kind])
    content = SampleEncoder(90).encode(sample, OFFSET_NS)
    return decode(known.name, known.encoding, known.data, content)


def test_every_type_of_signal_is_tried_here() -> None:
    assert set(SAMPLES) == set(DATA_TYPES) == set(SIGNAL_SCHEMAS)


@pytest.mark.parametrize("kind", sorted(SAMPLES))
def test_a_recorded_sample_has_its_stamp_and_all_that_its_schema_promises(kind: str) -> None:
    row = recorded(SAMPLES[kind], kind)
    known = schema(SIGNAL_SCHEMAS[kind])
    if known.encoding == "jsonschema":
        assert row["timestamp"] == {"sec": 1_700_000_002, "nsec": 500_000_000}
        assert set(row) == set(json.loads(known.data)["properties"])
    else:
        assert row["timestamp"] == "2023-11-14T22:13:22.500Z"


def test_numbers_arrive_as_they_were() -> None:
    laser = recorded(SAMPLES["laser_scan"], "laser_scan")
    assert laser["ranges"] == [1.0, "Infinity", "NaN"]
    assert (laser["start_angle"], laser["end_angle"]) == (-1.0, -0.5)
    assert laser["pose"]["orientation"] == {"w": 1.0}
    joints = recorded(SAMPLES["joint_state"], "joint_state")
    assert (joints["names"], joints["position"], joints["effort"]) == (["a", "b"], [0.5, -1.5], [0.5, -1.5])
    assert "velocity" not in joints
    cloud = recorded(SAMPLES["point_cloud"], "point_cloud")
    assert [field["name"] for field in cloud["fields"]] == ["x", "y", "z"]
    assert {field["type"] for field in cloud["fields"]} == {"FLOAT32"}
    assert (cloud["point_stride"], cloud["fields"][2]["offset"]) == (12, 8)
    assert np.frombuffer(cloud["data"], np.float32).tolist() == [0, 1, 2, 3, 4, 5]
    assert recorded(SAMPLES["battery"], "battery")["temperature"] is None
    assert recorded(SAMPLES["odometry"], "odometry")["pose"]["position"] == {"x": 1.0, "y": 2.0, "z": 3.0}


@pytest.mark.parametrize("encoding", ["rgb8", "bgr8"])
def test_a_picture_keeps_its_colours(encoding: str) -> None:
    row = recorded(Image(encoding, PIXELS), "image")
    pixels = cv2.imdecode(np.frombuffer(row["data"], np.uint8), cv2.IMREAD_COLOR)
    meant = PIXELS[..., ::-1] if encoding == "rgb8" else PIXELS
    assert row["format"] == "jpeg"
    assert np.abs(pixels.astype(int) - meant).max() < 6


def test_depth_is_recorded_in_millimetres() -> None:
    metres = np.array([[0.5, math.nan], [math.inf, 100.0]], np.float32)
    millimetres = np.array([[500, 0], [0, 65_535]], np.uint16)
    for image in (Image("32FC1", metres), Image("16UC1", millimetres)):
        row = recorded(image, "image")
        pixels = cv2.imdecode(np.frombuffer(row["data"], np.uint8), cv2.IMREAD_UNCHANGED)
        assert row["format"] == "png"
        assert pixels.tolist() == millimetres.tolist()


def test_a_picture_that_cannot_be_encoded_is_an_error_of_its_own() -> None:
    with pytest.raises(ValueError, match="OpenCV"):
        recorded(Image("bgr8", np.zeros((2, 70_000, 3), np.uint8)), "image")


def own(topic: str, content: bytes) -> dict[str, Any]:
    known = schema(OWN_SCHEMAS[topic])
    return decode(known.name, known.encoding, known.data, content)


def test_ticks_commands_chunks_and_events_say_what_happened() -> None:
    fault = FaultSeen("signal_stale", "camera", "0.6 s old", Level.DANGER, Reaction.STOP2)
    command = Command(5, 10, 60, CommandMode.RUN, Kind.TWIST, ("x", "y"), NUMBERS, 4)
    turn = Turn(10, Mode.ACTIVE, Level.DANGER, False, 1, 2_000_000, "go", (fault,), "", command, 0, 0)
    tick = own("vlad/tick", encode.tick(turn, OFFSET_NS))
    assert (tick["mode"], tick["level"], tick["late_ms"], tick["missed"]) == ("active", 3, 2.0, 1)
    assert tick["faults"] == [
        {"id": "signal_stale", "subject": "camera", "detail": "0.6 s old", "level": 3, "reaction": "stop2"}
    ]
    sent = own("vlad/command", encode.command(command, OFFSET_NS))
    assert (sent["mode"], sent["values"], sent["ttl_ms"]) == ("run", [0.5, -1.5], 60)
    made = Chunk(1, 2, 3, 50_000_000, Kind.TWIST, ("x", "y"), NUMBERS.reshape(1, 2), "go", 1, 0.25)
    chunk = own("vlad/chunk", encode.chunk(made, OFFSET_NS))
    assert (chunk["actions"], chunk["collision"], chunk["uncertainty"]) == ([0.5, -1.5], 0.25, "NaN")
    row = {"level": "DANGER", "text": "what", "kind": "fault", "data": {"fault": "x"}}
    event = own("vlad/events", encode.event(row, OFFSET_NS))
    assert (event["level"], event["message"], event["name"]) == (4, "what", "fault")
