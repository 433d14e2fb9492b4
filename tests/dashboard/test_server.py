"""The page's process in front of a stand-in daemon: real sockets, good and bad clients."""

from __future__ import annotations

import json
import re
import signal
import socket
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus

from tests.dashboard.pages import PATIENCE_S, TOKEN, PageProcess
from tests.fake_daemon import Served
from vlad.dashboard.history import NAMES

ELSEWHERE = "http://evil.example"


# looking --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "kind"), [("/", "text/html"), ("/page.css", "text/css"), ("/page.js", "text/javascript")]
)
def test_the_files_come_with_a_policy_that_lets_nothing_else_in(
    page: PageProcess, path: str, kind: str
) -> None:
    status, headers, body = page.request("GET", path)
    assert (status, headers["content-type"].partition(";")[0]) == (200, kind)
    assert headers["content-security-policy"].startswith(
        "default-src 'none'; script-src 'self'; style-src 'self'"
    )
    assert (headers["x-frame-options"], headers["cache-control"]) == ("DENY", "no-store")
    assert "set-cookie" not in headers
    assert not re.search(rb"https?://|@import", body)


def test_a_browser_gets_all_that_is_known_and_then_what_is_new(daemon: Served, page: PageProcess) -> None:
    daemon.put("mode", "disarmed -> active")
    with page.browse() as browser:
        history = browser.next("history")
        assert history["names"] == list(NAMES)
        assert browser.next("status")["robot"]["name"] == "rover"
        assert len(browser.next("row")) == len(NAMES)
        daemon.put("fault", "something new")
        assert browser.next("event")["text"] == "something new"
    with page.browse() as later:
        assert later.next("link", lambda link: link["up"])
        assert later.next("history")["rows"]
        assert [event["text"] for event in later.next("events")][-2:] == [
            "disarmed -> active",
            "something new",
        ]


def test_the_daemon_is_asked_once_however_many_look(daemon: Served, page: PageProcess) -> None:
    with ExitStack() as closing:
        browsers = [closing.enter_context(page.browse()) for _ in range(8)]
        for browser in browsers:
            browser.next("status")
        asked, began_s = daemon.actions.status_calls, time.monotonic()
        for _ in range(15):
            for browser in browsers:
                browser.next("status")
        assert daemon.actions.status_calls - asked <= 10 * (time.monotonic() - began_s) + 5


def test_with_nobody_looking_the_daemon_is_asked_once_a_second(daemon: Served, page: PageProcess) -> None:
    with page.browse() as browser:
        browser.next("status")
    page.seen(lambda: page.told["browsers"] == 0)
    asked, began_s = daemon.actions.status_calls, time.monotonic()
    time.sleep(2)
    assert daemon.actions.status_calls - asked <= time.monotonic() - began_s + 2


def test_a_daemon_that_is_gone_is_told_and_nothing_old_is_shown_to_who_comes(tmp_path: Path) -> None:
    with ExitStack() as closing:
        with Served(tmp_path):
            page = closing.enter_context(PageProcess(tmp_path))
            browser = closing.enter_context(page.browse())
            browser.next("status")
        assert "hung up" in browser.next("link", lambda link: not link["up"])["message"]
        with page.browse() as later:
            assert not later.next("link")["up"]
            later.next("events")
            with pytest.raises(TimeoutError):
                later.socket.recv(0.3)
        status, answer = page.act("estop")
        assert (status, answer["error"]["code"]) == (503, "not_running")
        with Served(tmp_path) as served:
            assert browser.next("link", lambda link: link["up"])
            assert browser.act("estop")["ok"]
            assert served.actions.done


# acting ---------------------------------------------------------------------------------------------------


def test_the_estop_needs_no_token_on_this_computer(daemon: Served, page: PageProcess) -> None:
    status, answer = page.act("estop")
    assert (status, answer["ok"]) == (200, True)
    with page.browse() as browser:
        assert browser.act("estop", reason="a hand in the way")["ok"]
    (_, first, _), (_, second, reason) = daemon.actions.done
    assert first == second
    assert first.startswith("page 127.0.0.1 (through ")
    assert reason == "a hand in the way"


def test_a_reset_needs_the_token(daemon: Served, page: PageProcess) -> None:
    for headers in ({}, {"authorization": "Bearer"}, {"authorization": f"Basic {TOKEN}"},
                    {"authorization": f"Bearer {TOKEN}x"}):  # fmt: skip
        status, answer = page.act("reset", **headers)
        assert (status, answer["error"]["code"]) == (403, "not_permitted")
    with page.browse() as browser:
        assert browser.act("reset")["error"]["hint"] == "it is in the file page.token_file"
        assert browser.act("reset", token="wrong" * 4)["error"]["message"] == "that is not the token"
        assert not daemon.actions.done
        assert browser.act("reset", token=TOKEN)["ok"]
    status, _ = page.act("reset", authorization=f"Bearer {TOKEN}")
    assert status == 200
    assert [act for act, _ in daemon.actions.done] == ["reset", "reset"]


def test_a_wrong_token_is_answered_slowly_and_holds_nobody_else_up(daemon: Served, page: PageProcess) -> None:
    with page.browse() as browser:
        for _ in range(20):
            browser.socket.send(json.dumps({"act": "reset", "id": 1, "token": "wrong" * 4}))
        assert browser.act("estop")["ok"]
        assert browser.next("answer", lambda answer: answer["id"] == 1)["error"]["code"] == "not_permitted"


