"""Who speaks for a signal: the signal itself, its first healthy backup, or for a moment an estimate.

A signal that is missing, stale, frozen or without sense is replaced in the same judgement, and comes back
after it was healthy for `safety.failback_s`. A backup that fails is replaced at once by the next, or by the
signal itself. Where no source is healthy the signal's own fault is raised, unless it may be estimated:

* the odometry that is the robot's feedback, by dead reckoning on the commanded velocity;
* an imu, by turning its last orientation with the gyroscope of another imu in the same frame, 0.5 s at most.

Only while the robot is armed, and once per failure: the time runs on until the signal was healthy for
`safety.failback_s`. The estimate's uncertainty grows with time and counts against the robot: the estimated
velocity is that much larger, so that it confirms no standstill, the estimated orientation that much steeper.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import hypot, isfinite

import numpy as np

from vlad.clock import NS_PER_S
from vlad.messages import DATA_TYPES, Imu, JointState, LaserScan, Odometry, Quaternion, Sample, Vector3
from vlad.safety.motion import Limits, Vector
from vlad.safety.rotation import rotate, turn
from vlad.safety.view import Inputs, Rules

_IMU_NS = NS_PER_S // 2
"""A gyroscope's drift is small for this long, and a frozen imu's last orientation old enough."""
_UNCERTAIN_AT_ONCE, _UNCERTAIN_PER_S = 0.05, 0.15
"""Of the velocity limits, by which an estimated velocity may be wrong. The first is more than standstill
(motion.REST_FRACTION), their sum less than what a healthy base may deviate from its command."""
_TILTS_RAD_PER_S = 0.05
"""An estimated orientation may be wrong by this, and is farther from upright by as much."""
_LEVEL = 1e-9
"""Closer to upright than this [rad] every direction leads away from it."""


@dataclass(frozen=True, slots=True)
class StandIn:
    """What speaks for a signal that failed."""

    source: str
    """The topic that stands in; of an estimate: what it is made from."""
    problem: str
    """What is wrong with the signal itself."""
    part: float = 0.0
    """How much of an estimate's time is used up, 0 to 1."""


class Sources:
    """Owned by the kernel, fed with the raw inputs of each judgement."""

    def __init__(self, rules: Rules) -> None:
        self.replaced: dict[str, StandIn] = {}
        self.estimated: dict[str, StandIn] = {}
        self.topics: dict[str, str] = {}
        """Signal -> the backup that stands in for it; the same object for good."""
        self.estimates: dict[str, Sample] = {}
        """Signal -> its estimate; the same object for good."""
        self._rules = rules
        self._feeds = tuple(
            _Feed(topic, rules) for topic, known in rules.settings.signals.items()
            if known.backups or known.estimate_s
        )  # fmt: skip

    def choose(self, inputs: Inputs, frozen: Mapping[str, str], commanded: Vector, *, armed: bool) -> None:
        """Decide for this judgement. `frozen` are the frozen signals, `commanded` the velocities."""
        if not self._feeds:
            return
        for known in (self.replaced, self.estimated, self.topics, self.estimates):
            known.clear()
        for feed in self._feeds:
            used = feed.choose(inputs, frozen)
            if used is None:
                self._estimate(feed, inputs, commanded, armed)
            elif used != feed.topic:
                problem = feed.problem or f"not healthy for {feed.failback_ns / NS_PER_S:g} s yet"
                self.replaced[feed.topic] = StandIn(used, problem)
                self.topics[feed.topic] = used

    def stand_in(self, inputs: Inputs) -> Inputs:
        """The inputs with each failed signal's sample replaced by that of the source that was chosen."""
        if not (self.topics or self.estimates):
            return inputs
        samples = dict(inputs.samples)
        for topic, source in self.topics.items():
            samples[topic] = inputs.samples[source]
        samples.update(self.estimates)
        return replace(inputs, samples=samples)

    def stands_in(self, topic: str) -> bool:
        """Whether something healthy speaks for this signal that failed: its own age means nothing then."""
        return topic in self.topics or topic in self.estimates

    def _estimate(self, feed: _Feed, inputs: Inputs, commanded: Vector, armed: bool) -> None:
        now_ns = inputs.now_ns
        if feed.believed is None or not armed:
            return
        if feed.estimated_ns is None:
            feed.estimated_ns = now_ns
        since_ns = now_ns - feed.estimated_ns
        if since_ns >= feed.estimate_ns:
            return
        made: tuple[str, Sample] | None = None
        match feed.believed.data:
            case Imu() as imu:
                made = _turned(feed, feed.believed, imu, inputs)
            case Odometry() as odometry if feed.topic == self._rules.robot.feedback:
                made = "the commands", self._reckoned(feed.believed, odometry, now_ns, commanded, since_ns)
        if made is not None:
            source, feed.believed = made
            self.estimates[feed.topic] = feed.believed
            part = since_ns / feed.estimate_ns
            self.estimated[feed.topic] = StandIn(source, feed.problem, part)

    def _reckoned(
        self, last: Sample, odometry: Odometry, now_ns: int, commanded: Vector, since_ns: int
    ) -> Sample:
        """Dead reckoning: the base moves as it is commanded, along the arc of its present pose."""
        linear, angular = _twist(commanded, self._rules.limits)
        dt_s = max(0, now_ns - last.stamp_ns) / NS_PER_S
        ahead = rotate(turn(odometry.orientation, angular, dt_s / 2), linear)
        x, y, z = (p + v * dt_s for p, v in zip(odometry.position, ahead, strict=True))
        orientation = turn(odometry.orientation, angular, dt_s)
        linear, angular = _twist(_widened(commanded, self._rules.limits, since_ns), self._rules.limits)
        data = replace(odometry, position=(x, y, z), orientation=orientation, linear=linear, angular=angular)
        return replace(last, stamp_ns=now_ns, received_ns=now_ns, data=data)


