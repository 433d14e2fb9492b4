"""What a judgement looks at: the inputs, the rules, and what the kernel remembers of the turns before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from vlad.clock import NS_PER_S
from vlad.config import Settings, SignalSettings, named_signals
from vlad.messages import CommandMode, Floats, Sample, Step
from vlad.robot import Robot
from vlad.safety.axes import AxisWatch, RecentCommands
from vlad.safety.looks import Looks
from vlad.safety.motion import Limits, Motion, Vector
from vlad.safety.obstacle import Surroundings, enough_way_m
from vlad.safety.reaction import Finding
from vlad.safety.stop import StopPlan
from vlad.safety.workspace import TipWatch

if TYPE_CHECKING:
    from vlad.safety.failover import Sources
    from vlad.safety.signals import SignalMonitor

FUTURE_NS = 50_000_000
"""A stamp may be this far ahead: the sample came after the judgement's time was read."""
_EVER_NS = 2**63
_EVENTS = ("instruction", "task_result")
_BODY = ("battery", "center_of_mass", "imu", "power", "temperature")


class Counts(Protocol):
    """What came on a topic since the start."""

    received: int
    gaps: int
    """Numbers missing in the sequence."""
    refused: int
    """Bad messages, of all reasons."""
    off_clock: int
    """Those of them whose stamp was in the future or too old."""


@dataclass(frozen=True, slots=True)
class Computer:
    """How much of this computer is used, 0 to 1; NaN: not measured."""

    stamp_ns: int
    cpu: float
    memory: float
    gpu_memory: float
    disk: float
    celsius: float
    """Of the hottest sensor."""


@dataclass(frozen=True, slots=True)
class GuardReport:
    """What the guard says of itself."""

    stamp_ns: int
    state: Literal["watching", "stopping", "estop"]
    reason: str = ""
    """Why it stops the robot."""


@dataclass(slots=True)
class Inputs:
    """All that one judgement may know. Nobody changes it; frozen, it takes three times as long to make."""

    now_ns: int
    samples: Mapping[str, Sample]
    """The newest good sample of each topic; missing: it never came."""
    step: Step | None = None
    """What the follower proposes for now; None: it has no chunk."""
    task: str = ""
    """The standing instruction."""
    inference_since_ns: int | None = None
    """When the inference that runs now began."""
    missed_ticks: int = 0
    """Periods missed since the last judgement."""
    early: bool = False
    """A turn between two ticks."""
    failed_parts: tuple[str, ...] = ()
    """Parts the daemon cannot do without that died."""
    counts: Mapping[str, Counts] = field(default_factory=dict)
    """What came on each topic since the start."""
    overflows: int = 0
    """Entries that bounded queues lost since the start."""
    computer: Computer | None = None
    """The newest measurement of this computer; None: there is none yet."""
    listeners: int | None = None
    """Motor drivers that are connected; None: not known."""
    guard: GuardReport | None = None
    """The newest word of the guard; None: it never spoke."""
    policy_lost: str = ""
    """Why the model or its server does not answer; empty: it does."""
    fallback: str = ""
    """Which policy drives in place of the other, and why; empty: none does."""
    reading: str = ""
    """The bundle that is being read, so that ticks may come late; empty: none."""


class Watched:
    """A signal that the safety tick insists on. An event, as an instruction is, must come but has no age."""

    __slots__ = ("estop", "max_age_ns", "max_ahead_ns", "topic")

    def __init__(self, topic: str, settings: SignalSettings) -> None:
        self.topic = topic
        event = settings.type in _EVENTS
        self.max_age_ns = _EVER_NS if event else round(settings.max_age_s * NS_PER_S)
        self.max_ahead_ns = _EVER_NS if event else FUTURE_NS
        self.estop = settings.type == "estop"

    def age_problem(self, sample: Sample, now_ns: int) -> str:
        """Why this sample may not be trusted any more; empty: it may."""
        age_ns = now_ns - sample.stamp_ns
        if -self.max_ahead_ns <= age_ns <= self.max_age_ns:
            return ""
        if age_ns < 0:
            return f"stamped {-age_ns / NS_PER_S:.3f} s in the future"
        return f"{age_ns / NS_PER_S:.3f} s old, at most {self.max_age_ns / NS_PER_S:.3f} s"


