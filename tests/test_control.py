"""The control socket: who may look, who may act, what bad clients get, and that none holds the loop."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.fake_daemon import FakeActions, settings_for
from vlad.control import Control
from vlad.control import methods as methods_module
from vlad.messages import Level

Row = dict[str, Any]


@asynccontextmanager
async def serving(folder: Path, actions: FakeActions, group: str = "vlad-operator") -> AsyncIterator[Path]:
    control = Control(settings_for(folder, group), actions)
    task = asyncio.create_task(control.run())
    path = folder / "control.sock"
    await asyncio.wait_for(control.listening.wait(), 10)
    try:
        yield path
        assert not task.done(), task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        actions.events.close()


class Connection:
    """A test's end of the socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def line(self) -> Row:
        return json.loads(await asyncio.wait_for(self.reader.readline(), 5))

    async def raw(self, data: bytes) -> Row:
        self.writer.write(data)
        return await self.line()

    async def ask(self, method: str, **params: Any) -> Row:
        return await self.raw(json.dumps({"id": 7, "method": method, "params": params}).encode() + b"\n")


@asynccontextmanager
async def connected(path: Path) -> AsyncIterator[Connection]:
    reader, writer = await asyncio.open_unix_connection(str(path), limit=2**22)
    try:
        yield Connection(reader, writer)
    finally:
        writer.close()


@pytest.fixture
def actions(tmp_path: Path) -> FakeActions:
    return FakeActions(tmp_path)


async def test_status_is_what_the_daemon_says(tmp_path: Path, actions: FakeActions) -> None:
    async with serving(tmp_path, actions) as path, connected(path) as client:
        assert await client.ask("status") == {"id": 7, "result": actions.status()}


async def test_the_daemons_own_user_may_say_for_whom_it_acts(tmp_path: Path, actions: FakeActions) -> None:
    async with serving(tmp_path, actions) as path, connected(path) as client:
        await client.ask("arm", on_behalf=" page \n 192.168.7.9" + "x" * 200)
        await client.ask("estop", reason="hot", on_behalf="page 10.0.0.1")
    (_, armed), (_, stopped, reason) = actions.done
    assert armed.startswith("page 192.168.7.9xxx")
    assert len(armed.partition(" (through ")[0]) == 100
    assert stopped.startswith("page 10.0.0.1 (through ")
    assert reason == "hot"


@pytest.mark.parametrize("other", ["", None, 7, ["x"], {}])
async def test_who_acts_for_nobody_acts_for_themselves(
    tmp_path: Path, actions: FakeActions, other: object
) -> None:
    async with serving(tmp_path, actions) as path, connected(path) as client:
        assert (await client.ask("arm", on_behalf=other))["result"]["ok"]
    assert "through" not in actions.done[0][1]


