"""The page in a real Chromium, in front of a real daemon."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.dashboard.pages import TOKEN
from tools.benchmarks.rig import Rig, rig, write_policy
from vlad.driver import CommandReceiver
from vlad.messages import Command, CommandMode

sync_api = pytest.importorskip("playwright.sync_api", reason="pip install playwright, which drives Chromium")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium: apt-get install chromium")

PATIENCE_S = 30.0
PATIENCE_MS = 1_000 * PATIENCE_S
FRESH = "!document.getElementById('shown').classList.contains('old')"
PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}


@dataclass
class Robot:
    """A daemon, armed and moving, and who listens to its commands."""

    rig: Rig
    motor: CommandReceiver
    address: str

    def await_command(self, *modes: CommandMode) -> Command:
        end_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < end_s:
            command = self.motor.receive(timeout_s=0.02)
            if command.mode in modes:
                return command
        pytest.fail(f"no command in mode {modes} within {PATIENCE_S:g} s; the last was {command}")


@pytest.fixture(scope="module")
def chromium() -> Iterator[sync_api.Browser]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def robot() -> Iterator[Robot]:
    with rig({"camera": {"type": "image", "max_age_s": 5.0}}, realtime={"lock_memory": False}) as made:
        (made.folder / "token").write_text(TOKEN)
        made.page = {"listen": "127.0.0.1:0", "token_file": str(made.folder / "token")}
        made.policy["bundle"] = str(write_policy(made.folder / "models" / "bench", "camera", 32, rounds=0))
        settings = made.write_settings()
        Path(f"{settings}.d").mkdir()
        (Path(f"{settings}.d") / "backup.toml").write_text('[maintenance.backup]\ntargets = ["/proc/none"]\n')
        made.start_daemon("vlad", "--config", settings)
        made.feed(["camera:image:30:64x48"])
        end_s = time.monotonic() + PATIENCE_S
        while not (address := made.call("status")["page"]["address"]) and time.monotonic() < end_s:
            time.sleep(0.05)
        with CommandReceiver(made.commands) as motor:
            yield Robot(made, motor, address)


@pytest.fixture
def moving(robot: Robot) -> Robot:
    robot.rig.call("disarm")
    end_s = time.monotonic() + PATIENCE_S
    while not (answer := robot.rig.call("reset"))["ok"]:  # it may not be at rest yet
        assert time.monotonic() < end_s, answer
        time.sleep(0.1)
    robot.rig.arm()
    robot.await_command(CommandMode.RUN)
    return robot


@pytest.fixture
def page(chromium: sync_api.Browser, robot: Robot) -> Iterator[sync_api.Page]:
    with chromium.new_context() as context:
        yield opened(context, robot)


def until(page: sync_api.Page, what: str) -> None:
    """Wait until this JavaScript is true. The page's own policy forbids what Playwright would wait with."""
    end_s = time.monotonic() + PATIENCE_S
    while not page.evaluate(what):
        assert time.monotonic() < end_s, f"not so within {PATIENCE_S:g} s: {what}"
        page.wait_for_timeout(50)


def opened(context: sync_api.BrowserContext, robot: Robot) -> sync_api.Page:
    """The page, once it shows the robot as it is now."""
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    page.goto(robot.address)
    until(page, FRESH)
    return page


def test_it_loads_with_nothing_from_elsewhere_and_without_a_word_on_the_console(
    chromium: sync_api.Browser, robot: Robot
) -> None:
    asked: list[str] = []
    wrong: list[str] = []
    with chromium.new_context() as context:
        context.on("request", lambda request: asked.append(request.url))
        context.on("weberror", lambda error: wrong.append(str(error.error)))
        context.on(
            "console", lambda said: wrong.append(said.text) if said.type in ("error", "warning") else None
        )
        page = opened(context, robot)
        page.wait_for_timeout(1_500)
        assert page.title() == "bench: " + page.locator("#mode").inner_text().lower()
    assert wrong == []
    assert all(url.startswith(robot.address) for url in asked)
    assert {url.removeprefix(robot.address) for url in asked} >= {"/", "/page.css", "/page.js"}


def test_what_it_shows_moves(page: sync_api.Page, moving: Robot) -> None:
    until(page, "history_.rows.length > 2")
    for canvas in ("[data-plot='Memory of the daemon']", "#levels", "#plan"):
        page.locator(canvas).scroll_into_view_if_needed()
        picture = f"document.querySelector({canvas!r}).toDataURL()"
        before = page.evaluate(picture)
        until(page, f"{picture} !== {before!r}")
    until(page, "document.querySelector('#axes .axis span:last-child').textContent.includes('of 1.00')")
    assert page.locator("#mode").inner_text() == "ACTIVE"
    assert page.locator("#events li").count() > 3


