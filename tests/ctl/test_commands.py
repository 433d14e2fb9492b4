"""vladctl, as people and scripts call it."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.ctl.conftest import Vladctl, environment
from tests.ctl.reports import fault, report
from tests.fake_daemon import Served

CONTROL_CODES = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")
LOOKING = [["status"], ["events"], ["model", "list"], ["record", "status"], ["record", "list"]]
LOOKING.append(["maintenance", "list"])
ACTING = [["arm"], ["disarm"], ["estop"], ["reset"], ["task", "go"], ["record", "mark"], ["record", "stop"]]
ACTING.append(["reload"])


@pytest.mark.parametrize("command", [*LOOKING, *ACTING], ids=" ".join)
def test_every_command_answers_in_words_and_in_json(
    daemon: Served, vladctl: Vladctl, command: list[str]
) -> None:
    plain = vladctl(*command)
    assert (plain.returncode, plain.stderr) == (0, "")
    assert not CONTROL_CODES.search(plain.stdout), "no terminal: no control codes"
    answer = vladctl(*command, "--json")
    assert answer.returncode == 0
    assert json.loads(answer.stdout)["schema"] == 1
    assert json.loads(vladctl("--json", *command).stdout).keys() == json.loads(answer.stdout).keys()


@pytest.mark.parametrize("command", [*LOOKING, *ACTING, ["top"]], ids=" ".join)
def test_without_a_daemon_it_says_how_to_start_it(
    tmp_path: Path, vladctl: Vladctl, command: list[str]
) -> None:
    done = vladctl(*command)
    assert done.returncode == 3
    assert f"the daemon is not running under {tmp_path}" in " ".join(done.stderr.split())
    assert "systemctl start vlad" in done.stderr
    assert "Traceback" not in done.stderr
    error = json.loads(vladctl(*command, "--json").stdout)["error"]
    assert error["code"] == "not_running"
    assert error["hint"]


def test_an_estop_that_did_not_arrive_says_so_loudly(vladctl: Vladctl) -> None:
    assert "THE ROBOT WAS NOT STOPPED BY THIS COMMAND" in vladctl("estop").stderr


def test_acts_arrive_as_they_were_typed(daemon: Served, vladctl: Vladctl) -> None:
    vladctl("task", "go", "to the", "red ball")
    vladctl("estop", "a", "hand")
    vladctl("task", "")
    assert [(act, *rest) for act, _, *rest in daemon.actions.done] == [
        ("task", "go to the red ball"), ("estop", "a hand"), ("task", ""),
    ]  # fmt: skip


def test_a_refused_arm_lists_reasons_and_hints_and_fails(daemon: Served, vladctl: Vladctl) -> None:
    daemon.actions.refusals = [fault(), fault("no_policy", "")]
    for command in ("arm", "reset"):
        done = vladctl(command)
        assert done.returncode == 1
        assert "signal_stale camera" in done.stdout
        assert "no_policy" in done.stdout
        assert "Is the driver running?" in done.stdout
        answer = vladctl(command, "--json")
        assert answer.returncode == 1
        assert json.loads(answer.stdout)["refusals"] == daemon.actions.refusals


def test_a_task_for_a_robot_that_takes_none_is_refused(daemon: Served, vladctl: Vladctl) -> None:
    daemon.actions.takes_tasks = False
    done = vladctl("task", "go")
    assert done.returncode == 1
    assert "no signal of type instruction" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["fly"],
        ["task"],
        ["events", "-n", "-1"],
        ["events", "-n", "1001"],
        ["events", "-n", "x"],
        ["model"],
    ],
    ids=str,
)
def test_wrong_usage_is_told_apart(vladctl: Vladctl, arguments: list[str]) -> None:
    done = vladctl(*arguments)
    assert done.returncode == 2
    assert "usage:" in done.stderr


def test_help_documents_the_exit_codes(vladctl: Vladctl) -> None:
    text = vladctl("--help").stdout
    for code, meaning in [(0, "done"), (1, "refused"), (2, "usage"), (3, "reached"), (4, "permitted")]:
        assert re.search(rf"^  {code}  .*{meaning}", text, re.MULTILINE)


def test_a_run_folder_named_anywhere_wins_over_the_environment(daemon: Served, vladctl: Vladctl) -> None:
    folder = str(daemon.folder)
    assert vladctl("--run-dir", folder, "status", VLAD_RUN_DIR="/nowhere").returncode == 0
    assert vladctl("status", "--run-dir", folder, VLAD_RUN_DIR="/nowhere").returncode == 0


def test_events_are_chosen_by_number_and_kind(daemon: Served, vladctl: Vladctl) -> None:
    for number in range(5):
        daemon.put("mode" if number % 2 else "act", f"number {number}")
    deadline_s = time.monotonic() + 10
    while "number 4" not in (done := vladctl("events", "-n", "2")).stdout and time.monotonic() < deadline_s:
        pass
    assert [line.rpartition(" ")[2] for line in done.stdout.splitlines()] == ["3", "4"]
    assert re.match(
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} CAUTION +mode: number 3$", done.stdout.splitlines()[0]
    )
    events = json.loads(vladctl("events", "--kind", "act", "--json").stdout)["events"]
    assert [event["text"] for event in events] == ["number 0", "number 2", "number 4"]


def test_events_are_followed_without_a_gap_or_a_repeat(daemon: Served) -> None:
    daemon.put("mode", "before")
    process = subprocess.Popen(
        [sys.executable, "-m", "vlad.ctl", "events", "--follow", "--json"],
        env=environment(daemon.folder), stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["text"] == "before"
    for number in range(20):
        daemon.put("mode", str(number))
    assert [json.loads(process.stdout.readline())["text"] for _ in range(20)] == [str(n) for n in range(20)]
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 0
    process.stdout.close()


def test_a_reader_that_leaves_early_is_no_error(daemon: Served) -> None:
    for number in range(500):
        daemon.put("mode", f"{number} " + "x" * 1_000)
    time.sleep(0.1)
    process = subprocess.Popen(
        [sys.executable, "-m", "vlad.ctl", "events", "-n", "500"],
        env=environment(daemon.folder), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    _, error = process.communicate(timeout=20)
    assert error == ""


def test_top_without_a_terminal_writes_a_line_for_each_report(daemon: Served) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "vlad.ctl", "top"],
        env=environment(daemon.folder), stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(2)]
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 0
    process.stdout.close()
    assert all("active SAFE" in line and not CONTROL_CODES.search(line[:-1]) for line in lines)


def test_top_draws_again_in_place_and_leaves_the_terminal_as_it_was(daemon: Served) -> None:
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "vlad.ctl", "top"],
        env=environment(daemon.folder, TERM="xterm-256color", COLUMNS="100", LINES="40"),
        stdin=slave, stdout=slave, stderr=slave,
    )  # fmt: skip
    os.close(slave)
    seen = _read_until(master, b"ACTIVE")
    daemon.actions.report = report(mode="stopping")
    seen += _read_until(master, b"STOPPING")
    process.send_signal(signal.SIGINT)
    seen += _read_until(master, b"\x1b[?1049l")
    assert process.wait(10) == 0
    os.close(master)
    assert b"\x1b[?1049h" in seen
    assert b"Traceback" not in seen


def _read_until(fd: int, wanted: bytes) -> bytes:
    seen = b""
    deadline_s = time.monotonic() + 15
    while wanted not in seen and time.monotonic() < deadline_s:
        if select.select([fd], [], [], 0.5)[0]:
            seen += os.read(fd, 65_536)
    assert wanted in seen
    return seen


def test_a_daemon_that_does_not_answer_is_told_apart_from_none(tmp_path: Path, vladctl: Vladctl) -> None:
    with socket.socket(socket.AF_UNIX) as frozen:
        frozen.bind(str(tmp_path / "control.sock"))
        frozen.listen(4)
        done = vladctl("status")
    assert done.returncode == 3
    assert "does not answer" in done.stderr
    assert "not running" in vladctl("status").stderr, "its socket alone is no daemon"


def test_a_daemon_that_hangs_up_is_no_traceback(tmp_path: Path, vladctl: Vladctl) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "control.sock"))
        listener.listen(4)

        def hang_up() -> None:
            connection, _ = listener.accept()
            connection.recv(10)
            connection.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        done = vladctl("status")
        thread.join()
    assert done.returncode == 3
    assert "hung up without an answer" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
def test_a_user_without_permission_is_told_which_group(daemon: Served) -> None:
    for folder in (daemon.folder, *daemon.folder.parents):
        folder.chmod(folder.stat().st_mode | 0o005)
    (daemon.folder / "control.sock").chmod(0o600)

    def ask(*arguments: str) -> subprocess.CompletedProcess[str]:
        code = (
            "import os, sys; import vlad.ctl.commands.act, vlad.ctl.commands.status\n"
            "from vlad.ctl.__main__ import main\n"
            "main(['status', '--run-dir', '/nowhere'])  # loads what root alone may be able to read\n"
            "os.setgroups([]); os.setgid(61234); os.setuid(61234)\n"
            "sys.exit(main(sys.argv[1:]))"
        )
        return subprocess.run(
            [sys.executable, "-c", code, *arguments],
            env=environment(daemon.folder), capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    done = ask("status")
    assert done.returncode == 4
    assert "usermod -aG vlad" in done.stderr
    (daemon.folder / "control.sock").chmod(0o666)
    done = ask("arm")
    assert done.returncode == 4
    assert "may not arm" in done.stderr
    assert daemon.actions.done == []


def test_models_are_listed_with_why_they_are_refused(daemon: Served, vladctl: Vladctl) -> None:
    daemon.actions.bundles = [
        {
            "name": "demo",
            "version": "1",
            "folder": "/m/demo/1",
            "backend": "onnx",
            "running": True,
            "refused": [],
        },
        {
            "name": "g1",
            "version": "2",
            "folder": "/m/g1/2",
            "running": False,
            "refused": ["hash of model.onnx"],
        },
        {"name": "old", "version": "1", "folder": "/m/old/1", "loaded": "resident", "refused": []},
    ]
    text = vladctl("model", "list").stdout
    assert re.search(r"demo 1 +running", text)
    assert re.search(r"g1 2 +refused", text)
    assert re.search(r"old 1 +resident", text)
    assert "hash of model.onnx" in text
    assert json.loads(vladctl("model", "list", "--json").stdout)["models"] == daemon.actions.bundles


def test_a_model_is_shown_as_its_manifest_says(daemon: Served, vladctl: Vladctl) -> None:
    text = vladctl("model", "show", "demo", "1").stdout
    assert re.search(r"folder +/m/demo/1", text)
    assert re.search(r"input image +name image, kind image", text)
    assert re.search(r"from trained +today", text)
    assert "0.123" not in text
    bundle = json.loads(vladctl("model", "show", "demo", "1", "--json").stdout)
    assert bundle["manifest"]["output"]["horizon"] == 20
    refused = vladctl("model", "show", "demo", "7")
    assert refused.returncode == 1
    assert "no bundle demo 7 is installed" in refused.stderr


def test_a_model_that_drives_is_told_with_what_it_was_tried_on(daemon: Served, vladctl: Vladctl) -> None:
    assert (
        "demo 1 drives; tried on 10 frames, 2.5 ms each" in vladctl("model", "activate", "demo", "1").stdout
    )
    assert "demo 0 drives; nothing came in to try it on" in vladctl("model", "rollback").stdout
    who = daemon.actions.done[0][1]
    assert daemon.actions.done == [("activate", who, "demo", "1"), ("rollback", who)]


def test_a_model_that_may_not_drive_is_told_with_every_reason(daemon: Served, vladctl: Vladctl) -> None:
    refused = vladctl("model", "activate", "demo", "7")
    assert refused.returncode == 1
    assert "no bundle demo 7 is installed" in refused.stdout
    assert "nothing was changed" in refused.stdout
    assert json.loads(vladctl("model", "activate", "demo", "7", "--json").stdout)["ok"] is False


def test_what_became_of_new_settings_is_told(daemon: Served, vladctl: Vladctl) -> None:
    daemon.actions.reloaded |= {"applied": ["policy.rate_hz"], "restart": ["realtime.tick_hz"]}
    done = vladctl("reload")
    assert done.returncode == 0
    assert "applied: policy.rate_hz" in done.stdout
    assert "after a restart: realtime.tick_hz" in done.stdout
    daemon.actions.reloaded = {"problems": ["x.toml: safety.speed: unknown key"]}
    daemon.actions.reloaded |= {"applied": [], "waiting": [], "restart": []}
    done = vladctl("reload")
    assert done.returncode == 1
    assert "refused, the old ones hold" in done.stdout
    assert "x.toml: safety.speed: unknown key" in done.stdout


def test_looking_needs_none_of_the_heavy_libraries(daemon: Served) -> None:
    code = (
        "import sys; from vlad.ctl.__main__ import main\n"
        "status = main(['status', '--json'])\n"
        "heavy = {'numpy', 'onnxruntime', 'cv2', 'zmq', 'pydantic', 'asyncio', 'tokenizers'}\n"
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else status)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(daemon.folder),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_completion_completes_commands_and_options(vladctl: Vladctl, tmp_path: Path) -> None:
    script = tmp_path / "completion.bash"
    script.write_text(vladctl("completion", "bash").stdout)

    def complete(*words: str) -> list[str]:
        listed = " ".join(f"'{word}'" for word in words)
        code = f"source {script}; COMP_WORDS=({listed}); COMP_CWORD={len(words) - 1}; _vladctl;"
        code += "echo ${COMPREPLY[@]}"
        done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=True)
        assert done.stderr == ""
        return done.stdout.split()

    assert complete("vladctl", "dis") == ["disarm"]
    assert complete("vladctl", "model", "") == [
        "-h", "--help", "--run-dir", "--json", "list", "show", "activate", "bench", "rollback", "import",
    ]  # fmt: skip
    assert {"list", "run", "show", "restore"} <= set(complete("vladctl", "maintenance", ""))
    assert "--follow" in complete("vladctl", "--run-dir", "/x", "events", "--")
    assert {"status", "doctor", "keys"} <= set(complete("vladctl", ""))


def test_marks_arrive_with_their_note_and_where_nothing_is_recorded_it_says_so(
    daemon: Served, vladctl: Vladctl
) -> None:
    vladctl("record", "mark", "it", "wobbles")
    vladctl("record", "start")
    assert [(act, *rest) for act, _, *rest in daemon.actions.done] == [
        ("record", "mark", "it wobbles"), ("record", "start", ""),
    ]  # fmt: skip
    daemon.actions.recording_off = True
    done = vladctl("record", "mark")
    assert done.returncode == 1
    assert 'record.mode is "off"' in done.stderr


def test_recordings_are_listed_and_a_black_box_without_a_disk_is_a_failure(
    daemon: Served, vladctl: Vladctl
) -> None:
    daemon.actions.files = [
        {"file": "/r/a_stop.mcap", "size_mb": 20.25, "ended_ns": 1_795_275_911 * 10**9, "whole": True},
        {"file": "/r/b.mcap.part", "size_mb": 0.5, "ended_ns": 1_795_275_999 * 10**9, "whole": False},
    ]
    first, second = vladctl("record", "list").stdout.splitlines()
    assert "20.2 MB  /r/a_stop.mcap" in first
    assert second.endswith("/r/b.mcap.part  (not finished)")
    shown = vladctl("record", "status")
    assert (shown.returncode, "2 pictures" in shown.stdout, "8 s more" in shown.stdout) == (0, True, True)
    assert "recording: stop signal_stale: camera" in vladctl("status").stdout
    problem = "/r: nothing can be recorded: No space left on device"
    failed = {**report()["record"], "state": "failed", "problem": problem}
    daemon.actions.report = report(record=failed)
    shown = vladctl("record", "status")
    assert (shown.returncode, problem in shown.stdout) == (1, True)
    assert problem in vladctl("status").stdout
