"""The settings: what may stand in vlad.toml and in a robot's limits file, and reading them.

Every mistake of every file is collected and reported at once, each with file, key and what was expected.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, ValidationError, model_validator

from vlad.messages import Kind

DEFAULT_SETTINGS = Path("/etc/vlad/vlad.toml")

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False, strict=True)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False, strict=True)]
Finite = Annotated[float, Field(allow_inf_nan=False, strict=True)]
Fraction = Annotated[float, Field(ge=0, le=1, strict=True)]


class ConfigError(Exception):
    """The settings cannot be used. `problems` has a line for each mistake: file, key, what was expected."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RobotSettings(_Section):
    """Which robot this is."""

    limits: Path
    """The robot's limits file, etc/robots/*.toml; relative to the settings file that names it."""


class PathSettings(_Section):
    """Where the daemon keeps things."""

    run_dir: Path = Path("/run/vlad")
    state_dir: Path = Path("/var/lib/vlad")


class RealtimeSettings(_Section):
    """What the daemon asks of the kernel; whatever is refused shows in `vladctl status` with the reason."""

    tick_hz: Annotated[int, Field(ge=20, le=1000, strict=True)] = 100
    fifo_priority: Annotated[int, Field(ge=0, le=99, strict=True)] = 50
    """SCHED_FIFO priority of the loop thread; 0 leaves the ordinary scheduler."""
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


class WireSettings(_Section):
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
    "estop", "instruction", "task_result",
]  # fmt: skip


class SignalSettings(_Section):
    """One topic that a driver publishes."""

    type: SignalType
    required: StrictBool = True
    """Without it the robot cannot be armed, and it is stopped when the signal goes stale."""
    max_age_s: Positive = 0.5
    """Older than this counts as stale. Not used for events: instruction and task_result."""
    rate_hz: NotNegative = 0
    """Nominal rate; 0: not periodic."""


class PolicySettings(_Section):
    """Which policy runs, and how fast."""

    bundle: Path | None = None
    """Folder of the bundle; relative to the settings file. None: no policy, the robot only holds."""
    rate_hz: Positive = 30
    """At most so many inferences a second; never more than one for each new frame."""
    deadline_s: Positive = 0.3
    """An inference that takes longer than this is a fault."""
    max_chunk_age_s: Positive = 1.0
    """A chunk made from a frame older than this is not followed any more."""
    blend_s: NotNegative = 0.1
    """Joining a new chunk to the old: the difference is faded out over this time."""
    threads: Annotated[int, Field(ge=1, le=64, strict=True)] = 1


class SafetySettings(_Section):
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


class OperatorSettings(_Section):
    """Who may act through the control socket, besides root and the daemon's own user."""

    group: str = "vlad-operator"


class Settings(_Section):
    """All of vlad.toml."""

    robot: RobotSettings
    paths: PathSettings = PathSettings()
    realtime: RealtimeSettings = RealtimeSettings()
    wire: WireSettings = WireSettings()
    signals: dict[str, SignalSettings]
    policy: PolicySettings = PolicySettings()
    safety: SafetySettings = SafetySettings()
    operator: OperatorSettings = OperatorSettings()


TWIST_AXES = ("linear_x", "linear_y", "linear_z", "angular_x", "angular_y", "angular_z")


class Axis(_Section):
    """Limits of one number of the command: a joint, or linear_x [m/s] or angular_z [rad/s] of a twist.

    For a twist `velocity` bounds the number itself and `acceleration` its change. For joints `lower` and
    `upper` [rad or m] bound the position, `velocity` and `acceleration` its change.
    """

    velocity: Positive
    acceleration: Positive
    deceleration: Positive | None = None
    """Used in stops; the same as acceleration where it is not given."""
    lower: Finite | None = None
    upper: Finite | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Axis:
        if (self.lower is None) != (self.upper is None):
            raise ValueError("lower and upper belong together: give both or neither")
        if self.lower is not None and self.upper is not None and self.lower >= self.upper:
            raise ValueError(f"lower ({self.lower}) must be below upper ({self.upper})")
        return self