async def test_nobody_else_may_act_in_anothers_name(
    tmp_path: Path, actions: FakeActions, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(tmp_path, actions) as path, connected(path) as client:
        await client.ask("status")
        uid = os.geteuid()
        monkeypatch.setattr(methods_module.os, "geteuid", lambda: uid + 1)
        await client.ask("estop", on_behalf="the Pope")
    assert "Pope" not in actions.done[0][1]


async def test_acts_reach_the_daemon_with_who_did_them(tmp_path: Path, actions: FakeActions) -> None:
    async with serving(tmp_path, actions) as path, connected(path) as client:
        task, estop = {"text": " go \n there "}, {"reason": "a hand in the way"}
        asked = [("arm", {}), ("disarm", {}), ("reset", {}), ("task", task), ("estop", estop)]
        for method, params in asked:
            assert (await client.ask(method, **params))["result"]["ok"] is True
    acts = [(act, *rest) for act, who, *rest in actions.done]
    assert acts == [("arm",), ("disarm",), ("reset",), ("task", "go there"), ("estop", "a hand in the way")]
    assert all(f"uid {os.getuid()}" in who for _, who, *_ in actions.done)


async def test_a_refused_arm_says_every_reason(tmp_path: Path, actions: FakeActions) -> None:
    actions.refusals = [{"id": "signal_stale", "subject": "camera"}, {"id": "no_policy", "subject": ""}]
    async with serving(tmp_path, actions) as path, connected(path) as client:
        assert (await client.ask("arm"))["result"] == {"ok": False, "refusals": actions.refusals}
        assert (await client.ask("reset"))["result"]["refusals"] == actions.refusals


async def test_a_maintenance_task_is_run_by_hand_or_refused(tmp_path: Path, actions: FakeActions) -> None:
    actions.upkeep["tasks"] = {"vacuum": {"only_disarmed": True}}
    async with serving(tmp_path, actions) as path, connected(path) as client:
        assert (await client.ask("maintenance"))["result"] == actions.upkeep
        answer = await client.ask("maintain", name="vacuum", params={"deep": True})
        assert answer["result"] == {"ok": True, "name": "vacuum", "waits": True}
        assert (await client.ask("maintain", name="nothing"))["error"]["code"] == "refused"
        for wrong in ({}, {"name": 1}, {"name": "vacuum", "params": []}):
            assert (await client.ask("maintain", **wrong))["error"]["code"] == "bad_request"
    ((act, _, *rest),) = actions.done
    assert (act, *rest) == ("maintain", "vacuum", "{'deep': True}")


async def test_a_robot_that_takes_no_instruction_refuses_a_task(tmp_path: Path, actions: FakeActions) -> None:
    actions.takes_tasks = False
    async with serving(tmp_path, actions) as path, connected(path) as client:
        assert (await client.ask("task", text="go"))["error"]["code"] == "refused"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\n", "bad_request"),
        (b"{\n", "bad_request"),
        (b"[1]\n", "bad_request"),
        (b"\xff\xfe\n", "bad_request"),
        (b"[" * 60_000 + b"\n", "bad_request"),
        (b'{"id": {}, "method": "status"}\n', "bad_request"),
        (b'{"id": 1}\n', "unknown_method"),
        (b'{"id": 1, "method": "fly"}\n', "unknown_method"),
        (b'{"id": 1, "method": ["status"]}\n', "unknown_method"),
        (b'{"id": 1, "method": "status", "params": [1]}\n', "bad_request"),
        (b'{"id": 1, "method": "events", "params": {"limit": -1}}\n', "bad_request"),
        (b'{"id": 1, "method": "events", "params": {"limit": 1e9}}\n', "bad_request"),
        (b'{"id": 1, "method": "events", "params": {"kinds": "mode"}}\n', "bad_request"),
        (b'{"id": 1, "method": "subscribe", "params": {"status_hz": 1000}}\n', "bad_request"),
        (b'{"id": 1, "method": "task", "params": {}}\n', "bad_request"),
    ],
)
async def test_bad_requests_are_answered_and_the_connection_goes_on(
    tmp_path: Path, actions: FakeActions, data: bytes, code: str
) -> None:
    async with serving(tmp_path, actions) as path, connected(path) as client:
        error = (await client.raw(data))["error"]
        assert error["code"] == code
        assert error["message"]
        assert error["hint"]
        assert "result" in await client.ask("status")


async def test_an_endless_line_is_refused_and_hung_up(tmp_path: Path, actions: FakeActions) -> None:
    async with serving(tmp_path, actions) as path, connected(path) as client:
        assert (await client.raw(b"x" * 100_000))["error"]["code"] == "too_large"
        with pytest.raises((ConnectionError, json.JSONDecodeError)):
            await client.line()


async def test_events_are_queried_and_streamed(tmp_path: Path, actions: FakeActions) -> None:
    async with serving(tmp_path, actions) as path, connected(path) as client:
        actions.events.put("mode", Level.SAFE, "boot -> disarmed")
        actions.events.put("act", Level.CAUTION, "alice: arm: refused", value=float("nan"))
        listed = (await client.ask("events", limit=10))["result"]
        assert [event["kind"] for event in listed] == ["mode", "act"]
        assert listed[1]["data"] == {"value": None}
        assert (await client.ask("events", limit=10, kinds=["mode"]))["result"] == listed[:1]
        assert (await client.ask("events", limit=10, since_id=listed[0]["id"]))["result"] == listed[1:]
        assert (await client.ask("subscribe", events=True))["result"]["events"] is True
        actions.events.put("mode", Level.SAFE, "disarmed -> active")
        got = await client.line()
        assert (got["stream"], got["data"]["id"]) == ("event", listed[-1]["id"] + 1)


