"""vladctl doctor, check-config and keys: what is wrong, and how to mend it, with or without a daemon."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.ctl.conftest import Vladctl
from tests.ctl.reports import fault, report, signal
from tests.fake_daemon import Served
from tools.benchmarks.rig import write_remote_policy
from vlad.config import RealtimeSettings, RecordSettings, load_settings
from vlad.ctl.doctor.access import check_groups
from vlad.ctl.doctor.daemon import check_daemon
from vlad.ctl.doctor.finding import Finding
from vlad.ctl.doctor.folders import check_database, check_disk, check_folder, check_latch, check_recordings
from vlad.ctl.doctor.machine import check_clock, check_governor, check_realtime
from vlad.ctl.doctor.settings import check_bundle, check_outlets, check_settings

ROBOT = """
name = "rover"
type = "rover"
command = "twist"
[axes.linear_x]
velocity = 0.5
acceleration = 1.0
"""
SETTINGS = """
[robot]
limits = "rover.toml"
[paths]
run_dir = "{folder}/run"
state_dir = "{folder}/state"
[signals.camera]
type = "image"
max_age_s = 0.2
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "rover.toml").write_text(ROBOT)
    path = tmp_path / "vlad.toml"
    path.write_text(SETTINGS.format(folder=tmp_path))
    return path


def found(findings: Iterator[Finding], state: str) -> str:
    return "\n".join(f"{f.what} -> {f.mend}" for f in findings if f.state == state)


def test_doctor_works_without_a_daemon(vladctl: Vladctl, config: Path) -> None:
    done = vladctl("doctor", "--config", str(config), "--json")
    answer = json.loads(done.stdout)
    assert (done.returncode, answer["ok"], answer["schema"]) == (0, True, 1)
    seen = {(finding["topic"], finding["state"]) for finding in answer["findings"]}
    assert {("settings", "ok"), ("libraries", "ok"), ("daemon", "warning"), ("policy", "warning")} <= seen
    assert all(finding["mend"] for finding in answer["findings"] if finding["state"] != "ok")
    plain = vladctl("doctor", "--config", str(config)).stdout
    assert "0 problems" in plain


def test_doctor_lists_every_mistake_of_the_settings_and_goes_on(vladctl: Vladctl, config: Path) -> None:
    config.write_text(config.read_text() + "rate_hzz = 3\n[realtime]\ntick_hz = 5\n")
    done = vladctl("doctor", "--config", str(config), "--json")
    answer = json.loads(done.stdout)
    assert (done.returncode, answer["ok"]) == (1, False)
    problems = [finding["what"] for finding in answer["findings"] if finding["state"] == "problem"]
    assert any("signals.camera.rate_hzz" in problem for problem in problems)
    assert any("realtime.tick_hz" in problem for problem in problems)
    assert any(finding["topic"] == "libraries" for finding in answer["findings"])


def test_doctor_asks_the_running_daemon(daemon: Served, vladctl: Vladctl, config: Path) -> None:
    daemon.actions.report = report(signals={"camera": signal("image", age_s=None)})
    done = vladctl("doctor", "--config", str(config), "--json")
    what = {
        finding["what"] for finding in json.loads(done.stdout)["findings"] if finding["state"] == "problem"
    }
    assert done.returncode == 1
    assert "camera: never arrived" in what


def test_what_the_daemon_says_becomes_findings(tmp_path: Path, config: Path) -> None:
    settings, _ = load_settings(config)
    status = report(faults=[fault(level="DANGER")], refusals=[fault(level="DANGER"), fault("no_policy", "")])
    status["faults"][0]["subject"] = status["refusals"][0]["subject"] = "laser"
    status["signals"] = {"camera": signal("image", age_s=0.9, bad={"truncated": 4}),
                         "laser": signal("laser_scan", age_s=None),
                         "instruction": signal("instruction", age_s=None)}  # fmt: skip
    status["tick"]["missed"] = 3
    findings = list(check_daemon(tmp_path, status, settings))
    problems, warnings = found(iter(findings), "problem"), found(iter(findings), "warning")
    assert problems.count("signal_stale laser") == 1
    assert "inference is restarting: OSError: x" in problems
    assert "camera: 0.90 s old, at most 0.2 s is allowed" in problems
    assert "sensors.sock: is missing" in problems
    assert "no_policy" in warnings
    assert "memory of the running daemon refused" in warnings
    assert "3 of 75,420 ticks were missed" in warnings
    assert "4 of 12,349 messages were dropped, truncated" in warnings
    assert "instruction" not in problems
    assert "never arrived" not in problems, "the fault of the laser says so already"
    assert "0 of 3 arrive" in found(iter(findings), "ok")
    assert "disk: 90% used -> Free space." in warnings