class ObstacleStop(_Section):
    """Stop for what the laser sees in the way: the base is a disc, the way a corridor as wide as it."""

    signal: str
    """The laser scan that watches the way."""
    radius: Positive
    """Of the base with all that stands out [m]."""
    margin: NotNegative = 0.05
    """Free space that must remain when the robot has come to rest [m]."""
    reaction_s: NotNegative = 0.1
    """From the measurement of an obstacle to the first braking of the motors."""


class Robot(_Section):
    """A robot's limits file."""

    name: str
    type: str
    """Bundles name the robot type that they were trained for; it must be this one."""
    command: Kind
    axes: dict[str, Axis]
    """In the order in which commands list them."""
    feedback: str = ""
    """The odometry or joint_state signal that tells how the robot really moves; empty: there is none."""
    obstacle: ObstacleStop | None = None

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
        unknown = [name for name in self.axes if name not in TWIST_AXES]
        if self.command is Kind.TWIST and unknown:
            raise ValueError(f"a twist has the axes {', '.join(TWIST_AXES)}; not {', '.join(unknown)}")
        return self

    @model_validator(mode="after")
    def _watches_its_way(self) -> Robot:
        drives = self.command is Kind.TWIST and "linear_x" in self.axes and "linear_y" not in self.axes
        if self.obstacle is not None and not drives:
            raise ValueError("obstacle is for a base that takes twists, with the axis linear_x, not linear_y")
        return self


def _read(path: Path, problems: list[str]) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        problems.append(f"{path}: cannot be read ({error.strerror}); name another file or create it")
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        problems.append(f"{path}: is not valid TOML: {error}")
    return {}


def _merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


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


def _anchor(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Make the paths of a settings file relative to that file."""
    anchored = dict(values)
    for section, key in (("robot", "limits"), ("policy", "bundle"),
                         ("wire", "curve_server_secret"), ("wire", "curve_clients")):  # fmt: skip
        table = anchored.get(section)
        if isinstance(table, dict) and isinstance(table.get(key), str):
            anchored[section] = {**table, key: str(folder / table[key])}
    return anchored


def load_robot(path: Path) -> Robot:
    """Read a robot's limits file; ConfigError with every mistake."""
    problems: list[str] = []
    values = _read(path, problems)
    if problems:
        raise ConfigError(problems)
    try:
        return Robot.model_validate(values)
    except ValidationError as error:
        raise ConfigError(_problems(error, [(path, values)])) from None


def load_settings(path: Path) -> tuple[Settings, Robot]:
    """Read `path`, what is in `path`.d/*.toml in the order of their names, and the robot's limits.

    Later files override single keys of earlier ones. ConfigError with every mistake of all of them.
    """
    problems: list[str] = []
    sources: list[tuple[Path, dict[str, Any]]] = []
    merged: dict[str, Any] = {}
    for file in [path, *sorted(Path(f"{path}.d").glob("*.toml"))]:
        values = _anchor(_read(file, problems), file.parent)
        sources.append((file, values))
        merged = _merge(merged, values)
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
    if settings is not None and robot is not None:
        problems += _contradictions(settings, robot, path, Path(str(limits)))
    if problems or settings is None or robot is None:
        raise ConfigError(problems)
    return settings, robot


def _contradictions(settings: Settings, robot: Robot, path: Path, limits: Path) -> list[str]:
    """What is wrong between the settings and the robot, though each is well formed."""
    problems = []
    wanted: list[tuple[str, str, tuple[str, ...]]] = []
    if robot.feedback:
        feedback = "odometry" if robot.command is Kind.TWIST else "joint_state"
        wanted.append(("feedback", robot.feedback, (feedback,)))
    if robot.obstacle is not None:
        wanted.append(("obstacle.signal", robot.obstacle.signal, ("laser_scan",)))
    for key, signal, types in wanted:
        known = settings.signals.get(signal)
        if known is None:
            problems.append(f"{limits}: {key}: no signal {signal!r} in {path}; add [signals.{signal}]")
        elif known.type not in types:
            problems.append(
                f"{limits}: {key}: {signal!r} has the type {known.type}; it must be {' or '.join(types)}"
            )
    if settings.safety.overruns_stop < settings.safety.overruns_slow:
        problems.append(f"{path}: safety.overruns_stop: must not be below safety.overruns_slow")
    return problems
