"""The keys and the payload of each sensor type on the wire, in both directions (the table of the package).

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
| deadman | held | |
| command_ack | command_seq, command_stamp_ns, mode: of the command that the motors follow now | |

Every number is finite but where the table says otherwise; quaternions are xyzw and of length 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from vlad.messages import (
    Battery,
    CenterOfMass,
    CommandAck,
    CommandMode,
    Deadman,
    Detection,
    Detections,
    EStop,
    Imu,
    Instruction,
    NearObject,
    Odometry,
    Pose,
    Power,
    Proximity,
    TaskResult,
    Temperature,
    Twist,
    Wrench,
)
from vlad.wire.arrays import (
    decode_cloud,
    decode_compressed,
    decode_image,
    decode_joints,
    decode_laser,
    encode_cloud,
    encode_compressed,
    encode_image,
    encode_joints,
    encode_laser,
)
from vlad.wire.fields import (
    BadMessage,
    Buffer,
    Encoded,
    Header,
    Reason,
    flag_of,
    fraction_of,
    maps_of,
    measured_of,
    member_of,
    natural_of,
    number_of,
    quaternion_of,
    text_of,
    vector_of,
)


@dataclass(frozen=True, slots=True)
class Codec:
    """How one type becomes header keys and payload, and comes back. `decode` raises only BadMessage."""

    encode: Callable[[Any], Encoded]
    decode: Callable[[Header, Buffer], Any]
    has_payload: bool = False


def _plain(*keys: str) -> Callable[[Any], Encoded]:
    """Encoder of a type whose fields are the header's keys."""
    return lambda data: ({key: getattr(data, key) for key in keys}, None)


def _decode_imu(header: Header, _: Buffer) -> Imu:
    return Imu(
        quaternion_of(header, "orientation"),
        vector_of(header, "angular_velocity", 3),
        vector_of(header, "linear_acceleration", 3),
    )


def _decode_battery(header: Header, _: Buffer) -> Battery:
    return Battery(
        fraction_of(header, "percentage"),
        measured_of(header, "voltage"),
        measured_of(header, "current"),
        measured_of(header, "temperature"),
    )


def _decode_wrench(header: Header, _: Buffer) -> Wrench:
    return Wrench(vector_of(header, "force", 3), vector_of(header, "torque", 3))


def _decode_twist(header: Header, _: Buffer) -> Twist:
    return Twist(vector_of(header, "linear", 3), vector_of(header, "angular", 3))


def _decode_pose(header: Header, _: Buffer) -> Pose:
    return Pose(vector_of(header, "position", 3), quaternion_of(header, "orientation"))


def _decode_odometry(header: Header, _: Buffer) -> Odometry:
    return Odometry(
        text_of(header, "child_frame_id"),
        vector_of(header, "position", 3),
        quaternion_of(header, "orientation"),
        vector_of(header, "linear", 3),
        vector_of(header, "angular", 3),
    )


def _encode_proximity(proximity: Proximity) -> Encoded:
    objects = [
        {"name": near.name, "distance": near.distance, "velocity": near.velocity}
        for near in proximity.objects
    ]
    return {"objects": objects}, None


def _near(entry: Header) -> NearObject:
    near = NearObject(text_of(entry, "name"), number_of(entry, "distance"), number_of(entry, "velocity"))
    if near.distance < 0:
        raise BadMessage(Reason.RANGE, "a distance is negative")
    return near


def _decode_proximity(header: Header, _: Buffer) -> Proximity:
    return Proximity(tuple(_near(entry) for entry in maps_of(header, "objects")))


def _decode_power(header: Header, _: Buffer) -> Power:
    return Power(number_of(header, "watts"))


def _decode_temperature(header: Header, _: Buffer) -> Temperature:
    celsius = header.get("celsius")
    if type(celsius) is not dict or not set(map(type, celsius)) <= {str}:
        raise BadMessage(Reason.MALFORMED, "celsius is not a map of texts")
    return Temperature({part: number_of(celsius, part) for part in celsius})


def _decode_center(header: Header, _: Buffer) -> CenterOfMass:
    return CenterOfMass(number_of(header, "x"), number_of(header, "y"), number_of(header, "z"))


def _encode_detections(data: Detections) -> Encoded:
    found = [{"label": item.label, "score": item.score, "box": item.box} for item in data.detections]
    return {"detections": found}, None


def _decode_detections(header: Header, _: Buffer) -> Detections:
    return Detections(
        tuple(
            Detection(text_of(entry, "label"), fraction_of(entry, "score"), vector_of(entry, "box", 4))
            for entry in maps_of(header, "detections")
        )
    )


def _decode_estop(header: Header, _: Buffer) -> EStop:
    return EStop(flag_of(header, "pressed"))


def _decode_instruction(header: Header, _: Buffer) -> Instruction:
    return Instruction(text_of(header, "text"), text_of(header, "source"), fraction_of(header, "confidence"))


def _decode_result(header: Header, _: Buffer) -> TaskResult:
    return TaskResult(text_of(header, "task"), flag_of(header, "success"))


def _decode_deadman(header: Header, _: Buffer) -> Deadman:
    return Deadman(flag_of(header, "held"))


def _encode_ack(ack: CommandAck) -> Encoded:
    return {
        "command_seq": ack.seq,
        "command_stamp_ns": ack.command_stamp_ns,
        "mode": ack.mode.value,
    }, None


def _decode_ack(header: Header, _: Buffer) -> CommandAck:
    return CommandAck(
        natural_of(header, "command_seq"),
        natural_of(header, "command_stamp_ns"),
        member_of(CommandMode, header, "mode"),
    )


CODECS: dict[str, Codec] = {
    "image": Codec(encode_image, decode_image, has_payload=True),
    "compressed_image": Codec(encode_compressed, decode_compressed, has_payload=True),
    "laser_scan": Codec(encode_laser, decode_laser, has_payload=True),
    "point_cloud": Codec(encode_cloud, decode_cloud, has_payload=True),
    "joint_state": Codec(encode_joints, decode_joints, has_payload=True),
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
    "deadman": Codec(_plain("held"), _decode_deadman),
    "command_ack": Codec(_encode_ack, _decode_ack),
}