def test_a_reset_that_is_refused_comes_with_the_reasons(daemon: Served, page: PageProcess) -> None:
    daemon.actions.refusals = [{"id": "signal_stale", "hint": "Look at the cable."}]
    status, answer = page.act("reset", authorization=f"Bearer {TOKEN}")
    assert (status, answer["ok"], answer["refusals"][0]["hint"]) == (409, False, "Look at the cable.")


def test_without_a_token_file_only_the_estop_can_be_pressed(daemon: Served) -> None:
    with PageProcess(daemon.folder) as page:
        assert page.act("estop")[0] == 200
        for headers in ({}, {"authorization": "Bearer "}, {"authorization": "Bearer x"}):
            status, answer = page.act("reset", **headers)
            assert status == 403
            assert "page.token_file" in answer["error"]["hint"]


def test_a_token_that_is_no_good_is_told_and_is_none(daemon: Served) -> None:
    with PageProcess(daemon.folder, token="short") as page:
        assert page.act("reset", authorization="Bearer short")[0] == 403
        assert page.act("estop")[0] == 200


def test_an_act_that_does_not_exist_is_told(page: PageProcess) -> None:
    status, answer = page.act("arm", authorization=f"Bearer {TOKEN}")
    assert (status, answer["error"]["hint"]) == (404, "use estop or reset")
    assert page.request("GET", "/act/estop")[0] == 405


# bad clients ----------------------------------------------------------------------------------------------


def test_another_sites_pages_can_do_nothing(daemon: Served, page: PageProcess) -> None:
    assert page.request("POST", "/act/estop", origin=ELSEWHERE)[0] == 403
    assert page.request("GET", "/", host="evil.example")[0] == 403
    assert page.request("POST", "/act/estop", host="evil.example")[0] == 403
    for headers in ({"Origin": ELSEWHERE}, {"Origin": "null"}):
        with pytest.raises(InvalidStatus, match="403"), page.browse(additional_headers=headers):
            pass
    assert not daemon.actions.done


def test_a_header_that_claims_to_come_from_here_is_not_believed(daemon: Served, page: PageProcess) -> None:
    page.act("estop", x_forwarded_for="10.1.2.3", forwarded="for=10.1.2.3")
    assert daemon.actions.done[0][1].startswith("page 127.0.0.1 ")


@pytest.mark.parametrize("said", ["x", "[]", '"seen"', "[" * 2_000, "null"])
def test_a_client_that_talks_nonsense_is_hung_up_on(daemon: Served, page: PageProcess, said: str) -> None:
    with page.browse() as browser:
        browser.socket.send(said)
        browser.is_hung_up()
    assert page.act("estop")[0] == 200


@pytest.mark.parametrize(
    "said", ['{"act": [1], "id": {}}', '{"act": null}', '{"seen": "x", "act": "", "token": 7}']
)
def test_an_act_that_makes_no_sense_is_refused(daemon: Served, page: PageProcess, said: str) -> None:
    with page.browse() as browser:
        browser.socket.send(said)
        assert not browser.next("answer")["ok"]
    assert not daemon.actions.done


def test_a_message_that_is_too_long_is_not_read(page: PageProcess) -> None:
    with page.browse() as browser:
        browser.socket.send(json.dumps({"act": "x" * 10_000}))
        browser.is_hung_up()
    assert page.act("estop")[0] == 200


def test_a_browser_that_stops_reading_costs_the_others_nothing_and_is_dropped(daemon: Served) -> None:
    assert daemon.actions.report is not None
    daemon.actions.report["padding"] = "x" * 100_000
    with PageProcess(daemon.folder) as page, page.browse() as reading:
        stuck = socket.create_connection(("127.0.0.1", page.port))
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stuck.sendall(
            b"GET /stream HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        with stuck:
            page.seen(lambda: page.told["browsers"] == 2)
            end_s = time.monotonic() + 2 * PATIENCE_S
            while page.told["browsers"] == 2 and time.monotonic() < end_s:
                reading.next("status")
                assert reading.act("estop")["ok"]
            assert page.told["browsers"] == 1


def test_more_browsers_than_there_is_room_for_are_turned_away(page: PageProcess) -> None:
    with ExitStack() as closing:
        for _ in range(32):
            closing.enter_context(page.browse())
        with pytest.raises(InvalidStatus, match="403"), page.browse():
            pass
        assert page.act("estop")[0] == 200
    page.seen(lambda: page.told["browsers"] == 0)
    with page.browse() as browser:
        browser.next("status")


# its life -------------------------------------------------------------------------------------------------


def test_it_ends_with_its_stdin(daemon: Served) -> None:
    with PageProcess(daemon.folder) as page, page.browse() as browser:
        browser.next("status")
        assert page.process.stdin is not None
        page.process.stdin.close()
        assert page.process.wait(PATIENCE_S) == 0


def test_it_ends_on_sigterm_although_somebody_looks(daemon: Served) -> None:
    with PageProcess(daemon.folder) as page, page.browse() as browser:
        browser.next("status")
        page.process.terminate()
        assert page.process.wait(PATIENCE_S) in (0, -signal.SIGTERM)


def test_an_address_that_is_in_use_is_told_until_it_is_free(daemon: Served) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        listen = f"127.0.0.1:{other.getsockname()[1]}"
        page = PageProcess(daemon.folder, listen=listen)
        page.seen(lambda: page.told)
        assert page.address == ""
        assert f"{listen} cannot be listened at: Address already in use; end what" in page.told["problem"]
    with page:
        assert page.address == f"http://{listen}"
        assert page.act("estop")[0] == 200
