"""The page as a part of the daemon."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from tools.benchmarks.rig import Rig, rig
from vlad.config import Settings
from vlad.dashboard import part
from vlad.dashboard.part import MISSING, Page

UNLOCKED = {"lock_memory": False}
PATIENCE_S = 20.0


def await_status(made: Rig, what: Callable[[Any], Any]) -> Any:
    end_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < end_s:
        status = made.call("status")
        if what(status):
            return status
        time.sleep(0.05)
    pytest.fail(f"not seen within {PATIENCE_S} s; the last status was {json.dumps(status, indent=1)}")


def get(address: str, path: str = "/") -> tuple[int, bytes]:
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port or 0, timeout=PATIENCE_S)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def serves(address: str) -> bool:
    try:
        get(address)
    except OSError:
        return False
    return True


@pytest.fixture
def made() -> Iterator[Rig]:
    with rig({}, realtime=UNLOCKED) as idle:
        idle.page["listen"] = "127.0.0.1:0"
        yield idle


def test_the_status_says_where_it_is_and_vlad_takes_it_along_when_it_ends(made: Rig) -> None:
    made.start_daemon("vlad", "--config", made.write_settings())
    address = await_status(made, lambda status: status["page"]["address"])["page"]["address"]
    status, body = get(address)
    assert (status, b"<title>vlad</title>" in body) == (200, True)
    status, body = get(address, "/metrics")
    assert (status, b"# TYPE vlad_" in body) == (200, True)
    made.stop(0)
    assert not serves(address)


def test_it_ends_with_a_daemon_that_is_killed(made: Rig) -> None:
    made.start_daemon("vlad", "--config", made.write_settings())
    address = await_status(made, lambda status: status["page"]["address"])["page"]["address"]
    made.processes[0].kill()
    end_s = time.monotonic() + PATIENCE_S
    while serves(address):
        assert time.monotonic() < end_s, "it goes on"
        time.sleep(0.05)


def test_when_it_dies_it_is_started_anew_and_the_robot_is_not_touched(made: Rig) -> None:
    made.start_daemon("vlad", "--config", made.write_settings())
    await_status(made, lambda status: status["page"]["address"])
    before = await_status(made, lambda status: status["mode"] == "disarmed")
    [process] = [child for child in made.daemon.children() if "vlad.dashboard" in child.cmdline()]
    os.kill(process.pid, signal.SIGKILL)
    gone = await_status(made, lambda status: status["parts"]["page"]["restarts"])
    assert "ended with status" in gone["parts"]["page"]["error"]
    again = await_status(made, lambda status: status["page"]["address"])
    assert get(again["page"]["address"])[0] == 200
    assert again["mode"] == before["mode"]
    assert again["pid"] == before["pid"]


def test_a_port_in_use_is_told_in_the_status_until_it_is_free(made: Rig) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        made.page["listen"] = f"127.0.0.1:{other.getsockname()[1]}"
        made.start_daemon("vlad", "--config", made.write_settings())
        status = await_status(made, lambda status: status["page"]["problem"])
        assert "Address already in use" in status["page"]["problem"]
        assert (status["page"]["address"], status["parts"]["page"]["restarts"]) == ("", 0)
        assert status["mode"] == "disarmed"
    status = await_status(made, lambda status: status["page"]["address"])
    assert status["page"]["problem"] == ""


def test_without_the_extra_the_status_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings.model_validate({"robot": {"limits": "x.toml"}, "signals": {}})
    monkeypatch.setattr(part, "find_spec", lambda name: None)
    page = Page(settings)
    assert not page.on
    assert page.report() == {"on": False, "address": "", "browsers": 0, "problem": MISSING}
    assert "pip install 'vlad[page]'" in MISSING


def test_without_an_address_there_is_no_page_and_no_word_of_it() -> None:
    values = {"robot": {"limits": "x.toml"}, "signals": {}, "page": {"listen": ""}}
    page = Page(Settings.model_validate(values))
    assert page.report() == {"on": False, "address": "", "browsers": 0, "problem": ""}