def test_alerts_that_do_not_get_out_and_a_computer_that_is_not_measured_are_told(tmp_path: Path) -> None:
    health = report()["health"] | {"age_s": 42.0, "alerts": []}
    health["outlets"] = {"webhook": {"problem": "host: timed out", "delivered": 0, "lost": 1}}
    findings = list(check_daemon(tmp_path, report(health=health), None))
    assert "nothing was measured for 42 s" in found(iter(findings), "problem")
    assert "alerts do not get out: host: timed out -> see health.webhook" in found(iter(findings), "warning")


def test_the_page_is_told_with_its_address_or_with_what_is_wrong(tmp_path: Path) -> None:
    assert "http://127.0.0.1:8420" in found(check_daemon(tmp_path, report(), None), "ok")
    page = {"on": True, "address": "", "browsers": 0, "problem": "127.0.0.1:8420: in use"}
    warnings = found(check_daemon(tmp_path, report(page=page), None), "warning")
    assert "127.0.0.1:8420: in use -> see [page] in the settings" in warnings


def test_an_alert_that_is_told_of_anyway_is_told_once(tmp_path: Path) -> None:
    alert = {"component": "signal camera", "level": "DANGER", "text": "never came", "action": "start it"}
    status = report(health=report()["health"] | {"alerts": [alert]})
    assert "signal camera" not in found(check_daemon(tmp_path, status, None), "problem")


def test_a_program_for_alerts_that_cannot_be_run_is_found(config: Path) -> None:
    config.write_text(config.read_text() + f'[health]\ncommand = ["{config}"]\n')
    settings, _ = load_settings(config)
    config.chmod(0o644)
    assert f"{config}: cannot be run" in found(check_outlets(settings), "problem")
    config.chmod(0o755)
    assert not list(check_outlets(settings))


def test_doctor_looks_where_the_running_daemon_keeps_its_state(
    daemon: Served, vladctl: Vladctl, config: Path, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "estop.json").write_text("garbage")
    daemon.actions.report = report(state_dir=str(tmp_path / "elsewhere"))
    findings = json.loads(vladctl("doctor", "--config", str(config), "--json").stdout)["findings"]
    assert any(finding["topic"] == "e-stop" and finding["state"] == "warning" for finding in findings)


def test_folders_that_do_not_serve_are_found(tmp_path: Path) -> None:
    assert "the daemon makes it" in found(check_folder("run folder", tmp_path / "a" / "b"), "ok")
    assert "writable" in found(check_folder("run folder", tmp_path), "ok")
    (tmp_path / "file").touch()
    assert "is not a folder" in found(check_folder("run folder", tmp_path / "file" / "x"), "problem")
    tmp_path.chmod(0o777)
    assert "chmod o-w" in found(check_folder("state folder", tmp_path), "problem")


def test_a_latched_estop_and_corrupt_databases_are_found(tmp_path: Path) -> None:
    assert "not latched" in found(check_latch(tmp_path), "ok")
    (tmp_path / "estop.json").write_text("garbage")
    assert "vladctl reset" in found(check_latch(tmp_path), "warning")
    assert list(check_database(tmp_path)) == []
    (tmp_path / "vlad.db").write_text("garbage" * 1_000)
    (tmp_path / "vlad.db.corrupt").touch()
    warnings = found(check_database(tmp_path), "warning")
    assert "not a database" in warnings
    assert "moved aside" in warnings
    (tmp_path / "vlad.db").unlink()
    with sqlite3.connect(tmp_path / "vlad.db") as database:
        database.execute("CREATE TABLE events(id)")
    assert "0 events" in found(check_database(tmp_path), "ok")


