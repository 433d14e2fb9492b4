"""The tables of the checks below [maintenance] of vlad.toml: what they hold against what they find."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StrictBool

from vlad.maintenance.task_settings import Priority, TaskSettings, When
from vlad.schema import Finite, Fraction, NotNegative, Positive


class CalibrationCheckSettings(TaskSettings):
    """calibration_check: what is wrong with a sensor. Three times as far off is a problem, not a warning."""

    schedule: When = "weekly mon 12:30"
    """By day: cameras need light."""
    only_disarmed: StrictBool = True
    seconds: Annotated[float, Field(gt=0, le=60, strict=True)] = 5.0
    """So long the sensors are listened to, with the robot at rest."""
    gyro_bias: Positive = 0.02
    """Angular velocity at rest, or its change since the reference [rad/s]. 1 degree/s is what data sheets of
    good MEMS gyroscopes allow (Bosch BMI088: +-1 degree/s)."""
    acceleration: Positive = 0.3
    """Of the acceleration at rest from standard gravity, 9.80665 m/s^2 [m/s^2]. On Earth gravity is 9.76 to
    9.83, and MEMS accelerometers are off by 20 to 50 mg (BMI088, MPU-6050)."""
    tilt: Positive = 0.05
    """Of gravity's direction from the reference [rad]; 3 degrees. A floor that is not level counts, too."""
    sharpness: Fraction = 0.4
    """The part of a camera's sharpness or contrast that may be lost since the reference, in all or a part of
    the picture."""
    brightness: Fraction = 0.25
    """Change of the mean brightness since the reference, 0 to 1."""
    clipped: Fraction = 0.2
    """The part of the picture that is black or white."""
    view: Fraction = 0.6
    """The correlation with the reference picture below which a camera sees something else, 0 to 1."""
    force: Positive = 1.0
    """Of an unloaded force sensor from zero or from the reference, and its drift meanwhile [N]."""
    torque: Positive = 0.05
    """[N m]"""
    joint: Positive = 0.02
    """Of a joint from where it is in the reference pose [rad or m]; 1 degree."""
    pose: dict[str, Finite] = Field(default_factory=dict)
    """The reference pose: joint -> [rad or m]. Of joints that are not named, the stored reference is it."""
    near: Positive = 0.2
    """A joint farther than this from the reference pose is not meant to be in it [rad or m]."""
    records: Annotated[int, Field(ge=1, le=10_000, strict=True)] = 200
    """So many results of each sensor are kept."""


class HardwareCheckSettings(TaskSettings):
    """hardware_check: from when on parts of this computer are worn."""

    schedule: When = "daily 04:15, warning"
    priority: Priority = "high"
    disk_worn: Fraction = 0.8
    """The part of its rated life that a disk has used up."""
    disk_temperature: Positive = 70.0
    """[degrees Celsius]; most disks are rated for operation up to 70."""
    timeout_s: Positive = 30.0
    """smartctl has so long for each disk; one that sleeps takes some seconds to wake."""


class SecurityScanSettings(TaskSettings):
    """security_scan: what is expected on this computer."""

    schedule: When = "weekly sun 05:00"
    ports: tuple[Annotated[int, Field(ge=1, le=65535, strict=True)], ...] = (22,)
    """TCP ports on which other programs may be reached from outside; vlad's own stand in its settings."""


class PerformanceReviewSettings(TaskSettings):
    """performance_review: when something got worse from one span to the next."""

    schedule: When = "weekly mon 05:30"
    priority: Priority = "low"
    days: Annotated[int, Field(ge=4, le=28, strict=True)] = 7
    """The last so many days are compared with as many before."""
    worse: NotNegative = 0.1
    """It must be worse by this part at least ..."""
    false_alarms: Annotated[float, Field(gt=0, le=0.5, strict=True)] = 0.05
    """... and by more than chance: so often, at most, a review may tell of something that did not change."""
