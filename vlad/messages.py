"""What flows through vlad: sensor samples, action chunks and commands, as frozen types.

Units are SI and frames follow REP 103 and REP 105; names follow sensor_msgs, geometry_msgs and nav_msgs.
How they look on the wire is in wire/. Arrays are read-only views on the bytes that were received.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from math import inf
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float32]
Vector3: TypeAlias = tuple[float, float, float]
Quaternion: TypeAlias = tuple[float, float, float, float]
"""x, y, z, w."""


@dataclass(frozen=True, slots=True)
class Image:
    """`pixels` is (height, width, channels) uint8, or (height, width) for mono8, 16UC1 and 32FC1."""

    encoding: str
    pixels: NDArray[Any]


@dataclass(frozen=True, slots=True)
class CompressedImage:
    """A JPEG or PNG picture, not decoded yet: that is done in the inference thread."""

    format: str
    data: memoryview


@dataclass(frozen=True, slots=True)
class LaserScan:
    """`ranges` [m] counter-clockwise from `angle_min` [rad]; inf where nothing was hit, NaN where unknown."""

    angle_min: float
    angle_increment: float
    range_min: float
    range_max: float
    ranges: Floats


@dataclass(frozen=True, slots=True)
class PointCloud:
    """`points` is (n, len(fields)), float32."""

    fields: tuple[str, ...]
    points: Floats


@dataclass(frozen=True, slots=True)
class JointState:
    """One row of len(names) values for each field that the driver sends, None for the others.

    Radians or metres, rad/s or m/s, N m or N, degrees Celsius, amperes.
    """

    names: tuple[str, ...]
    position: Floats | None = None
    velocity: Floats | None = None
    effort: Floats | None = None
    temperature: Floats | None = None
    current: Floats | None = None


@dataclass(frozen=True, slots=True)
class Imu:
    """Orientation, angular velocity [rad/s], linear acceleration [m/s^2] with gravity."""

    orientation: Quaternion
    angular_velocity: Vector3
    linear_acceleration: Vector3


@dataclass(frozen=True, slots=True)
class Battery:
    """`percentage` is 0 to 1; volts, amperes (negative: discharging), degrees Celsius; NaN: not measured."""

    percentage: float
    voltage: float
    current: float
    temperature: float


@dataclass(frozen=True, slots=True)
class Wrench:
    """Newtons and newton metres."""

    force: Vector3
    torque: Vector3


@dataclass(frozen=True, slots=True)
class Twist:
    """m/s and rad/s in the frame that the header names."""

    linear: Vector3
    angular: Vector3


@dataclass(frozen=True, slots=True)
class Pose:
    """Metres and a unit quaternion."""

    position: Vector3
    orientation: Quaternion


@dataclass(frozen=True, slots=True)
class Odometry:
    """Where the base is in `frame_id`, and how it moves in `child_frame_id` (as nav_msgs/Odometry)."""

    child_frame_id: str
    position: Vector3
    orientation: Quaternion
    linear: Vector3
    angular: Vector3


@dataclass(frozen=True, slots=True)
class NearObject:
    """Something near: distance [m] (0: contact), velocity [m/s] (negative: coming closer)."""

    name: str
    distance: float
    velocity: float


@dataclass(frozen=True, slots=True)
class Proximity:
    objects: tuple[NearObject, ...]


@dataclass(frozen=True, slots=True)
class Power:
    watts: float


@dataclass(frozen=True, slots=True)
class Temperature:
    """Component name -> degrees Celsius."""

    celsius: dict[str, float]


@dataclass(frozen=True, slots=True)
class CenterOfMass:
    """Metres in base_link."""

    x: float
    y: float
    z: float


@dataclass(frozen=True, slots=True)
class Detection:
    """`box` is centre x, centre y, width, height [px], as vision_msgs/BoundingBox2D."""

    label: str
    score: float
    box: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Detections:
    detections: tuple[Detection, ...]


@dataclass(frozen=True, slots=True)
class EStop:
    pressed: bool


@dataclass(frozen=True, slots=True)
class Instruction:
    """What the robot is told to do; `source` is typed, speech or dataset, `confidence` is 0 to 1."""

    text: str
    source: str = "typed"
    confidence: float = 1.0


@dataclass(frozen=True, slots=True)
class TaskResult:
    task: str
    success: bool


@dataclass(frozen=True, slots=True)
class Deadman:
    """The enabling switch of a tele-operator; `held` while the person lets the robot move."""

    held: bool


@dataclass(frozen=True, slots=True)
class CommandAck:
    """What the motor driver follows now: sequence, stamp [ns] and mode of the command that it received."""

    seq: int
    command_stamp_ns: int
    mode: CommandMode


Data: TypeAlias = (
    Image
    | CompressedImage
    | LaserScan
    | PointCloud
    | JointState
    | Imu
    | Battery
    | Wrench
    | Twist
    | Pose
    | Odometry
    | Proximity
    | Power
    | Temperature
    | CenterOfMass
    | Detections
    | EStop
    | Instruction
    | TaskResult
    | Deadman
    | CommandAck
)

DATA_TYPES: dict[str, type[Data]] = {
    "image": Image,
    "compressed_image": CompressedImage,
    "laser_scan": LaserScan,
    "point_cloud": PointCloud,
    "joint_state": JointState,
    "imu": Imu,
    "battery": Battery,
    "wrench": Wrench,
    "twist": Twist,
    "pose": Pose,
    "odometry": Odometry,
    "proximity": Proximity,
    "power": Power,
    "temperature": Temperature,
    "center_of_mass": CenterOfMass,
    "detections": Detections,
    "estop": EStop,
    "instruction": Instruction,
    "task_result": TaskResult,
    "deadman": Deadman,
    "command_ack": CommandAck,
}
"""The `type` of a sensor message on the wire -> what it becomes."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One sensor message. Both times are CLOCK_MONOTONIC of this machine.

    `stamp_ns` is when the sensor measured (a sender's real-time stamp is translated at receipt),
    `received_ns` when vlad read it.
    """

    topic: str
    seq: int
    stamp_ns: int
    received_ns: int
    frame_id: str
    data: Data


class Kind(StrEnum):
    """What a command's numbers mean: m/s and rad/s; rad or m; offset from the measured position; rad/s."""

    TWIST = "twist"
    JOINT_POSITION = "joint_position"
    JOINT_DELTA = "joint_delta"
    JOINT_VELOCITY = "joint_velocity"


class CommandMode(StrEnum):
    """What the motor driver does with a command; the stops are the categories of IEC 60204-1.

    run: follow the values. hold: category 2, come to rest and stay there under power. stop1: category 1,
    come to rest, then power off. stop0: power off now. The values of hold and stop1 lead to rest; where
    there are none the driver brings the robot to rest itself.
    """

    RUN = "run"
    HOLD = "hold"
    STOP1 = "stop1"
    STOP0 = "stop0"


class Mode(StrEnum):
    """State of the daemon. BOOT -> DISARMED -> ACTIVE <-> DEGRADED -> STOPPING <-> STOPPED; any -> ESTOP."""

    BOOT = "boot"
    DISARMED = "disarmed"
    ACTIVE = "active"
    DEGRADED = "degraded"
    STOPPING = "stopping"
    STOPPED = "stopped"
    ESTOP = "estop"


class Request(StrEnum):
    """What vlad asks of the robot's own controller, on the `safety` topic."""

    BALANCE = "balance"
    """Recover the balance, whatever else was asked for."""
    REDUCE_FORCE = "reduce_force"
    CANCEL_ACTION = "cancel_action"
    """Drop what was planned ahead; the next command starts anew."""
    POWER_OFF = "power_off"


class Level(IntEnum):
    """How bad it is, for people; ordered."""

    SAFE = 0
    CAUTION = 1
    WARNING = 2
    DANGER = 3
    EMERGENCY = 4


@dataclass(frozen=True, slots=True)
class Doubt:
    """One measure of how unsure a policy is, and the calibrated limits above which the robot slows or stops.

    The limits are infinite where nobody calibrated the measure.
    """

    measure: str
    value: float
    slow: float = inf
    stop: float = inf


@dataclass(frozen=True, slots=True)
class Chunk:
    """What the policy wants to do next: `actions` is (horizon, len(names)) in the units of `kind`.

    Row k is meant for `stamp_ns + (k + 1) * step_ns`, where `stamp_ns` is the time of the frame it was made
    from. `collision` is the policy's own probability, 0 to 1, that following it ends in a collision,
    `uncertainty` its own doubt about the actions, 0 to 1; None where the model has no such head.
    `inference_ns` is the model's run alone; `doubts` has all that is measured of how sure the policy is.
    """

    seq: int
    stamp_ns: int
    ready_ns: int
    step_ns: int
    kind: Kind
    names: tuple[str, ...]
    actions: Floats
    instruction: str
    inference_ns: int
    collision: float | None = None
    uncertainty: float | None = None
    doubts: tuple[Doubt, ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """What the newest chunks say for this very moment, before any check: len(names) values.

    `stamp_ns` is the time of the frame behind it, `remaining_ns` how long the chunk still has steps;
    zero or less means that it is used up and `values` repeats its end.
    """

    stamp_ns: int
    remaining_ns: int
    kind: Kind
    names: tuple[str, ...]
    values: Floats
    collision: float | None
    uncertainty: float | None = None
    doubts: tuple[Doubt, ...] = ()


MAX_TTL_MS = 100
"""No command is valid for longer."""


@dataclass(frozen=True, slots=True)
class Command:
    """What goes to the motor driver. It is void `ttl_ms` after `stamp_ns` (CLOCK_MONOTONIC).

    `stamp_ns` is the moment that it was judged for. `values` has len(names) numbers, or none in a stop that
    the driver shapes itself. `source_stamp_ns` is the time of the frame that led to it, 0 where none did.
    """

    seq: int
    stamp_ns: int
    ttl_ms: int
    mode: CommandMode
    kind: Kind
    names: tuple[str, ...]
    values: Floats
    source_stamp_ns: int


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The `safety` topic, once a tick: what the daemon thinks of the robot, and asks of its controller.

    `faults` are fault ids.
    """

    seq: int
    stamp_ns: int
    mode: Mode
    level: Level
    faults: tuple[str, ...]
    requests: tuple[Request, ...] = ()
