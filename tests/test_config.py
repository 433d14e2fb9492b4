"""The settings: every mistake of every file at once, with file, key and what was expected."""

from __future__ import annotations

import itertools
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from vlad.config import (
    ConfigError,
    Settings,
    SignalSettings,
    load_robot,
    load_settings,
)
from vlad.robot import Robot
from vlad.server_settings import ServerSettings

ROOT = Path(__file__).resolve().parents[1]

ETC = Path(__file__).parents[1] / "etc"
ROBOT = """
name = "rover 7"
type = "rover"
command = "twist"
feedback = "odometry"
[axes.linear_x]
velocity = 0.5
acceleration = 1.0
[axes.angular_z]
velocity = 1.5
acceleration = 3
[obstacle]
lasers = [{ signal = "laser" }]
radius = 0.18
"""
SETTINGS = """
[robot]
limits = "rover.toml"
[signals.camera]
type = "image"
max_age_s = 0.2
[signals.laser]
type = "laser_scan"
[signals.odometry]
type = "odometry"
"""


class Files:
    """A settings file and all that belongs to it, in a folder of the test's own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "vlad.toml"
        self.robot = folder / "rover.toml"
        self.path.write_text(SETTINGS)
        self.robot.write_text(ROBOT)

    def load(self) -> tuple[Settings, Robot]:
        return load_settings(self.path)

    def problems(self) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            self.load()
        assert str(caught.value) == "\n".join(caught.value.problems)
        return caught.value.problems

    def add(self, text: str) -> None:
        self.path.write_text(self.path.read_text() + text)

    def drop_in(self, name: str, text: str) -> Path:
        folder = Path(f"{self.path}.d")
        folder.mkdir(exist_ok=True)
        (folder / name).write_text(text)
        return folder / name


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.mark.parametrize("path", sorted(ETC.glob("*.toml")), ids=lambda path: path.name)
def test_the_settings_that_come_with_vlad_are_valid(path: Path) -> None:
    settings, robot = load_settings(path)
    assert settings.signals
    assert robot.axes


@pytest.mark.parametrize("path", sorted(ETC.glob("robots/*.toml")), ids=lambda path: path.name)
def test_the_robots_that_come_with_vlad_are_valid(path: Path) -> None:
    assert load_robot(path).axes


def test_what_is_not_set_has_a_default(files: Files) -> None:
    settings, robot = files.load()
    assert settings.realtime.tick_hz == 100
    assert settings.signals["camera"].required is True
    assert settings.policy.bundle is None
    assert list(robot.axes) == ["linear_x", "angular_z"]
    assert robot.obstacle is not None
    assert robot.axes["angular_z"].acceleration == 3.0


def test_paths_are_relative_to_the_file_that_names_them(files: Files) -> None:
    files.add('[policy]\nbundle = "models/demo/1"\n')
    file = files.drop_in("keys.toml", '[wire]\ncurve_server_secret = "key"\ncurve_clients = "/clients"\n')
    keys = ("token_file", "ca_file", "certificate_file", "key_file")
    named = "".join(f'{key} = "{key}"\n' for key in keys)
    files.drop_in("server.toml", f'[policy.server]\naddress = "wss://host:80"\n{named}')
    settings, _ = files.load()
    server = settings.policy.server
    assert server is not None
    assert [getattr(server, key) for key in keys] == [file.parent / key for key in keys]
    assert settings.robot.limits == files.folder / "rover.toml"
    assert settings.policy.bundle == files.folder / "models/demo/1"
    assert settings.wire.curve_server_secret == file.parent / "key"
    assert settings.wire.curve_clients == Path("/clients")


def test_three_mistakes_are_all_reported_each_with_file_and_key(files: Files) -> None:
    files.add("rate_hzz = 30\n[realtime]\ntick_hz = 5\n[safetey]\n")
    problems = files.problems()
    assert len(problems) == 3
    for start in (
        "signals.odometry.rate_hzz: unknown key",
        "realtime.tick_hz: Input should be greater than or equal to 20 (got 5)",
        "safetey: unknown key; check its spelling",
    ):
        assert any(problem.startswith(f"{files.path}: {start}") for problem in problems)


def test_mistakes_of_several_files_come_together(files: Files) -> None:
    files.add("max_age_s = -1\n")
    late = files.drop_in("10-late.toml", '[policy]\nrate_hz = "fast"\n')
    files.robot.write_text(ROBOT.replace("velocity = 0.5", "velocity = 0").replace('type = "rover"', ""))
    problems = files.problems()
    assert sorted(problem.split(": ")[0:2] for problem in problems) == sorted([
        [str(files.path), "signals.odometry.max_age_s"],
        [str(late), "policy.rate_hz"],
        [str(files.robot), "axes.linear_x.velocity"],
        [str(files.robot), "type"],
    ])  # fmt: skip
    assert any("is missing and has no default" in problem for problem in problems)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("max_age_s = true", "max_age_s"),
        ('max_age_s = "0.5"', "max_age_s"),
        ("max_age_s = nan", "max_age_s"),
        ("max_age_s = inf", "max_age_s"),
        ("max_age_s = 0", "max_age_s"),
        ("required = 1", "required"),
        ('required = "yes"', "required"),
        ("[realtime]\ntick_hz = 100.5", "realtime.tick_hz"),
        ("[realtime]\ntick_hz = true", "realtime.tick_hz"),
        ("[realtime]\ncpus = [0, -1]", "realtime.cpus.1"),
        ("[safety]\ncollision_threshold = nan", "safety.collision_threshold"),
        ("[safety]\ncommand_ttl_ms = 500", "safety.command_ttl_ms"),
        ('[signals.x]\ntype = "smell"', "signals.x.type"),
        ("[signals.x]", "signals.x.type"),
        ('[signals.""]\ntype = "imu"', "signals..[key]"),
        ("[operator]\ngroup = 3", "operator.group"),
        ('[policy]\ndevice = "gpu"', "policy.device"),
        ('[policy]\ndevice = "cuda:x"', "policy.device"),
        ('[policy.onnx]\nproviders = ["cpu", "coreml"]', "policy.onnx.providers.1"),
        ("[policy.onnx]\nproviders = []", "policy.onnx.providers"),
        ("[policy.onnx]\narena_mb = -1", "policy.onnx.arena_mb"),
    ],
)
def test_a_value_of_the_wrong_kind_or_size_is_a_mistake(files: Files, text: str, key: str) -> None:
    files.add(text + "\n")
    (problem,) = files.problems()
    assert f"{key}: " in problem
    assert problem.startswith(f"{files.path}: ")


@pytest.mark.parametrize("section", ["robot", "signals", "policy", "wire", "realtime"])
def test_a_section_that_is_no_table_is_a_mistake(files: Files, section: str) -> None:
    text = "\n".join(files.path.read_text().split("\n"))
    if section in ("robot", "signals"):
        text = "" if section == "signals" else text.replace('[robot]\nlimits = "rover.toml"\n', "")
        text += '[robot]\nlimits = "rover.toml"\n' if section == "signals" else ""
    files.path.write_text(f"{section} = 3\n{text}")
    assert any(f"{section}: " in problem for problem in files.problems())


def test_a_model_is_divided_by_modules_or_in_stages_not_both(files: Files) -> None:
    files.add('[policy.torch]\ndevice_map.a = "cpu"\nstages.b = "cuda:1"\n')
    assert any("policy.torch: has a device_map and stages" in line for line in files.problems())


def test_tcp_without_keys_is_refused(files: Files) -> None:
    files.add('[wire]\nsensors_tcp = "tcp://127.0.0.1:7001"\n')
    assert any("wire: TCP needs curve_server_secret and curve_clients" in line for line in files.problems())


def test_later_files_override_single_keys_of_earlier_ones(files: Files) -> None:
    files.drop_in("20-b.toml", "[signals.camera]\nmax_age_s = 0.4\n")
    files.drop_in(
        "10-a.toml", '[signals.camera]\nmax_age_s = 0.3\nrate_hz = 30\n[operator]\ngroup = "staff"\n'
    )
    files.drop_in("ignored.txt", "not TOML")
    settings, _ = files.load()
    assert (settings.signals["camera"].max_age_s, settings.signals["camera"].rate_hz) == (0.4, 30)
    assert settings.signals["camera"].type == "image"
    assert settings.operator.group == "staff"


def test_a_mistake_is_reported_with_the_file_that_has_it_last(files: Files) -> None:
    files.drop_in("10-a.toml", "[realtime]\ntick_hz = 100\n")
    last = files.drop_in("20-b.toml", "[realtime]\ntick_hz = 1\n")
    (problem,) = files.problems()
    assert problem.startswith(f"{last}: realtime.tick_hz: ")


def test_a_file_that_is_not_there_or_no_toml_is_named(files: Files) -> None:
    bad = files.drop_in("10-a.toml", "not = [toml")
    worse = files.drop_in("20-b.toml", "")
    worse.write_bytes(b"\xff\xfe")
    assert [problem.split(": ")[0] for problem in files.problems()] == [str(bad), str(worse)]
    files.robot.unlink()
    bad.unlink()
    worse.unlink()
    (problem,) = files.problems()
    assert problem.startswith(f"{files.robot}: cannot be read (No such file or directory)")
    files.path.unlink()
    assert files.problems()[0].startswith(f"{files.path}: cannot be read")


def test_a_robot_whose_signals_are_not_configured_is_a_contradiction(files: Files) -> None:
    files.path.write_text('[robot]\nlimits = "rover.toml"\n[signals.laser]\ntype = "image"\n')
    files.add("[safety]\noverruns_slow = 5\noverruns_stop = 2\n")
    problems = "\n".join(files.problems())
    assert "feedback: no signal 'odometry'" in problems
    assert "obstacle.lasers.0.signal: 'laser' has the type image; it must be laser_scan" in problems
    assert "safety.overruns_stop: must not be below safety.overruns_slow" in problems


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("velocity = 0.5", "velocity = 0.5\nlower = 1", "lower and upper belong together"),
        ("velocity = 0.5", "velocity = 0.5\nlower = 1\nupper = 1", "must be below upper"),
        ('command = "twist"', 'command = "joint_position"', "need lower and upper; missing for linear_x"),
        ('command = "twist"', 'command = "walk"', "command: "),
        ("radius = 0.18", "radius = -0.18", "obstacle.radius: "),
    ],
)
def test_limits_that_make_no_sense_are_refused(files: Files, before: str, after: str, expected: str) -> None:
    files.robot.write_text(ROBOT.replace(before, after))
    (problem,) = files.problems()
    assert problem.startswith(f"{files.robot}: ")
    assert expected in problem


def test_any_single_line_left_out_gives_settings_or_a_clear_report(files: Files) -> None:
    for path in (files.path, files.robot):
        lines = path.read_text().splitlines()
        for number in range(len(lines)):
            path.write_text("\n".join(itertools.chain(lines[:number], lines[number + 1 :])))
            problems: list[str] = []
            try:
                files.load()
            except ConfigError as error:
                problems = error.problems or ["an error without a reason"]
            assert all(str(files.folder) in problem for problem in problems)
        path.write_text("\n".join(lines))


@pytest.mark.parametrize(("signals", "expected"), [
    ('[signals.camera]\nbackups = ["camera"]', "'camera' cannot stand in for itself"),
    ('[signals.camera]\nbackups = ["camera2"]', "no signal 'camera2'; add [signals.camera2]"),
    ('[signals.camera]\nbackups = ["odometry"]', "'odometry' has the type odometry; it must be image"),
    ('[signals.camera]\nbackups = ["b"]\n[signals.b]\ntype = "image"\nbackups = ["camera"]',
     "'b' has backups of its own"),
    ("[signals.camera]\nestimate_s = 0.5", "only odometry and imu can be estimated, not image"),
    ("[signals.odometry]\nestimate_s = 1.5", "less than or equal to 1"),
    ("[policy]\nhung_s = 0.1", "policy.hung_s: must not be below policy.deadline_s"),
    ('[guard]\nrelay_stop = "0x1"', "guard.relay_stop"),
    ('[policy.server]\ntimeout_s = 0.2', "policy.server.address: is missing"),
    ('[policy.server]\naddress = "10.0.0.5:8000"', "'10.0.0.5:8000' is not SCHEME://HOST:PORT with one of"),
    ('[policy.server]\naddress = "ws://host"', "address 'ws://host' is not"),
    ('[policy.server]\naddress = "ws://host:99999"', "address 'ws://host:99999' is not"),
    ('[policy.server]\naddress = "ws://[::1:80"', "address 'ws://[::1:80' is not"),
    ('[policy.server]\naddress = "ws://host:80"\nca_file = "ca.pem"', "ca_file is for wss://"),
    ('[policy.server]\naddress = "https://host:80"\nkey_file = "k"', "belong together; name both"),
    ('[policy.server]\naddress = "ws://host:80"\ntimeout_s = 3.0',
     "policy.server.timeout_s: must not be above policy.hung_s"),
])  # fmt: skip
def test_settings_that_contradict_themselves_are_refused(files: Files, signals: str, expected: str) -> None:
    files.drop_in("mistake.toml", signals)
    assert any(expected in problem and str(files.folder) in problem for problem in files.problems())


def test_a_joint_named_twice_is_refused(files: Files) -> None:
    files.robot.write_text(ROBOT + "[axes.linear_x]\nvelocity = 1.0\nacceleration = 1.0\n")
    (problem,) = files.problems()
    assert problem.startswith(f"{files.robot}: is not valid TOML")


def uncommented(path: Path) -> dict[str, Any]:
    lines = path.read_text().splitlines()
    return tomllib.loads("\n".join(re.sub(r"^# (?=[a-z_]+ = |\[)", "", line) for line in lines))


def test_the_settings_file_has_every_key_with_its_default() -> None:
    given = uncommented(ROOT / "etc" / "vlad.toml")
    examples = {
        "bundle",
        "curve_server_secret",
        "curve_clients",
        "backups",
        "relay",
        "server",
        "webhook",
        "command",
        "token_file",
    }
    server = given["policy"]["server"]
    assert list(server) == list(ServerSettings.model_fields)
    assert server["timeout_s"] == ServerSettings(address=server["address"]).timeout_s == 0.09
    for section, field in Settings.model_fields.items():
        default = SignalSettings(type="image") if section == "signals" else field.default
        known = given[section]["camera"] if section == "signals" else given[section]
        if section == "robot":
            continue
        for key, value in default.model_dump(mode="json").items():
            assert key in known, f"{section}.{key}"
            if section != "signals" and key not in examples:
                assert known[key] == value, f"{section}.{key}"
