"""What may stand in a robot's limits file, etc/robots/*.toml: what it is, and what it must never do."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

from pydantic import StrictBool, model_validator

from vlad.messages import Kind
from vlad.schema import Finite, Fraction, NotNegative, Positive, Section

TWIST_AXES = ("linear_x", "linear_y", "linear_z", "angular_x", "angular_y", "angular_z")

Point: TypeAlias = tuple[Finite, Finite, Finite]
"""x, y, z [m]."""


class Axis(Section):
    """Limits of one number of the command: a joint, or linear_x [m/s] or angular_z [rad/s] of a twist.

    For a twist `velocity` bounds the number itself and `acceleration` its change. For joints `lower` and
    `upper` [rad or m] bound the position, `velocity` and `acceleration` its change.
    """

    velocity: Positive
    acceleration: Positive
    deceleration: Positive | None = None
    """Used in stops; the same as acceleration where it is not given."""
    jerk: Positive | None = None
    """How fast the command's acceleration may build up [unit/s^3]. Braking is never held back by it."""
    lower: Finite | None = None
    upper: Finite | None = None
    soft_margin: NotNegative = 0.0
    """Nearer than this to lower or upper the robot moves slowly [rad or m]; 0: no such zone."""
    effort: Positive | None = None
    """The largest torque or force that may be measured [N m or N]."""
    current: Positive = 10.0
    """The largest motor current [A]."""
    temperature: Positive = 80.0
    """The hottest the motor may get [degrees Celsius]."""
    following_error: Positive = 0.5
    """How far the measured position may be from the commanded one [rad or m]."""
    safe_position: Finite | None = None
    """Where the joint is parked when it is faulty and not critical [rad or m]."""
    compensated_by: tuple[str, ...] = ()
    """The joints that take over what a parked one cannot do: named to the robot's controller and operator."""

    @model_validator(mode="after")
    def _ordered(self) -> Axis:
        if (self.lower is None) != (self.upper is None):
            raise ValueError("lower and upper belong together: give both or neither")
        if self.lower is None or self.upper is None:
            return self
        if self.lower >= self.upper:
            raise ValueError(f"lower ({self.lower}) must be below upper ({self.upper})")
        if 2 * self.soft_margin >= self.upper - self.lower:
            raise ValueError(f"soft_margin ({self.soft_margin}) leaves nothing between lower and upper")
        if self.safe_position is not None and not self.lower <= self.safe_position <= self.upper:
            raise ValueError(f"safe_position ({self.safe_position}) is not between lower and upper")
        return self


class Laser(Section):
    """A laser scanner and where it is mounted, in base_link."""

    signal: str
    x: Finite = 0.0
    y: Finite = 0.0
    yaw: Finite = 0.0


class ObstacleStop(Section):
    """Stop for what is in the way: the base is a disc, the way a corridor as wide as it."""

    lasers: tuple[Laser, ...]
    """The scans that watch the way; together they must cover it."""
    proximity: tuple[str, ...] = ()
    """Proximity signals that count as in the way, whatever the direction."""
    radius: Positive
    """Of the base with all that stands out [m]."""
    margin: NotNegative = 0.05
    """Free space that must remain when the robot has come to rest [m]."""
    reaction_s: NotNegative = 0.1
    """From the measurement of an obstacle to the first braking of the motors."""

    @model_validator(mode="after")
    def _sees(self) -> ObstacleStop:
        if not self.lasers:
            raise ValueError("lasers: at least one scan must watch the way")
        return self


class Zone(Section):
    """An axis-parallel box in the frame of the pose [m]."""

    name: str = ""
    min: Point
    max: Point

    @model_validator(mode="after")
    def _has_volume(self) -> Zone:
        if not all(low < high for low, high in zip(self.min, self.max, strict=True)):
            raise ValueError(f"no volume: min {self.min} must be below max {self.max} in x, y and z")
        return self


class Workspace(Section):
    """Where the end effector may be. Its pose comes from a `pose` signal, or from the joints and a URDF."""

    pose: str = ""
    """Signal of type pose."""
    urdf: Path | None = None
    """Description of the arm, relative to this file; needs the extra `kinematics` and joint positions."""
    tip: str = ""
    """The link of the URDF that is the end effector."""
    box: Zone | None = None
    """It must stay in here."""
    keep_out: tuple[Zone, ...] = ()
    """And out of these."""

    @model_validator(mode="after")
    def _has_a_source(self) -> Workspace:
        if bool(self.pose) == (self.urdf is not None):
            raise ValueError("the end effector's pose comes from `pose` or from `urdf`: give one of them")
        if self.urdf is not None and not self.tip:
            raise ValueError("urdf needs tip, the link that is the end effector")
        if self.box is None and not self.keep_out:
            raise ValueError("a workspace needs a box, keep_out zones, or both")
        return self