@pytest.mark.parametrize(("used", "state"), [(0.5, "ok"), (0.9, "warning"), (0.97, "problem")])
def test_a_disk_that_fills_up_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, used: float, state: str
) -> None:
    class Usage:
        total, free = 100_000_000_000, int(100_000_000_000 * (1 - used))

    monkeypatch.setattr("shutil.disk_usage", lambda path: Usage)
    assert f"{used:.0%} full" in found(check_disk(tmp_path / "not" / "there"), state)


def test_the_processor_and_the_clock_are_judged(tmp_path: Path) -> None:
    assert "not scaled" in found(check_governor(tmp_path), "ok")
    for cpu, governor in enumerate(["powersave", "powersave", "performance"]):
        folder = tmp_path / f"cpu{cpu}" / "cpufreq"
        folder.mkdir(parents=True)
        (folder / "scaling_governor").write_text(governor + "\n")
    assert "powersave on 2 CPUs, performance on 1 CPUs" in found(check_governor(tmp_path), "warning")
    assert "does not tell" in found(check_clock(tmp_path), "warning")
    (tmp_path / "current_clocksource").write_text("hpet\n")
    assert "hpet" in found(check_clock(tmp_path), "warning")
    (tmp_path / "current_clocksource").write_text("tsc\n")
    assert "tsc" in found(check_clock(tmp_path), "ok")


def test_asking_for_real_time_leaves_the_scheduler_as_it_was() -> None:
    before = os.sched_getscheduler(0)
    findings = list(check_realtime(RealtimeSettings(cpus=(0, 4_000))))
    assert os.sched_getscheduler(0) == before
    assert "[4000] are not there" in found(iter(findings), "problem")
    assert "fifo_priority is 0" in found(check_realtime(RealtimeSettings(fifo_priority=0)), "warning")


def test_groups_that_are_missing_are_found() -> None:
    assert "groupadd --system no-such-group" in found(check_groups("no-such-group"), "warning")


def test_permissions_that_are_too_wide_are_problems(config: Path) -> None:
    config.chmod(0o666)
    (config.parent / "key").write_text("secret")
    (config.parent / "key").chmod(0o644)
    config.write_text(config.read_text() + '[wire]\ncurve_server_secret = "key"\n')
    settings, robot = load_settings(config)
    problems = found(check_settings(config, settings, robot), "problem")
    assert f"chmod o-w {config}" in problems
    assert f"chmod 600 {config.parent / 'key'}" in problems
    (config.parent / "key").unlink()
    assert "vladctl keys" in found(check_settings(config, settings, robot), "problem")


def test_a_policy_s_server_is_looked_for(config: Path) -> None:
    write_remote_policy(config.parent / "models" / "bench", "openpi", "camera", (48, 64))
    other_axis = ROBOT[ROBOT.index("[axes") :].replace("linear_x", "angular_z")
    (config.parent / "rover.toml").write_text(ROBOT + other_axis)
    config.write_text(config.read_text() + '[policy]\nbundle = "models/bench"\n')
    assert "which is not set -> write [policy.server]" in found(
        check_bundle(*load_settings(config)), "problem"
    )
    (config.parent / "token").write_text("secret")
    (config.parent / "token").chmod(0o644)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"ws://127.0.0.1:{server.getsockname()[1]}"
        config.write_text(
            f'{config.read_text()}[policy.server]\naddress = "{address}"\ntoken_file = "token"\n'
        )
        findings = list(check_bundle(*load_settings(config)))
    assert f"{address}: can be connected to" in found(iter(findings), "ok")
    assert "everybody may read the server's key -> chmod o-r" in found(iter(findings), "problem")
    assert f"{address}: Connection refused" in found(check_bundle(*load_settings(config)), "warning")
    (config.parent / "token").write_text("")
    config.write_text(f'{config.read_text().replace("ws://", "wss://")}ca_file = "ca.pem"\n')
    problems = found(check_bundle(*load_settings(config)), "problem")
    assert "token: must hold the server's key, in one line" in problems
    assert "ca.pem: cannot be read (No such file or directory) -> put the file there" in problems