class Rules:
    """What the settings and the limits file say, laid out once for the checks."""

    def __init__(self, robot: Robot, settings: Settings) -> None:
        self.robot = robot
        self.settings = settings
        self.limits = Limits(robot)
        own = {topic for _, topic, _ in named_signals(robot)}
        backups = {backup for signal in settings.signals.values() for backup in signal.backups}
        self.signals = {topic: Watched(topic, signal) for topic, signal in settings.signals.items()}
        """Every signal, those that the tick does not insist on as well."""
        self.watched = tuple(
            self.signals[topic]
            for topic, signal in settings.signals.items()
            if topic in own or (signal.required and not (topic in backups and _by_default(signal)))
        )
        self.feedback = next((signal for signal in self.watched if signal.topic == robot.feedback), None)
        self.estops = _of_type(settings, "estop")
        self.deadmen = _of_type(settings, "deadman")
        self.body = tuple(
            (topic, signal.type) for topic, signal in settings.signals.items() if signal.type in _BODY
        )
        """Topic and type of what tells of the whole body."""
        self.bumpers = _of_type(settings, "proximity")
        self.period_ns = NS_PER_S // settings.realtime.tick_hz

    def surroundings(self) -> Surroundings | None:
        """What will watch the way of a base; None: nothing does."""
        obstacle, signals = self.robot.obstacle, self.settings.signals
        if obstacle is None:
            return None
        oldest_s = max(signals[laser.signal].max_age_s for laser in obstacle.lasers)
        return Surroundings(obstacle, enough_way_m(self.robot, obstacle, oldest_s))


def _by_default(signal: SignalSettings) -> bool:
    """Whether nobody wrote that the signal is required."""
    return "required" not in signal.model_fields_set


def _of_type(settings: Settings, kind: str) -> tuple[str, ...]:
    return tuple(topic for topic, signal in settings.signals.items() if signal.type == kind)


@dataclass(slots=True)
class View:
    """One judgement's inputs, and what the kernel made of them and of those before."""

    rules: Rules
    inputs: Inputs
    armed: bool
    motion: Motion | None
    """What the feedback signal says; None where the robot has none, or it is stale or missing."""
    speed: Vector
    """Signed, in the order of the axes: measured where it is known, else as last commanded."""
    misstep: str
    """Why the policy's step must not be followed; empty: it may, or there is none."""
    following: bool
    """The policy's steps are followed."""
    commanded_position: Vector | None
    """The positions commanded last; None: none are."""
    followed: Floats | None
    """The policy's step that was followed last, before its bounds; None: none was in the turn before."""
    axes: AxisWatch
    commands: RecentCommands
    tip: TipWatch | None
    looks: Looks
    surroundings: Surroundings | None
    stop: StopPlan | None
    """The controlled stop that is under way."""
    chunk_ns: int
    """When the last chunk was admitted, or when one could first be expected."""
    chunk: tuple[Finding, ...]
    """What was wrong with the chunks that came since the judgement before."""
    overruns: int
    """Ticks missed with no punctual one in between."""
    blocked: str
    """What the obstacle limit did to the last command; empty: nothing worth telling."""
    jerked: str
    """The axis of which the policy asked more jerk than is allowed; empty: none."""
    called: str | None
    """Why an operator's emergency stop stands; None: there is none."""
    acting: frozenset[str]
    """Ids of the faults that acted after the judgement before: for hysteresis."""
    signals: SignalMonitor
    """How each signal behaves over time."""
    sources: Sources
    """What stands in for signals that failed; `inputs` has its samples."""
    commanded: CommandMode
    """What was commanded in the judgement before."""
    agreed_ns: int
    """When that changed, or the motor driver last said that it runs just when it shall."""
    _looked: bool = False
    """Whether the surroundings took in these inputs."""

    def fresh(self, topic: str) -> Sample | None:
        """The newest sample of a signal or of its stand-in; None: it never came, or is too old to use."""
        sample = self.inputs.samples.get(topic)
        if sample is None or not self.rules.signals[topic].age_problem(sample, self.inputs.now_ns):
            return sample
        return sample if self.sources.stands_in(topic) else None

    def free_way_m(self, linear: float, angular: float, enough_m: float) -> float:
        """The free way as of now: what was seen, less what the robot drove since; 0 where nothing sees.

        Only a way shorter than `enough_m` is told exactly.
        """
        obstacle = self.rules.robot.obstacle
        if self.surroundings is None or obstacle is None:
            return 0.0
        if not self._looked:
            self._looked = True
            scans = [self.fresh(laser.signal) for laser in obstacle.lasers]
            self.surroundings.see(scans, [self.fresh(topic) for topic in obstacle.proximity])
        return self.surroundings.free_m(linear, angular, self.inputs.now_ns, enough_m)