class Separation(Section):
    """Speed and separation monitoring, ISO/TS 15066 5.5.4: how near a person may be while the robot moves.

    S = v_h (T_r + T_s) + v_r T_r + S_s + C + Z_d + Z_r. T_s and S_s follow from the speed and deceleration
    where they are not given. A distance that is not known counts as 0.
    """

    signal: str
    """Proximity signal; every object in it that is not named in `ignore` counts as a person."""
    ignore: tuple[str, ...] = ()
    person_speed: NotNegative = 1.6
    """v_h [m/s]; 1.6 as ISO 13855."""
    reaction_s: NotNegative = 0.1
    """T_r: from the measurement of a person to the first braking."""
    stopping_s: NotNegative | None = None
    """T_s: from the first braking to rest."""
    stopping_m: NotNegative | None = None
    """S_s: the way during T_s [m]."""
    robot_speed: Positive | None = None
    """v_r [m/s], towards the person; None: the base's measured speed. An arm must give it."""
    intrusion: NotNegative = 0.1
    """C: how far a person reaches in before the sensor sees them [m]."""
    person_uncertainty: NotNegative = 0.1
    """Z_d [m]."""
    robot_uncertainty: NotNegative = 0.05
    """Z_r [m]."""


class Contact(Section):
    """Forces that mean a collision."""

    signal: str
    """Signal of type wrench."""
    force: Positive = 30.0
    """[N]"""
    torque: Positive | None = None
    """[N m]; None: not looked at."""


class Body(Section):
    """Limits of the whole robot; each holds for every signal of its type."""

    center_of_mass: Positive = 0.2
    """How far it may be from the centre of support, in the plane [m]."""
    tilt: Positive = 0.2618
    """Roll or pitch [rad]; 15 degrees."""
    power: Positive | None = None
    """[W]; None: not looked at."""
    temperature: Positive = 80.0
    """Of any component [degrees Celsius]."""
    battery_low: Fraction = 0.2
    battery_critical: Fraction = 0.1

    @model_validator(mode="after")
    def _ordered(self) -> Body:
        if self.battery_critical > self.battery_low:
            raise ValueError("battery_critical must not be above battery_low")
        return self


class Robot(Section):
    """A robot's limits file."""

    name: str
    type: str
    """Bundles name the robot type that they were trained for; it must be this one."""
    simulated: StrictBool = False
    """There are no motors: tools may inject faults while it is armed."""
    command: Kind
    axes: dict[str, Axis]
    """In the order in which commands list them."""
    critical: tuple[str, ...] | None = None
    """Axes without which the robot must stop; a faulty other one is parked. None: all."""
    feedback: str = ""
    """The odometry or joint_state signal that tells how the robot really moves; empty: there is none."""
    acknowledged: str = ""
    """The command_ack signal in which the motor driver says what it follows; empty: there is none."""
    obstacle: ObstacleStop | None = None
    workspace: Workspace | None = None
    separation: Separation | None = None
    contact: Contact | None = None
    body: Body = Body()

    @model_validator(mode="after")
    def _complete(self) -> Robot:
        if not self.axes:
            raise ValueError("a robot needs at least one axis, [axes.NAME]")
        unbounded = [name for name, axis in self.axes.items() if axis.lower is None]
        if self.command in (Kind.JOINT_POSITION, Kind.JOINT_DELTA):
            if unbounded:
                raise ValueError(f"joint positions need lower and upper; missing for {', '.join(unbounded)}")
            if not self.feedback:
                raise ValueError("joint positions start where the joints are measured: feedback is missing")
        if self.command is Kind.JOINT_VELOCITY and not self.feedback and len(unbounded) < len(self.axes):
            raise ValueError("lower and upper hold where the joints are measured: feedback is missing")
        unknown = [name for name in self.axes if name not in TWIST_AXES]
        if self.command is Kind.TWIST and unknown:
            raise ValueError(f"a twist has the axes {', '.join(TWIST_AXES)}; not {', '.join(unknown)}")
        return self

    @model_validator(mode="after")
    def _watches_its_way(self) -> Robot:
        drives = self.command is Kind.TWIST and "linear_x" in self.axes and "linear_y" not in self.axes
        if self.obstacle is not None and not drives:
            raise ValueError("obstacle is for a base that takes twists, with the axis linear_x, not linear_y")
        if self.separation is not None and not drives and self.separation.robot_speed is None:
            raise ValueError("separation.robot_speed is missing: only a base measures how fast it comes near")
        if self.workspace is not None and self.workspace.urdf is not None and self.command is Kind.TWIST:
            raise ValueError("workspace.urdf needs joints; this robot takes twists")
        return self

    @model_validator(mode="after")
    def _parks(self) -> Robot:
        """What is not critical must be able to be parked."""
        named = {name for axis in self.axes.values() for name in axis.compensated_by}
        if unknown := sorted((named | set(self.critical or ())) - set(self.axes)):
            raise ValueError(f"critical or compensated_by name {', '.join(unknown)}: no such axes")
        for name, axis in self.axes.items():
            if name in axis.compensated_by:
                raise ValueError(f"axes.{name}.compensated_by: a joint cannot stand in for itself")
            if self.critical is not None and name not in self.critical and axis.safe_position is None:
                raise ValueError(f"axes.{name} is not critical, so it needs a safe_position to be parked at")
        if self.critical is not None and self.command is not Kind.JOINT_POSITION:
            raise ValueError("critical is for joint_position: other commands have no position to park at")
        return self