class _Feed:
    """One signal with backups or an estimate, and which of its sources is used."""

    def __init__(self, topic: str, rules: Rules) -> None:
        signals, known = rules.settings.signals, rules.settings.signals[topic]
        self.topic = topic
        self.problem = ""
        """What is wrong with the signal itself; empty: nothing."""
        self.failback_ns = round(rules.settings.safety.failback_s * NS_PER_S)
        limit_ns = _IMU_NS if known.type == "imu" else NS_PER_S
        self.estimate_ns = min(limit_ns, round(known.estimate_s * NS_PER_S))
        self.estimated_ns: int | None = None
        """Since when it is estimated; kept until it was healthy for long enough."""
        self.believed: Sample | None = None
        """The newest sample that was healthy, or the newest estimate."""
        self.gyroscopes = tuple(
            (other, rules.signals[other]) for other in signals
            if signals[other].type == known.type == "imu" and other != topic
        )  # fmt: skip
        self._type = DATA_TYPES[known.type]
        self._names = tuple(rules.robot.axes) if topic == rules.robot.feedback else ()
        self._rules = {source: rules.signals[source] for source in (topic, *known.backups)}
        self._checked: dict[str, tuple[Sample, str]] = {}
        self._used = topic
        self._healthy_ns: int | None = None
        """Since when the signal itself is healthy."""

    def choose(self, inputs: Inputs, frozen: Mapping[str, str]) -> str | None:
        """The source to use from now on; None: there is no healthy one."""
        now_ns = inputs.now_ns
        self.problem = self._problem(self.topic, inputs, frozen)
        if self.problem:
            self._healthy_ns = None
        elif self._healthy_ns is None:
            self._healthy_ns = now_ns
        recovered = self._healthy_ns is not None and now_ns - self._healthy_ns >= self.failback_ns
        if recovered:
            self.estimated_ns = None
        used = self._used
        if used != self.topic and (recovered or self._problem(used, inputs, frozen)):
            used = self.topic
        if used == self.topic and self.problem:
            sources = (source for source in self._rules if not self._problem(source, inputs, frozen))
            found = next(sources, None)
            self._used = found or self.topic
            return found
        self._used = used
        if used == self.topic:
            self.believed = inputs.samples[used]
        return used

    def _problem(self, source: str, inputs: Inputs, frozen: Mapping[str, str]) -> str:
        """Why this source cannot be used; empty: it can."""
        sample = inputs.samples.get(source)
        if sample is None:
            return "never came"
        if problem := self._rules[source].age_problem(sample, inputs.now_ns) or frozen.get(source):
            return problem
        known = self._checked.get(source)
        if known is None or known[0] is not sample:
            known = self._checked[source] = (sample, _senseless(sample, self._type, self._names))
        return known[1]


