"""Compare each sensor, with the robot at rest, with its reference.

IMU: bias and gravity. Cameras: sharpness, exposure, dirt. Force sensors: zero and drift. Joints: offsets in
the reference pose.
`--reference` stores what is measured as the reference from now on.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import hypot
from typing import Any

from vlad.clock import SystemClock
from vlad.maintenance.finding import result
from vlad.maintenance.job import Job, Result
from vlad.maintenance.sensors import shelf
from vlad.maintenance.sensors.examine import KINDS, examine
from vlad.maintenance.sensors.figure import Figure
from vlad.maintenance.sensors.listen import listen
from vlad.messages import Odometry

_AT_REST = ("disarmed", "stopped", "estop")
_BAD = ("warning", "problem")
_MOVING = 0.05
"""m/s or rad/s, of odometry that is not noise."""


def run(job: Job) -> Result:
    mode = job.status.get("mode")
    if mode not in _AT_REST:
        return Result("failed", f"the robot is {mode}: sensors are checked at rest; vladctl disarm")
    kinds = {topic: known.type for topic, known in job.settings.signals.items() if known.type in KINDS}
    bases = [topic for topic, known in job.settings.signals.items() if known.type == "odometry"]
    if not kinds:
        return Result("ok", "no signal in the settings is of a kind that can be checked")
    limits = job.settings.maintenance.calibration_check
    run_dir = job.settings.paths.run_dir
    heard = listen(run_dir, (*kinds, *bases), limits.seconds, SystemClock(), job.progress)
    if not any(heard.values()):
        return Result("failed", f"nothing arrived from {run_dir}/feed.sock: does vlad run there?")
    if moving := [topic for topic in bases if _moves(heard[topic])]:
        return Result("failed", f"the robot moves, says {moving[0]}: bring it to rest, and try again")
    job.progress(0.95, "comparing")
    figures: list[Figure] = []
    for topic, kind in kinds.items():
        try:
            figures += _check(job, topic, kind, heard[topic])
        except OSError as error:
            return Result("failed", f"{error.filename}: {error.strerror}; nothing can be kept there")
    return result(figures)


def _check(job: Job, topic: str, kind: str, data: Sequence[Any]) -> list[Figure]:
    """Judge one sensor, and keep what came of it."""
    limits = job.settings.maintenance.calibration_check
    path = shelf.file_of(job.settings.paths.state_dir, topic)
    kept, corrupt = shelf.read(path, topic, kind)
    reference, told = kept.reference, [corrupt] if corrupt else []
    if job.params.get("reference"):
        alone = examine(topic, data, None, job.robot, limits)
        if alone.values is not None and not any(figure.state in _BAD for figure in alone.figures):
            reference = shelf.Reference(wall_ns=job.wall_ns, values=alone.values)
            told.append(Figure("ok", topic, "what it measures now is its reference"))
        else:
            why = "what it measures now is not good enough to be its reference"
            told.append(Figure("warning", topic, why, "mend what else is said of it, and try again"))
    figures = examine(topic, data, reference.values if reference else None, job.robot, limits).figures
    if not figures:
        return []
    shelf.write(path, shelf.add(kept, job.wall_ns, figures, limits.records, reference))
    return [*told, *figures]


def _moves(odometry: Sequence[Odometry]) -> bool:
    """More than half of the time, so that a single wrong value is none."""
    fast = [hypot(*one.linear) > _MOVING or hypot(*one.angular) > _MOVING for one in odometry]
    return 2 * sum(fast) > len(fast)
