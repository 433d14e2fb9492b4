"""Files, keys, sockets and secrets in the security scan: real ones, with modes that they should not have."""

import os
import socket
from pathlib import Path

import pytest

from tests.fake_daemon import settings_for
from vlad.maintenance.security import files
from vlad.maintenance.security.values import own_ports, secret_files

ROOT = Path(__file__).resolve().parents[2]
KEY = "sk-abcdefghij0123456789KLMN"


def states(findings):
    return {finding.state for finding in findings}


@pytest.fixture
def etc(tmp_path):
    """Settings, a drop-in and limits that only their owner may change."""
    folder = tmp_path / "etc of ours"
    (folder / "vlad.toml.d").mkdir(parents=True)
    for name in ("vlad.toml", "vlad.toml.d/10-site.toml", "robot.toml"):
        (folder / name).write_text('[robot]\nlimits = "robot.toml"\n')
        (folder / name).chmod(0o644)
    folder.chmod(0o755)
    return folder


def of_settings(etc):
    return list(files.check_settings_files(etc / "vlad.toml", etc / "robot.toml"))


def test_settings_that_only_their_owner_may_change_are_well(etc):
    assert states(of_settings(etc)) == {"ok"}


@pytest.mark.parametrize("name", ["vlad.toml", "vlad.toml.d", "vlad.toml.d/10-site.toml", "robot.toml", "."])
@pytest.mark.parametrize(
    ("mode", "state", "mend"), [(0o666, "problem", "chmod go-w"), (0o664, "warning", "chmod g-w")]
)
def test_settings_that_others_may_change_are_told_with_the_command_that_mends_it(
    etc, name, mode, state, mend
):
    (etc / name).chmod(mode | (0o111 if (etc / name).is_dir() else 0))
    (finding,) = of_settings(etc)
    assert finding.state == state
    assert finding.mend.startswith(mend)
    os.system(finding.mend)
    assert states(of_settings(etc)) == {"ok"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file away")
def test_settings_of_another_user_are_told(etc):
    os.chown(etc / "vlad.toml", 12345, 12345)
    (finding,) = of_settings(etc)
    assert (finding.state, finding.mend) == ("warning", f"chown root '{etc / 'vlad.toml'}'")


@pytest.mark.parametrize(
    "line",
    [
        f'token = "{KEY}"',
        f"# the key was {KEY}",
        'webhook = "https://hooks.example/services/T0123/AbCdEfGhIjKlMnOpQrSt"',
        'address = "wss://robot:hunter2@10.0.0.5:8000"',
        'command = ["/usr/bin/tell", "--password", "correct-horse-1-battery"]',
        "-----BEGIN PRIVATE KEY-----",
        'x = "AKIAIOSFODNN7EXAMPLE"',
    ],
)
def test_a_secret_in_the_settings_is_told_by_its_line_and_not_repeated(etc, line):
    (etc / "vlad.toml").write_text(f"[robot]\n\n{line}\n")
    (finding,) = of_settings(etc)
    assert finding.state == "problem"
    assert "vlad.toml:3" in finding.what
    assert not any(part in finding.what + finding.mend for part in ("abcdef", "hunter2", "horse", "AbCdEf"))
    (etc / "vlad.toml").chmod(0o640)
    assert states(of_settings(etc)) == {"warning"}


@pytest.mark.parametrize(
    "line",
    [
        'token_file = "keys/server_2026_production.token"',
        'curve_server_secret = "/etc/vlad/keys/server.key_secret"',
        'webhook = "https://10.0.0.5/alerts"',
        'address = "wss://10.0.0.5:8000"',
        'name = "secret_key_of_robot_0001"',
    ],
)
def test_what_only_names_a_secret_is_none(etc, line):
    (etc / "vlad.toml").write_text(f"{line}\n")
    assert states(of_settings(etc)) == {"ok"}


@pytest.mark.parametrize("file", ["etc/vlad.toml", "etc/demo.toml", "etc/g1.toml"])
def test_the_settings_that_come_with_vlad_hold_no_secret(file):
    config = ROOT / file
    found = files.check_settings_files(config, ROOT / "etc/robots/rover.toml")
    assert not [one.what for one in found if "secret" in one.what]


def with_key(folder, mode, key="token_file"):
    path = folder / "robot.key"
    path.write_text("a secret\n")
    path.chmod(mode)
    server = {"address": "wss://10.0.0.5:8000", "token_file": path}
    values = settings_for(folder).model_dump()
    values["wire" if key == "curve_server_secret" else "policy"] |= (
        {"curve_server_secret": path} if key == "curve_server_secret" else {"server": server}
    )
    return type(settings_for(folder)).model_validate(values)


@pytest.mark.parametrize(
    ("key", "mode", "state"),
    [
        ("token_file", 0o600, "ok"),
        ("token_file", 0o640, "ok"),
        ("token_file", 0o644, "problem"),
        ("token_file", 0o660, "problem"),
        ("curve_server_secret", 0o600, "ok"),
        ("curve_server_secret", 0o640, "warning"),
        ("curve_server_secret", 0o604, "problem"),
    ],
)
def test_keys_that_others_may_use_or_change_are_told_and_the_command_mends_it(tmp_path, key, mode, state):
    settings = with_key(tmp_path, mode, key)
    (finding,) = files.check_keys(settings)
    assert finding.state == state
    if finding.mend:
        os.system(finding.mend)
        assert states(files.check_keys(settings)) == {"ok"}


def test_a_key_that_is_missing_is_told(tmp_path):
    settings = with_key(tmp_path, 0o600)
    (tmp_path / "robot.key").unlink()
    assert states(files.check_keys(settings)) == {"warning"}


def test_secret_files_are_found_by_the_names_of_their_keys(tmp_path):
    settings = with_key(tmp_path, 0o600)
    assert [key for key, _ in secret_files(settings)] == ["policy.server.token_file"]


@pytest.fixture
def trusting(tmp_path):
    """Settings that trust the keys in a folder, and run a program."""
    clients, program = tmp_path / "clients", tmp_path / "tell"
    clients.mkdir(mode=0o755)
    (clients / "camera.key").write_text("public\n")
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    values = settings_for(tmp_path).model_dump()
    values["wire"] |= {"curve_clients": clients}
    values["health"] |= {"command": (str(program),)}
    return type(settings_for(tmp_path)).model_validate(values)


def test_what_the_settings_trust_and_run_is_well_while_only_its_owner_may_change_it(trusting):
    assert states(files.check_named_files(trusting)) == {"ok"}


@pytest.mark.parametrize("name", ["clients", "clients/camera.key", "tell"])
def test_whom_the_settings_trust_and_what_they_run_may_not_be_for_everybody_to_change(
    trusting, tmp_path, name
):
    (tmp_path / name).chmod((tmp_path / name).stat().st_mode | 0o022)
    (finding,) = files.check_named_files(trusting)
    assert finding.state == "problem"
    os.system(finding.mend)
    assert states(files.check_named_files(trusting)) == {"ok"}


def test_the_ports_that_the_settings_open_are_known(tmp_path):
    values = settings_for(tmp_path).model_dump()
    values["wire"] = {
        "sensors_tcp": "tcp://192.168.7.1:7001", "curve_server_secret": "a", "curve_clients": "b"
    }  # fmt: skip
    settings = type(settings_for(tmp_path)).model_validate(values)
    assert own_ports(settings)[7001] == "wire.sensors_tcp"


@pytest.fixture
def state_dir(tmp_path):
    folder = tmp_path / "state"
    (folder / "recordings").mkdir(parents=True)
    (folder / "recordings/one.mcap").write_bytes(b"")
    (folder / "estop.json").write_text("{}")
    (folder / "estop.json").chmod(0o644)
    (folder / "link").symlink_to("/etc/passwd")
    folder.chmod(0o750)
    return folder


def test_a_state_folder_that_others_cannot_enter_is_well(state_dir):
    assert states(files.check_state(state_dir)) == {"ok"}


def test_a_state_folder_that_everybody_may_look_into_is_told(state_dir):
    state_dir.chmod(0o755)
    assert "warning" in states(files.check_state(state_dir))


def test_a_file_that_everybody_may_change_is_a_problem(state_dir):
    (state_dir / "estop.json").chmod(0o666)
    (finding,) = files.check_state(state_dir)
    assert finding.state == "problem"
    assert str(state_dir / "estop.json") in finding.what
    os.system(finding.mend)
    assert states(files.check_state(state_dir)) == {"ok"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file away")
def test_a_file_of_another_user_is_told(state_dir):
    os.chown(state_dir / "recordings/one.mcap", 12345, 12345)
    assert states(files.check_state(state_dir)) == {"warning"}


def test_a_state_folder_that_is_not_there_is_unknown(tmp_path):
    assert states(files.check_state(tmp_path / "none")) == {"unknown"}


def test_a_socket_that_everybody_may_connect_to_is_a_problem_and_the_command_mends_it(tmp_path):
    run_dir = tmp_path / "run"
    run_dir.mkdir(mode=0o750)
    run_dir.chmod(0o750)
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(run_dir / "control.sock"))
        for mode in (0o660, 0o755):  # the second is what a umask of 022 leaves: others may not write
            (run_dir / "control.sock").chmod(mode)
            assert states(files.check_sockets(run_dir)) == {"ok"}
        (run_dir / "control.sock").chmod(0o666)
        (finding,) = files.check_sockets(run_dir)
        assert finding.state == "problem"
        os.system(finding.mend)
        assert states(files.check_sockets(run_dir)) == {"ok"}


def test_a_run_folder_that_everybody_may_write_to_is_a_problem(tmp_path):
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    run_dir.chmod(0o777)
    assert "problem" in states(files.check_sockets(run_dir))