def _turned(feed: _Feed, last: Sample, imu: Imu, inputs: Inputs) -> tuple[str, Sample] | None:
    """The last orientation, turned with the gyroscope of the first other imu that can; None: none can."""
    for topic, rule in feed.gyroscopes:
        sample = inputs.samples.get(topic)
        if sample is None or rule.age_problem(sample, inputs.now_ns) or sample.frame_id != last.frame_id:
            continue
        if not isinstance(sample.data, Imu) or _senseless(sample, Imu, ()):
            continue
        stamp_ns = max(sample.stamp_ns, last.stamp_ns)
        dt_s = (stamp_ns - last.stamp_ns) / NS_PER_S
        turned = turn(imu.orientation, sample.data.angular_velocity, dt_s)
        data = replace(sample.data, orientation=turn(turned, _falling(turned), dt_s))
        return topic, replace(sample, topic=feed.topic, stamp_ns=stamp_ns, data=data)
    return None


def _senseless(sample: Sample, wanted: type, names: tuple[str, ...]) -> str:
    """What makes this sample useless at any age; empty: nothing. `names` are the joints it must have."""
    data = sample.data
    if type(data) is not wanted:
        return f"carries a {type(data).__name__}"
    match data:
        case LaserScan():
            angles = (data.angle_min, data.angle_increment, data.range_min, data.range_max)
            sound = bool(len(data.ranges)) and all(map(isfinite, angles))
        case JointState():
            rows = [row for row in (data.position, data.velocity) if row is not None]
            sound = all(row.shape == (len(data.names),) and bool(np.isfinite(row).all()) for row in rows)
            sound = sound and set(names) <= set(data.names)
        case Odometry():
            sound = all(map(isfinite, (*data.position, *data.orientation, *data.linear, *data.angular)))
        case Imu():
            sound = all(map(isfinite, (*data.orientation, *data.angular_velocity, *data.linear_acceleration)))
        case _:
            sound = True
    return "" if sound else "makes no sense"


def _widened(commanded: Vector, limits: Limits, since_ns: int) -> Vector:
    """The commanded velocities, farther from zero by what they may be wrong."""
    uncertain = (_UNCERTAIN_AT_ONCE + _UNCERTAIN_PER_S * since_ns / NS_PER_S) * limits.velocity
    speed: Vector = commanded + np.where(commanded < 0, -uncertain, uncertain)
    return speed


def _twist(speed: Vector, limits: Limits) -> tuple[Vector3, Vector3]:
    """Speeds in the order of the axes as linear and angular velocity."""
    parts = {"linear": [0.0, 0.0, 0.0], "angular": [0.0, 0.0, 0.0]}
    for name, value in zip(limits.names, speed.tolist(), strict=True):
        parts[name[:-2]]["xyz".index(name[-1])] = value
    (x, y, z), (roll, pitch, yaw) = parts["linear"], parts["angular"]
    return (x, y, z), (roll, pitch, yaw)


def _falling(orientation: Quaternion) -> Vector3:
    """The turn rate, in the body's own frame, that leads straight away from upright; from there it rolls."""
    x, y, z, w = orientation
    up_x, up_y, _ = rotate((-x, -y, -z, w), (0.0, 0.0, 1.0))
    tilt = hypot(up_x, up_y)
    if tilt < _LEVEL:
        return _TILTS_RAD_PER_S, 0.0, 0.0
    return _TILTS_RAD_PER_S * up_y / tilt, -_TILTS_RAD_PER_S * up_x / tilt, 0.0
