"""The settings: what may stand in vlad.toml, and reading it together with the robot's limits file.

Every mistake of every file is collected and reported at once, each with file, key and what was expected.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, StrictBool, ValidationError, model_validator

from vlad.dashboard.settings import PageSettings
from vlad.health.settings import HealthSettings
from vlad.maintenance.settings import MaintenanceSettings
from vlad.messages import Kind
from vlad.policy_settings import PolicySettings
from vlad.robot import Robot
from vlad.safety.kinematics import Kinematics, KinematicsError
from vlad.schema import Fraction, NotNegative, Positive, Section, Word
from vlad.settings_files import Values, merge, read_settings, read_toml


class ConfigError(Exception):
    """The settings cannot be used. `problems` has a line for each mistake: file, key, what was expected."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class RobotSettings(Section):
    """Which robot this is."""

    limits: Path
    """The robot's limits file, etc/robots/*.toml; relative to the settings file that names it."""


class PathSettings(Section):
    """Where the daemon keeps things."""

    run_dir: Path = Path("/run/vlad")
    state_dir: Path = Path("/var/lib/vlad")


class RealtimeSettings(Section):
    """What the daemon asks of the kernel; whatever is refused shows in `vladctl status` with the reason."""

    tick_hz: Annotated[int, Field(ge=20, le=1000, strict=True)] = 100
    fifo_priority: Annotated[int, Field(ge=0, le=99, strict=True)] = 50
    """SCHED_FIFO priority of the loop thread; the others have nice -10 then. 0: the ordinary scheduler."""
    lock_memory: StrictBool = True
    cpus: tuple[Annotated[int, Field(ge=0, strict=True)], ...] = ()
    """CPUs the daemon may run on; empty: all."""
    wakeup_latency_us: Annotated[int, Field(ge=-1, le=1_000_000)] = 0
    """While the robot is armed, CPUs sleep only as deep as they wake from within this time; -1: as they like.
    0 keeps them from sleeping at all: the quickest reaction, at the price of power."""
    switch_interval_s: Annotated[float, Field(gt=0, le=0.05, strict=True)] = 0.0005
    """Python's thread switch interval: a shorter one lets the loop thread in sooner."""
    slow_callback_s: NotNegative = 0
    """Name each callback that holds the loop longer than this; 0: off. Debugging only, it costs time."""


class WireSettings(Section):
    """Where drivers connect. The ipc sockets are always bound under the run folder."""

    sensors_tcp: str = ""
    """Also bind the sensors' socket here, for example tcp://192.168.7.1:7001; needs the keys below."""
    commands_tcp: str = ""
    curve_server_secret: Path | None = None
    """File with the daemon's CURVE secret key (as made by `vladctl keys`)."""
    curve_clients: Path | None = None
    """Folder with the public key of each driver that may connect over TCP, a file each."""
    max_message_bytes: Annotated[int, Field(ge=1024, strict=True)] = 32 * 1024 * 1024

    @model_validator(mode="after")
    def _tcp_needs_keys(self) -> WireSettings:
        if (self.sensors_tcp or self.commands_tcp) and not (self.curve_server_secret and self.curve_clients):
            raise ValueError("TCP needs curve_server_secret and curve_clients: it is not opened without keys")
        return self


SignalType = Literal[
    "image", "compressed_image", "laser_scan", "point_cloud", "joint_state", "imu", "battery", "wrench",
    "twist", "pose", "odometry", "proximity", "power", "temperature", "center_of_mass", "detections",
    "estop", "instruction", "task_result", "deadman", "command_ack",
]  # fmt: skip


