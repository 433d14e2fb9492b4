"""The daemon as a process: alerts reach the event log, the status, a webhook and a command."""

import json
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

from tests.health.servers import Webhook, tarpit, wait_until
from tools.benchmarks.rig import rig
from vlad.policy.toml import write_toml

SURE = {"memory": [0.0005, 0.001], "raise_s": 0.0}
"""This computer is surely beyond it."""
SIGNALS = {"camera": {"type": "image", "max_age_s": 1.0, "required": False}}


@contextmanager
def daemon(**health):
    with rig(SIGNALS, realtime={"lock_memory": False}) as made:
        settings = made.write_settings()
        folder = Path(f"{settings}.d")
        folder.mkdir()
        (folder / "health.toml").write_text(write_toml({"health": SURE | health}))
        made.start_daemon("vlad", "--config", settings)
        yield made


def alerts(made, kind="alert"):
    return [event for event in made.call("events", limit=100, kinds=[kind]) if "memory" in event["text"]]


def test_an_alert_gets_everywhere(tmp_path):
    program = tmp_path / "told"
    program.write_text(f'#!/bin/sh\ncat >> {tmp_path}/got\necho "$1" >> {tmp_path}/got\n')
    program.chmod(0o755)
    with (
        Webhook() as server,
        daemon(webhook=f"{server.url}/robot", command=[str(program), "robot 7"]) as made,
    ):
        (event,) = wait_until(lambda: alerts(made))
        assert event["level"] == "WARNING"
        assert "used" in event["text"]
        health = made.call("status")["health"]
        assert "memory" in [alert["component"] for alert in health["alerts"]]
        assert health["components"]["memory"]["score"] == 0.0
        assert health["score"] == 0.0
        posted = wait_until(lambda: [got for got in server.got if got["component"] == "memory"])
        assert (posted[0]["robot"], posted[0]["id"]) == ("bench", event["data"]["id"])
        assert server.paths[0] == "/robot"
        lines = wait_until(lambda: (tmp_path / "got").exists() and (tmp_path / "got").read_text().split("\n"))
        assert json.loads(lines[0].removesuffix("robot 7"))["event"] == "alert"
        vladctl = [sys.executable, "-m", "vlad.ctl", "--run-dir", made.run_dir]
        shown = subprocess.run([*vladctl, "health"], capture_output=True, text=True, timeout=60, check=True)
        assert "WARNING memory" in shown.stdout
        listed = subprocess.run([*vladctl, "events"], capture_output=True, text=True, timeout=60, check=True)
        assert "alert: memory" in listed.stdout
        wait_until(lambda: {"tick", "signal camera"} <= set(made.call("status")["health"]["components"]))
        assert len(alerts(made)) == 1


def test_a_webhook_that_never_answers_and_a_command_that_never_ends_delay_nothing(tmp_path):
    program = tmp_path / "told"
    program.write_text("#!/bin/sh\nexec sleep 1000\n")
    program.chmod(0o755)
    with tarpit() as url, daemon(webhook=url, command=[str(program)], timeout_s=60.0) as made:
        wait_until(lambda: alerts(made))
        ticks = made.call("status")["tick"]["count"]
        wait_until(lambda: made.call("status")["tick"]["count"] > ticks + 100)
        status = made.call("status")
        assert {name: outlet["delivered"] for name, outlet in status["health"]["outlets"].items()} == {
            "webhook": 0,
            "command": 0,
        }
        assert status["health"]["age_s"] < 10
        assert status["parts"]["health"]["restarts"] == 0
        made.stop(0)
        assert made.processes[0].returncode == 0


def test_an_outlet_that_fails_is_an_event():
    with daemon(command=["/nowhere/at/all"]) as made:
        (event,) = wait_until(lambda: made.call("events", limit=100, kinds=["alert_outlet"]))
        assert event["text"] == "alerts do not get out: /nowhere/at/all: No such file or directory"
        assert made.call("status")["health"]["outlets"]["command"]["problem"]