async def test_a_report_waits_until_there_is_room_for_it(tmp_path: Path, actions: FakeActions) -> None:
    async with serving(tmp_path, actions) as path, connected(path) as client:
        for waits, method in enumerate(("status", "metrics"), 1):
            await client.ask(method)
            assert actions.waits == waits
        await client.ask("estop")
        assert actions.waits == 2, "an act does not wait"
        await client.ask("subscribe", status_hz=10)
        await client.line()
        assert actions.waits >= 3


async def test_status_is_streamed_until_the_subscription_ends(tmp_path: Path, actions: FakeActions) -> None:
    async with serving(tmp_path, actions) as path, connected(path) as client:
        await client.ask("subscribe", status_hz=10)
        assert [(await client.line())["stream"] for _ in range(3)] == ["status"] * 3
        client.writer.write(b'{"id": "end", "method": "subscribe", "params": {}}\n')
        while (await client.line()).get("id") != "end":
            pass
        assert "result" in await client.ask("models")


async def test_a_subscriber_that_does_not_read_is_dropped(
    tmp_path: Path, actions: FakeActions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(methods_module, "_MOST_SKIPPED", 3)
    actions.padding = "x" * 100_000
    async with serving(tmp_path, actions) as path:
        deaf = socket.socket(socket.AF_UNIX)
        deaf.connect(str(path))
        deaf.sendall(b'{"method": "subscribe", "params": {"status_hz": 10}}\n')
        async with connected(path) as client:
            assert await client.ask("status")
            deaf.setblocking(False)
            await _until_hung_up(deaf)
            assert await client.ask("status")


async def test_a_client_that_asks_and_never_reads_is_dropped(tmp_path: Path, actions: FakeActions) -> None:
    actions.padding = "x" * 100_000
    async with serving(tmp_path, actions) as path:
        deaf = socket.socket(socket.AF_UNIX)
        deaf.connect(str(path))
        deaf.sendall(b'{"method": "status"}\n' * 100)
        deaf.setblocking(False)
        await _until_hung_up(deaf)


async def _until_hung_up(deaf: socket.socket) -> None:
    """Until the server has closed its side; that shows without reading a byte."""
    for _ in range(1_000):
        await asyncio.sleep(0.01)
        try:
            deaf.send(b" ")
        except BrokenPipeError:
            deaf.close()
            return
        except BlockingIOError:
            continue
    pytest.fail("the client was not dropped")


async def test_a_flood_of_requests_leaves_the_loop_to_others(tmp_path: Path, actions: FakeActions) -> None:
    async with serving(tmp_path, actions) as path, connected(path) as client:
        client.writer.write(b'{"method": "status"}\n' * 2_000)
        await asyncio.sleep(0.1)
        assert actions.status_calls < 1_000
        async with connected(path) as other:
            assert "result" in await other.ask("estop")


async def test_one_user_cannot_take_all_connections(tmp_path: Path, actions: FakeActions) -> None:
    async with serving(tmp_path, actions) as path:
        held = [await asyncio.open_unix_connection(str(path)) for _ in range(16)]
        async with connected(path) as client:
            assert (await client.line())["error"]["code"] == "busy"
        for _, writer in held:
            writer.close()
        await asyncio.sleep(0.05)
        async with connected(path) as client:
            assert "result" in await client.ask("status")


async def test_an_error_in_one_answer_ends_that_connection_alone(
    tmp_path: Path, actions: FakeActions, caplog: pytest.LogCaptureFixture
) -> None:
    reported: list[Row] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context))
    async with serving(tmp_path, actions) as path, connected(path) as other:
        actions.fails = True
        async with connected(path) as client:
            client.writer.write(
                b'{"method": "subscribe", "params": {"status_hz": 10}}\n{"method": "status"}\n'
            )
            assert "result" in await client.line()
            assert await client.reader.read() == b""
        actions.fails = False
        assert "result" in await other.ask("status")
    assert "serving a client failed" in caplog.text
    assert not reported, "the daemon takes errors that reach the loop for its own and stops the robot"