class SignalSettings(Section):
    """One topic that a driver publishes."""

    type: SignalType
    required: StrictBool = True
    """Without it the robot cannot be armed, and it is stopped when the signal goes stale. A backup of another
    signal is watched for that only where this is written."""
    max_age_s: Positive = 0.5
    """Older than this counts as stale. Not used for events: instruction and task_result."""
    rate_hz: NotNegative = 0
    """Nominal rate; 0: not periodic."""
    frozen_s: NotNegative = 0
    """The same content for this long while the robot moves is a fault; 0: may stay the same."""
    backups: tuple[str, ...] = ()
    """Signals of the same type that take its place, the first healthy one, when it fails."""
    estimate_s: Annotated[float, Field(ge=0, le=1, strict=True)] = 0
    """Without a backup it is estimated for this long, slowly driven on: odometry and imu; 0: never."""


class SafetySettings(Section):
    """What the safety tick allows beyond the robot's own limits."""

    command_ttl_ms: Annotated[int, Field(ge=20, le=100, strict=True)] = 60
    arm_ramp_s: NotNegative = 0.5
    """After arming the speed limit rises from zero to its full value over this time."""
    stop_margin: Annotated[float, Field(ge=1, le=5, strict=True)] = 1.5
    """A controlled stop may take this many times its planned duration before it escalates."""
    collision_threshold: Fraction = 0.9
    """The policy's own collision probability above which the robot is held; 1: never."""
    overruns_slow: Annotated[int, Field(ge=1, strict=True)] = 2
    overruns_stop: Annotated[int, Field(ge=1, strict=True)] = 5
    """Ticks missed in a row after which the robot slows down, and stops."""
    silence_s: Positive = 0.5
    """Armed without any new chunk for this long while an instruction stands: stop."""
    uncertainty_threshold: Fraction = 0.9
    """The policy's own doubt above which the robot is held; 1: never."""
    start_distance: Positive = 0.3
    """A first chunk that begins farther than this from the measured pose is refused [rad or m]."""
    rate_tolerance: Annotated[float, Field(gt=0, lt=1, strict=True)] = 0.2
    """A signal's rate may differ from its nominal one by this part."""
    gap_fraction: Fraction = 0.1
    """This part of a signal's messages may be missing in its sequence."""
    bad_hz: Positive = 5.0
    """So many refused messages a second on one topic are a fault."""
    failback_s: Positive = 2.0
    """A failed signal must be healthy for this long before it is used again in place of its backup."""
    ack_s: Positive = 0.3
    """The motor driver follows a command that is older than this: commands are not applied."""


class ComputerSettings(Section):
    """What may be used of this computer before it is a fault."""

    cpu: Fraction = 0.95
    memory: Fraction = 0.95
    gpu_memory: Fraction = 0.95
    disk: Fraction = 0.95
    temperature: Positive = 90.0
    """[degrees Celsius], of the hottest sensor."""


HexBytes = Annotated[str, Field(pattern=r"^([0-9a-fA-F]{2})*$")]


class GuardSettings(Section):
    """The guard, a process of its own that says stop when the daemon falls silent."""

    required: StrictBool = True
    """Without a guard the robot cannot be armed, and stops when it goes silent."""
    silence_ms: Annotated[int, Field(ge=20, le=1000, strict=True)] = 50
    """The daemon's heartbeat may be missing for this long."""
    relay: Path | None = None
    """A GPIO value file or serial line that cuts the motors' power; None: there is none."""
    relay_stop: HexBytes = "30"
    """What is written to it to stop, in hexadecimal; the default is the digit 0."""
    relay_run: HexBytes = "31"


class RecordSettings(Section):
    """The black box: the last seconds of everything in memory, and on disk what was worth keeping."""

    mode: Literal["triggered", "continuous", "off"] = "triggered"
    """triggered: what was around a stop, a fault or a mark, and all the while of a caution."""
    before_s: Annotated[float, Field(ge=1, le=600, strict=True)] = 30
    after_s: Annotated[float, Field(ge=0, le=600, strict=True)] = 10
    """Recorded from so long before a trigger to so long after it; triggers that overlap are one recording."""
    memory_mb: Annotated[int, Field(ge=4, strict=True)] = 64
    """For what is kept of the time before a trigger; three quarters of it are for pictures."""
    picture_hz: Positive = 10
    """At most so many pictures a second of each camera, and so many point clouds; also for who else looks."""
    jpeg_quality: Annotated[int, Field(ge=1, le=100, strict=True)] = 80
    disk_mb: Annotated[int, Field(ge=1, strict=True)] = 10_000
    """For all recordings together: the oldest are deleted first."""
    free_mb: Annotated[int, Field(ge=0, strict=True)] = 1_000
    """Of the disk, so much stays free."""
    protected_s: NotNegative = 3600
    """A recording in which something happened is not deleted while it is younger than this."""