def test_a_bundle_that_would_be_refused_is_a_problem(config: Path) -> None:
    text = config.read_text()
    config.write_text(text + '[policy]\nbundle = "nothing"\n')
    problems = found(check_bundle(*load_settings(config)), "problem")
    assert "nothing/policy.toml" in problems


def test_check_config_tells_what_it_understood(vladctl: Vladctl, config: Path) -> None:
    done = vladctl("check-config", str(config))
    assert done.returncode == 0
    for part in ("rover (rover), twist", "camera: image, required, at most 0.2 s old", "no mistakes"):
        assert part in done.stdout
    answer = json.loads(vladctl("check-config", str(config), "--json").stdout)
    assert (answer["ok"], answer["summary"]["axes"]) == (True, ["linear_x"])


def test_check_config_reports_three_mistakes_at_once(vladctl: Vladctl, config: Path) -> None:
    config.write_text(config.read_text() + "rate_hzz = 3\n[realtime]\ntick_hz = 5\n")
    (config.parent / "rover.toml").write_text(ROBOT.replace("velocity = 0.5", "velocity = -0.5"))
    done = vladctl("check-config", str(config))
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert any(line.startswith(f"{config}: signals.camera.rate_hzz: unknown key") for line in lines)
    assert any(line.startswith(f"{config}: realtime.tick_hz: ") and "(got 5)" in line for line in lines)
    assert any(line.startswith(f"{config.parent}/rover.toml: axes.linear_x.velocity: ") for line in lines)
    assert "mistakes: 3" in done.stdout
    answer: dict[str, Any] = json.loads(vladctl("check-config", str(config), "--json").stdout)
    assert len(answer["problems"]) == 3


def test_keys_are_private_whole_and_never_replaced(vladctl: Vladctl, tmp_path: Path) -> None:
    import zmq.auth

    folder = tmp_path / "keys"
    done = vladctl("keys", str(folder), "arm", "--json")
    assert len(json.loads(done.stdout)["made"]) == 4
    assert (folder / "server.key_secret").stat().st_mode & 0o077 == 0
    before = (folder / "server.key_secret").read_bytes()
    public, secret = zmq.auth.load_certificate(folder / "drivers" / "arm.key_secret")
    assert zmq.auth.load_certificates(folder / "clients") == {public: True}
    assert secret
    again = vladctl("keys", str(folder), "arm", "leg", "--json")
    assert len(json.loads(again.stdout)["made"]) == 2
    assert (folder / "server.key_secret").read_bytes() == before
    assert vladctl("keys", str(folder), "../x").returncode == 1
    assert vladctl("keys", "/proc/x").returncode == 1


def test_real_time_chunking_with_a_policy_that_cannot_is_a_warning() -> None:
    settings, robot = load_settings(Path(__file__).parents[2] / "etc" / "demo.toml")
    assert not list(found(check_bundle(settings, robot), "warning"))
    wanted = settings.policy.model_copy(update={"follow": "rtc"})
    warnings = found(check_bundle(settings.model_copy(update={"policy": wanted}), robot), "warning")
    assert 'no input of the kind prefix, so its chunks are joined as with "blend" -> use a bundle' in warnings


def test_recordings_need_room_and_a_folder_that_can_be_written(tmp_path: Path) -> None:
    assert "record.mode is off" in found(check_recordings(tmp_path, RecordSettings(mode="off")), "warning")
    (tmp_path / "recordings").mkdir()
    (tmp_path / "recordings" / "a.mcap").write_bytes(bytes(3_000_000))
    small = RecordSettings(mode="triggered", disk_mb=10, free_mb=0)
    assert "1 recordings, 0.0 of 0.0 GB" in found(check_recordings(tmp_path, small), "ok")
    large = RecordSettings(mode="triggered", disk_mb=10**9)
    assert "the disk has room for" in found(check_recordings(tmp_path, large), "warning")


def test_a_black_box_that_lags_or_has_no_disk_is_told() -> None:
    record = report()["record"]
    lags = found(check_daemon(Path("/none"), report(), None), "warning")
    assert "2 messages, pictures or chunks were left out" in lags
    full = report(record={**record, "problem": "/r: nothing can be recorded: full"})
    assert "/r: nothing can be recorded: full" in found(check_daemon(Path("/none"), full, None), "problem")