async def test_it_serves_on_uvloop_too(tmp_path: Path) -> None:
    code = (
        "import asyncio, sys, uvloop; from pathlib import Path; import tests.test_control as t\n"
        "a = t.FakeActions(Path(sys.argv[1]))\n"
        "uvloop.run(t.test_acts_reach_the_daemon_with_who_did_them(Path(sys.argv[1]), a))\n"
    )
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", code, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


async def test_a_stale_socket_is_replaced_and_the_own_one_removed(
    tmp_path: Path, actions: FakeActions
) -> None:
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(tmp_path / "control.sock"))
    stale.close()
    control = Control(settings_for(tmp_path), actions)
    task = asyncio.create_task(control.run())
    await asyncio.wait_for(control.listening.wait(), 10)
    async with connected(tmp_path / "control.sock") as client:
        assert "result" in await client.ask("status")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert not (tmp_path / "control.sock").exists()
    actions.events.close()


async def test_a_run_folder_with_too_long_a_path_is_a_clear_error(
    tmp_path: Path, actions: FakeActions
) -> None:
    folder = tmp_path / ("x" * 100)
    folder.mkdir()
    with pytest.raises(OSError, match=r"too long for a Unix socket .* choose a shorter paths\.run_dir"):
        await Control(settings_for(folder), actions).run()
    actions.events.close()


async def test_others_cannot_open_the_socket(tmp_path: Path, actions: FakeActions) -> None:
    async with serving(tmp_path, actions) as path:
        assert stat.S_IMODE(path.stat().st_mode) & 0o007 == 0


ASK_AS = """
import json, os, socket, sys
path, uid, gid, groups, lines = json.loads(sys.argv[1])
os.setgroups(groups); os.setgid(gid); os.setuid(uid)
s = socket.socket(socket.AF_UNIX); s.connect(path); f = s.makefile("rw")
for line in lines:
    f.write(json.dumps(line) + "\\n"); f.flush(); print(f.readline().strip())
"""


async def ask_as(path: Path, uid: int, gid: int, groups: list[int], *methods: str) -> list[Row]:
    """Ask as another user of this machine."""
    lines = [{"method": method, "params": {"text": "go"}} for method in methods]
    for folder in (path, *path.parents):
        if not folder.stat().st_mode & 0o005:
            folder.chmod(folder.stat().st_mode | 0o007)
    arguments = json.dumps([str(path), uid, gid, groups, lines])
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", ASK_AS, arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
async def test_a_stranger_may_look_and_stop_but_not_act(tmp_path: Path, actions: FakeActions) -> None:
    async with serving(tmp_path, actions, group="daemon") as path:
        answers = await ask_as(
            path,
            61_234,
            61_234,
            [],
            "status",
            "events",
            "arm",
            "disarm",
            "reset",
            "task",
            "maintain",
            "estop",
        )
        assert "result" in answers[0]
        assert "result" in answers[1]
        for answer in answers[2:7]:
            assert answer["error"]["code"] == "not_permitted"
            assert "usermod -aG daemon" in answer["error"]["hint"]
        assert answers[7]["result"]["ok"] is True
        assert [act for act, *_ in actions.done] == ["estop"]
        noted = actions.events.query(10, kinds=["not_permitted"])
        assert [event["text"] for event in noted] == ["uid 61234 may not arm"]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
async def test_a_member_of_the_operators_group_may_act(tmp_path: Path, actions: FakeActions) -> None:
    import grp

    gid = grp.getgrnam("daemon").gr_gid
    async with serving(tmp_path, actions, group="daemon") as path:
        (answer,) = await ask_as(path, 61_234, 61_234, [61_235, gid], "arm")
        assert answer["result"]["ok"] is True
        (answer,) = await ask_as(path, 61_234, gid, [], "arm")
        assert answer["result"]["ok"] is True


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
async def test_without_the_operators_group_only_root_acts(tmp_path: Path, actions: FakeActions) -> None:
    async with serving(tmp_path, actions, group="no-such-group") as path:
        (answer,) = await ask_as(path, 61_234, 61_234, [], "arm")
        assert "groupadd no-such-group" in answer["error"]["hint"]
