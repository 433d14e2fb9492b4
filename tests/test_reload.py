"""Settings are read again by a running daemon: what fits holds, the rest is told, mistakes change nothing."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tools.benchmarks.rig import Rig, rig, write_policy
from vlad.config import ConfigError, Settings, load_settings
from vlad.driver import CommandReceiver
from vlad.messages import CommandMode
from vlad.reload import Reloaded, differing, sort

UNLOCKED = {"lock_memory": False}
ETC = Path(__file__).resolve().parents[1] / "etc"


def loaded(folder: Path, text: str = "", **limits: str) -> Any:
    """The demo's settings with `text` after them, and in the rover's limits each word replaced."""
    robot = (ETC / "robots" / "rover.toml").read_text()
    for before, after in limits.items():
        robot = robot.replace(before, after)
    (folder / "robot.toml").write_text(robot)
    known = (ETC / "demo.toml").read_text().replace("robots/rover.toml", "robot.toml")
    (folder / "vlad.toml").write_text(known)
    (folder / "vlad.toml.d").mkdir(exist_ok=True)
    (folder / "vlad.toml.d" / "1.toml").write_text(text)
    return load_settings(folder / "vlad.toml")


def sorted_changes(folder: Path, text: str, limits: dict[str, str]) -> list[list[str]]:
    parts = sort(differing(loaded(folder), loaded(folder, text, **limits)))
    return [[".".join(path) for path in part] for part in parts]


@pytest.mark.parametrize(
    ("text", "limits", "expected"),
    [
        ("", {}, [[], [], []]),
        ('[log]\nlevel = "debug"\n[policy]\nrate_hz = 5\n', {}, [["policy.rate_hz", "log.level"], [], []]),
        ("[safety]\nsilence_s = 0.4\n", {}, [[], ["safety.silence_s"], []]),
        ("[safety]\ncommand_ttl_ms = 50\n", {}, [[], [], ["safety.command_ttl_ms"]]),
        ("[guard]\nrequired = false\nsilence_ms = 60\n", {}, [[], ["guard.required"], ["guard.silence_ms"]]),
        ("[signals.laser]\nmax_age_s = 0.3\n", {}, [[], ["signals.laser.max_age_s"], []]),
        ('[signals.laser2]\ntype = "laser_scan"\n', {}, [[], [], ["signals.laser2"]]),
        ("[realtime]\ntick_hz = 50\n", {}, [[], [], ["realtime.tick_hz"]]),
        ("", {"0.8": "0.7"}, [[], ["limits.axes.linear_x.velocity"], []]),
        ("", {"0.8": "0.7", '"rover"': '"cart"'}, [
            [], [], ["limits.name", "limits.type", "limits.axes.linear_x.velocity"]
        ]),
        ("", {"angular_z": "angular_y"}, [
            [], [], ["limits.axes.angular_z", "limits.axes.angular_y", "limits.axes"]
        ]),
    ],
)  # fmt: skip
def test_each_setting_holds_when_it_may(
    tmp_path: Path, text: str, limits: dict[str, str], expected: list[list[str]]
) -> None:
    assert sorted_changes(tmp_path, text, limits) == expected


@pytest.mark.parametrize("section", Settings.model_fields)
def test_whatever_is_not_known_to_be_safe_needs_a_restart(section: str) -> None:
    now, disarmed, restart = sort(((section, "new_key"),))
    assert not now
    assert bool(disarmed) == (section in ("safety", "computer"))
    assert bool(restart) != bool(disarmed)


def test_the_outcome_is_told_in_one_line() -> None:
    assert str(Reloaded()) == "settings read again; nothing changed"
    told = str(Reloaded(("a.b",), ("c.d",), ("e.f",)))
    assert told.startswith("settings read again; applied: a.b; not until the robot is disarmed")
    assert told.endswith("not until a restart: e.f")
    assert str(Reloaded(problems=("x", "y"))) == "settings refused, the old ones hold: x; y"


def edit(made: Rig, file: str, before: str, after: str) -> None:
    path = made.folder / file
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))


def hang_up(made: Rig) -> dict[str, Any]:
    """SIGHUP, and the event that tells what became of it."""
    known = len(made.call("events", limit=100, kinds=["reload"]))
    made.processes[0].send_signal(signal.SIGHUP)
    end_s = time.monotonic() + 10
    while time.monotonic() < end_s:
        events = made.call("events", limit=100, kinds=["reload"])
        if len(events) > known:
            event: dict[str, Any] = events[-1]
            return event
        time.sleep(0.02)
    raise AssertionError((made.folder / "vlad.log").read_text())


@pytest.fixture
def moving():
    """A daemon whose policy drives slowly ahead on what a camera sees; not armed yet."""
    with rig({"camera": {"type": "image", "max_age_s": 1.0}}, realtime=UNLOCKED) as made:
        made.policy["bundle"] = str(write_policy(made.folder / "models" / "bench", "camera", 32, rounds=0))
        made.start_daemon("vlad", "--config", made.write_settings())
        made.feed(["camera:image:30:64x48"])
        yield made


def test_new_limits_hold_at_once_while_disarmed_and_wait_while_armed(moving: Rig) -> None:
    edit(moving, "rover.toml", "velocity = 1.0", "velocity = 0.02")
    assert "applied: limits.axes.linear_x.velocity" in hang_up(moving)["text"]
    with CommandReceiver(moving.commands) as motor:
        moving.arm()
        fastest, end_s = 0.0, time.monotonic() + 2
        while time.monotonic() < end_s:
            command = motor.receive(timeout_s=0.05)
            if command.mode is CommandMode.RUN:
                fastest = max(fastest, float(command.values[0]))
        assert 0.0 < fastest < 0.0201
        edit(moving, "rover.toml", "velocity = 0.02", "velocity = 0.5")
        assert "not until the robot is disarmed" in hang_up(moving)["text"]
        assert moving.call("status")["reload"]["waiting"] == [
            "limits.axes.linear_x.velocity",
            "limits.axes.angular_z.velocity",
        ]
        assert moving.call("status")["mode"] != "disarmed"


def test_mistakes_change_nothing_and_are_told(moving: Rig) -> None:
    edit(moving, "vlad.toml", "[realtime]", "[safety]\nspeed = 9\nsilence_s = -1.0\n[realtime]")
    event = hang_up(moving)
    assert event["level"] == "WARNING"
    assert "safety.speed: unknown key" in event["text"]
    problems = moving.call("status")["reload"]["problems"]
    assert len(problems) == 2
    assert moving.call("reload")["ok"] is False
    edit(moving, "vlad.toml", "speed = 9\nsilence_s = -1.0\n", "silence_s = 0.7\n")
    answer = moving.call("reload")
    assert (answer["ok"], answer["applied"], answer["problems"]) == (True, ["safety.silence_s"], [])
    assert moving.call("status")["reload"]["problems"] == []


def test_what_needs_a_restart_is_told_and_the_rest_holds(moving: Rig) -> None:
    edit(moving, "vlad.toml", "[guard]", '[log]\nlevel = "debug"\n[safety]\ncommand_ttl_ms = 50\n[guard]')
    event = hang_up(moving)
    assert event["text"].endswith("applied: log.level; not until a restart: safety.command_ttl_ms")
    assert moving.call("reload")["applied"] == []
    assert moving.call("reload")["restart"] == ["safety.command_ttl_ms"]


def test_a_file_that_is_gone_keeps_the_old_settings(moving: Rig) -> None:
    (moving.folder / "rover.toml").unlink()
    assert "cannot be read" in hang_up(moving)["text"]
    assert moving.call("status")["mode"] == "disarmed"


def test_the_readers_own_mistakes_are_config_errors(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        loaded(tmp_path, "[safety]\nspeed = 1\n")