class OperatorSettings(Section):
    """Who may act through the control socket, besides root and the daemon's own user."""

    group: str = "vlad-operator"


class LogSettings(Section):
    """What goes to the journal, or to stderr."""

    level: Literal["debug", "info", "warning", "error"] = "info"


class Settings(Section):
    """All of vlad.toml."""

    robot: RobotSettings
    paths: PathSettings = PathSettings()
    realtime: RealtimeSettings = RealtimeSettings()
    wire: WireSettings = WireSettings()
    signals: dict[Word, SignalSettings]
    policy: PolicySettings = PolicySettings()
    safety: SafetySettings = SafetySettings()
    computer: ComputerSettings = ComputerSettings()
    health: HealthSettings = HealthSettings()
    guard: GuardSettings = GuardSettings()
    record: RecordSettings = RecordSettings()
    page: PageSettings = PageSettings()
    maintenance: MaintenanceSettings = MaintenanceSettings()
    operator: OperatorSettings = OperatorSettings()
    log: LogSettings = LogSettings()


def _lookup(values: dict[str, Any], where: tuple[int | str, ...]) -> bool:
    """Whether `values` has something at `where`, or at the nearest parent of it below the top."""
    node: Any = values
    for depth, key in enumerate(where):
        if not isinstance(node, dict) or key not in node:
            return depth > 1
        node = node[key]
    return True


def _problems(error: ValidationError, sources: list[tuple[Path, dict[str, Any]]]) -> list[str]:
    """One line for each mistake; the file is the last one that has the key."""
    lines = []
    for mistake in error.errors(include_url=False):
        where = mistake["loc"]
        path = next((path for path, values in reversed(sources) if _lookup(values, where)), sources[0][0])
        key = ".".join(str(part) for part in where) or "(the whole file)"
        match mistake["type"]:
            case "extra_forbidden":
                lines.append(f"{path}: {key}: unknown key; check its spelling, or remove it")
            case "missing":
                lines.append(f"{path}: {key}: is missing and has no default")
            case _:
                got = mistake["input"]
                shown = "" if isinstance(got, dict | BaseModel) else f" (got {got!r})"
                lines.append(f"{path}: {key}: {mistake['msg'].removeprefix('Value error, ')}{shown}")
    return lines


def load_robot(path: Path) -> Robot:
    """Read a robot's limits file; ConfigError with every mistake."""
    problems: list[str] = []
    values = read_toml(path, problems)
    if problems:
        raise ConfigError(problems)
    workspace = values.get("workspace")
    if isinstance(workspace, dict) and isinstance(workspace.get("urdf"), str):
        values["workspace"] = {**workspace, "urdf": str(path.parent / workspace["urdf"])}
    try:
        robot = Robot.model_validate(values)
        if robot.workspace is not None and robot.workspace.urdf is not None:
            Kinematics(robot.workspace.urdf, robot.workspace.tip, tuple(robot.axes))
    except ValidationError as error:
        raise ConfigError(_problems(error, [(path, values)])) from None
    except KinematicsError as error:
        raise ConfigError([f"{path}: {error}"]) from None
    return robot


