"""False values that are well formed: what kind `wrong` makes of a message, by its type.

| type | what it says instead |
|---|---|
| image, compressed_image | the picture upside down, as of a camera mounted the wrong way |
| laser_scan, point_cloud | everything three times as far, up to the largest range |
| joint_state | positions off by 0.6, the other fields times 3 |
| imu | rolled by 30 degrees more, turning three times as fast |
| battery | what has been used up in place of what is left |
| wrench, twist, odometry, power | times 3 |
| pose | 1 m farther in x |
| proximity | nothing where something is; a touch where nothing is |
| temperature | 60 degrees more |
| center_of_mass | 0.3 m farther in x |
| detections | the boxes 100 px to the right |
| estop, deadman, task_result | the opposite |
| instruction | another sentence |
| command_ack | hold in place of run, run in place of anything else |
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from vlad.messages import (
    Battery,
    CenterOfMass,
    CommandAck,
    CommandMode,
    CompressedImage,
    Data,
    Deadman,
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
    Vector3,
    Wrench,
)

TIMES = 3.0
ROLL_RAD = float(np.pi / 6)
JOINT_OFFSET = 0.6
DEGREES = 60.0
SENTENCE = "turn round and go away"


def falsify(data: Data) -> Data:
    """The same type and shape, with false values."""
    return _MAKERS[type(data)](data)


def _times(vector: Vector3) -> Vector3:
    x, y, z = vector
    return TIMES * x, TIMES * y, TIMES * z


def _image(image: Image) -> Image:
    return Image(image.encoding, np.ascontiguousarray(image.pixels[::-1, ::-1]))


def _compressed(image: CompressedImage) -> CompressedImage:
    import cv2  # 0.1 s, for this type alone

    pixels = cv2.imdecode(np.frombuffer(image.data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        return image
    _, encoded = cv2.imencode(f".{image.format}", pixels[::-1, ::-1])
    return CompressedImage(image.format, memoryview(encoded.tobytes()))


def _laser(scan: LaserScan) -> LaserScan:
    hit = np.isfinite(scan.ranges)
    ranges = scan.ranges.copy()
    ranges[hit] = np.minimum(TIMES * ranges[hit], scan.range_max)
    return replace(scan, ranges=ranges)


def _joints(state: JointState) -> JointState:
    fields = {
        field: TIMES * row
        for field in ("velocity", "effort", "temperature", "current")
        if (row := getattr(state, field)) is not None
    }
    if state.position is not None:
        fields["position"] = state.position + np.float32(JOINT_OFFSET)
    return replace(state, **fields)


def _imu(imu: Imu) -> Imu:
    x, y, z, w = imu.orientation
    sin, cos = float(np.sin(ROLL_RAD / 2)), float(np.cos(ROLL_RAD / 2))
    rolled = (cos * x + sin * w, cos * y + sin * z, cos * z - sin * y, cos * w - sin * x)
    return replace(imu, orientation=rolled, angular_velocity=_times(imu.angular_velocity))


def _odometry(odometry: Odometry) -> Odometry:
    return replace(
        odometry,
        position=_times(odometry.position),
        linear=_times(odometry.linear),
        angular=_times(odometry.angular),
    )


def _pose(pose: Pose) -> Pose:
    x, y, z = pose.position
    return replace(pose, position=(x + 1.0, y, z))


def _detections(data: Detections) -> Detections:
    moved = (
        replace(one, box=(one.box[0] + 100.0, one.box[1], one.box[2], one.box[3])) for one in data.detections
    )
    return Detections(tuple(moved))


def _ack(ack: CommandAck) -> CommandAck:
    return replace(ack, mode=CommandMode.HOLD if ack.mode is CommandMode.RUN else CommandMode.RUN)


_MAKERS: dict[type[Data], Callable[[Any], Data]] = {
    Image: _image,
    CompressedImage: _compressed,
    LaserScan: _laser,
    PointCloud: lambda cloud: replace(cloud, points=np.float32(TIMES) * cloud.points),
    JointState: _joints,
    Imu: _imu,
    Battery: lambda battery: replace(battery, percentage=1.0 - battery.percentage),
    Wrench: lambda wrench: Wrench(_times(wrench.force), _times(wrench.torque)),
    Twist: lambda twist: Twist(_times(twist.linear), _times(twist.angular)),
    Pose: _pose,
    Odometry: _odometry,
    Proximity: lambda near: Proximity(() if near.objects else (NearObject("ghost", 0.0, 0.0),)),
    Power: lambda power: Power(TIMES * power.watts),
    Temperature: lambda heat: Temperature({part: value + DEGREES for part, value in heat.celsius.items()}),
    CenterOfMass: lambda center: replace(center, x=center.x + 0.3),
    Detections: _detections,
    EStop: lambda button: EStop(not button.pressed),
    Instruction: lambda instruction: replace(instruction, text=SENTENCE),
    TaskResult: lambda result: replace(result, success=not result.success),
    Deadman: lambda switch: Deadman(not switch.held),
    CommandAck: _ack,
}