@pytest.mark.parametrize("how", ["click", "tap", "key"])
def test_the_stop_reaches_the_motors(chromium: sync_api.Browser, moving: Robot, how: str) -> None:
    with chromium.new_context(**PHONE) as context:
        page = opened(context, moving)
        if how == "key":
            page.keyboard.press("Escape")
        else:
            getattr(page.locator("#stop"), how)()
        moving.await_command(CommandMode.STOP0, CommandMode.STOP1)
        until(page, "document.getElementById('said').textContent.includes('has taken the stop')")
        page.locator("#estop").wait_for()
    assert moving.rig.call("status")["mode"] == "estop"
    acts = [event for event in moving.rig.call("events", limit=50, kinds=["act"]) if "estop" in event["text"]]
    assert acts[-1]["data"]["who"].startswith("page 127.0.0.1 (through ")


def test_a_reset_wants_the_token_and_takes_no_other(page: sync_api.Page, moving: Robot) -> None:
    page.locator("#stop").click()
    page.locator("#estop").wait_for()
    for word, said in (("", "needs the token"), ("some-other-long-word", "is not the token")):
        if word:
            page.locator("#token").fill(word)
            page.locator("#token-ok").click()
        page.locator("#reset").click()
        until(page, f"document.getElementById('said').textContent.includes({said!r})")
    assert moving.rig.call("status")["mode"] == "estop"
    page.locator("#token").fill(TOKEN)
    page.locator("#token").press("Enter")
    end_s = time.monotonic() + PATIENCE_S
    while moving.rig.call("status")["mode"] != "disarmed":  # it may not be at rest yet
        assert time.monotonic() < end_s, page.locator("#said").inner_text()
        page.locator("#reset").click()
        page.wait_for_timeout(300)
    page.locator("#estop").wait_for(state="hidden")
    assert page.evaluate("[localStorage.length, document.cookie]") == [0, ""]


def test_when_nothing_comes_any_more_it_says_so_in_large_letters(page: sync_api.Page, robot: Robot) -> None:
    [process] = [child for child in robot.rig.daemon.children() if "vlad.dashboard" in child.cmdline()]
    os.kill(process.pid, signal.SIGSTOP)
    try:
        page.locator("#lost").wait_for()
        assert not page.evaluate(FRESH)
        assert not page.locator("#mode").is_visible()
        assert page.locator("#lost strong").inner_text() == "No connection to the robot"
        assert (
            page.evaluate("parseFloat(getComputedStyle(document.querySelector('#lost strong')).fontSize)")
            > 24
        )
    finally:
        os.kill(process.pid, signal.SIGCONT)
    until(page, FRESH)


def test_a_stop_that_is_not_delivered_is_told_loudly(page: sync_api.Page, robot: Robot) -> None:
    [process] = [child for child in robot.rig.daemon.children() if "vlad.dashboard" in child.cmdline()]
    os.kill(process.pid, signal.SIGSTOP)
    try:
        page.locator("#stop").dispatch_event("pointerdown")
        page.locator("#said.bad").wait_for()
        assert page.locator("#said").inner_text().startswith("STOP NOT DELIVERED")
    finally:
        os.kill(process.pid, signal.SIGCONT)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_on_a_phone_and_is_dark_where_the_phone_is(
    chromium: sync_api.Browser, robot: Robot, scheme: str
) -> None:
    with chromium.new_context(**PHONE, color_scheme=scheme) as context:
        page = opened(context, robot)
        page.wait_for_timeout(500)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        box = page.locator("#stop").bounding_box()
        assert box is not None
        assert box["y"] + box["height"] <= 740
        assert min(box["width"], box["height"]) > 60
        back = page.evaluate("getComputedStyle(document.body).backgroundColor")
        brightness = sum(int(part) for part in back.strip("rgb()").split(",")) / 3
        assert (brightness < 64) == (scheme == "dark")


def test_a_task_of_maintenance_that_failed_stands_first_and_says_so(
    page: sync_api.Page, robot: Robot
) -> None:
    first = "document.querySelector('#maintenance .task')"
    for said in ("backup failed /proc/none: ", "backup failed 2 times in a row /proc/none: "):
        robot.rig.call("maintain", name="backup", params={})
        until(page, f"{first}.textContent.startsWith('{said}')")
    assert page.evaluate(f"{first}.firstChild.className") == "DANGER"
    assert page.evaluate("document.querySelectorAll('#maintenance .task').length") == 8