def load_settings(path: Path) -> tuple[Settings, Robot]:
    """Read `path`, what is in `path`.d/*.toml in the order of their names, and the robot's limits.

    Later files override single keys of earlier ones. ConfigError with every mistake of all of them.
    """
    problems: list[str] = []
    sources = read_settings(path, problems)
    merged: Values = {}
    for _, values in sources:
        merged = merge(merged, values)
    if problems:
        raise ConfigError(problems)
    settings = robot = None
    try:
        settings = Settings.model_validate(merged)
    except ValidationError as error:
        problems += _problems(error, sources)
    limits = merged.get("robot", {}).get("limits") if isinstance(merged.get("robot"), dict) else None
    if isinstance(limits, str):
        try:
            robot = load_robot(Path(limits))
        except ConfigError as error:
            problems += error.problems
    if settings is not None:
        problems += (f"{path}: {problem}" for problem in _unfit_settings(settings))
        if robot is not None:
            problems += (f"{limits}: {problem} ({path})" for problem in _unfit_signals(settings, robot))
    if problems or settings is None or robot is None:
        raise ConfigError(problems)
    return settings, robot


def unfit(settings: Settings, robot: Robot) -> list[str]:
    """How settings and limits contradict themselves or each other; empty: they fit."""
    return [*_unfit_settings(settings), *_unfit_signals(settings, robot)]


def named_signals(robot: Robot) -> Iterator[tuple[str, str, str]]:
    """Key, signal and type of every signal that the limits file names."""
    if robot.feedback:
        yield "feedback", robot.feedback, "odometry" if robot.command is Kind.TWIST else "joint_state"
    if robot.acknowledged:
        yield "acknowledged", robot.acknowledged, "command_ack"
    if robot.obstacle is not None:
        for number, laser in enumerate(robot.obstacle.lasers):
            yield f"obstacle.lasers.{number}.signal", laser.signal, "laser_scan"
        for topic in robot.obstacle.proximity:
            yield "obstacle.proximity", topic, "proximity"
    if robot.workspace is not None and robot.workspace.pose:
        yield "workspace.pose", robot.workspace.pose, "pose"
    if robot.separation is not None:
        yield "separation.signal", robot.separation.signal, "proximity"
    if robot.contact is not None:
        yield "contact.signal", robot.contact.signal, "wrench"


def _unfit_signals(settings: Settings, robot: Robot) -> Iterator[str]:
    """Where the limits file names a signal that is not there, or not of the right type."""
    for key, signal, wanted in named_signals(robot):
        known = settings.signals.get(signal)
        if known is None:
            yield f"{key}: no signal {signal!r} in the settings; add [signals.{signal}]"
        elif known.type != wanted:
            yield f"{key}: {signal!r} has the type {known.type}; it must be {wanted}"


def _unfit_settings(settings: Settings) -> Iterator[str]:
    """What contradicts itself in the settings, though each value is well formed."""
    if settings.safety.overruns_stop < settings.safety.overruns_slow:
        yield "safety.overruns_stop: must not be below safety.overruns_slow"
    if settings.policy.hung_s < settings.policy.deadline_s:
        yield "policy.hung_s: must not be below policy.deadline_s"
    if settings.policy.server is not None and settings.policy.server.timeout_s > settings.policy.hung_s:
        yield "policy.server.timeout_s: must not be above policy.hung_s"
    for topic, signal in settings.signals.items():
        where = f"signals.{topic}"
        for backup in signal.backups:
            other = settings.signals.get(backup)
            if backup == topic:
                yield f"{where}.backups: {topic!r} cannot stand in for itself"
            elif other is None:
                yield f"{where}.backups: no signal {backup!r}; add [signals.{backup}]"
            elif other.type != signal.type:
                yield f"{where}.backups: {backup!r} has the type {other.type}; it must be {signal.type}"
            elif other.backups:
                yield f"{where}.backups: {backup!r} has backups of its own; name them all here"
        if signal.estimate_s and signal.type not in ("odometry", "imu"):
            yield f"{where}.estimate_s: only odometry and imu can be estimated, not {signal.type}"
