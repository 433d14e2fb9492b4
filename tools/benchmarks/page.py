"""The web page: from its STOP button to the motors, and what ten browsers at 10 Hz cost the tick."""

from __future__ import annotations

import argparse
import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from importlib.util import find_spec
from typing import Any, NamedTuple

import psutil
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tools.benchmarks.latency import Motor
from tools.benchmarks.report import Report, at_most, machine, percentiles
from tools.benchmarks.rig import Rig, rig, write_policy
from vlad.messages import CommandMode

_STOPPED = (CommandMode.STOP0, CommandMode.STOP1)
_TOKEN = "only-for-this-benchmark"
_PATIENCE_S = 60.0
_CAMERA = "camera:image:30:640x480"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--presses", type=int, default=30)
    parser.add_argument("--browsers", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=30, help="for each figure (default: %(default)s)")


def run(arguments: argparse.Namespace) -> Report:
    with rig({"camera": {"type": "image", "max_age_s": 1.0}}) as bench:
        (bench.folder / "token").write_text(_TOKEN)
        bench.page = {"listen": "127.0.0.1:0", "token_file": str(bench.folder / "token")}
        bench.policy["bundle"] = str(write_policy(bench.folder / "models" / "bench", "camera", 64, rounds=0))
        bench.start_daemon("vlad", "--config", bench.write_settings())
        bench.feed([_CAMERA])
        with closing(Motor(bench.commands)) as motor:
            address = _until("a page", lambda: bench.call("status")["page"]["address"])
            costs = {str(count): _cost(bench, address, count, arguments.seconds)
                     for count in (0, 1, arguments.browsers)}  # fmt: skip
            with connect(address.replace("http", "ws") + "/stream") as socket:
                threading.Thread(target=_read, args=(socket,), daemon=True).start()
                by_socket = _presses(bench, motor, arguments.presses, lambda: _estop(socket))
            by_button: list[_Press] = []
            with _button(address) as press:
                if press is not None:
                    by_button = _presses(bench, motor, arguments.presses, press)
    message_ms = percentiles([press.called_ms for press in by_socket], "ms")
    alone, crowd = costs["0"], costs[str(arguments.browsers)]
    results = {
        "stop_by_message": message_ms,
        "stop_by_key": percentiles([press.happened_ms for press in by_button], "ms") if by_button else None,
        "with_what_presses_it": percentiles([press.called_ms for press in by_button], "ms")
        if by_button
        else None,
        "by_browsers": costs,
    }
    targets = [
        at_most("e-stop sent to stop received, p99 [ms]", message_ms["p99_ms"], 50.0),
        at_most(
            f"ticks missed with {arguments.browsers} browsers, beyond those with none",
            max(0, crowd["missed"] - alone["missed"]),
            0,
        ),
    ]
    if by_button:
        key = percentiles([press.happened_ms for press in by_button], "ms")["p99_ms"]
        targets.append(at_most("key's event in Chromium to stop received, p99 [ms]", key, 50.0))
    return Report("page", {**machine(), "seconds": arguments.seconds}, results, targets)


def _until(about: str, what: Callable[[], Any]) -> Any:
    end_s = time.monotonic() + _PATIENCE_S
    while time.monotonic() < end_s:
        if found := what():
            return found
        time.sleep(0.02)
    raise SystemExit(f"not seen within {_PATIENCE_S:g} s: {about}")


def _cost(bench: Rig, address: str, count: int, seconds: float) -> dict[str, Any]:
    """With so many browsers: late ticks, and what the page's process and the daemon take."""
    [page] = [child for child in bench.daemon.children() if "vlad.dashboard" in child.cmdline()]
    with ExitStack() as crowd:
        for _ in range(count):
            browser = crowd.enter_context(connect(address.replace("http", "ws") + "/stream"))
            threading.Thread(target=_read, args=(browser,), daemon=True).start()
        _until(f"{count} browsers", lambda: bench.call("status")["page"]["browsers"] == count)
        time.sleep(2)
        before, used = bench.call("status")["tick"], [_used_s(process) for process in (page, bench.daemon)]
        began_s = time.monotonic()
        time.sleep(seconds)
        took_s = time.monotonic() - began_s
        after = bench.call("status")["tick"]
        used = [_used_s(process) - s for process, s in zip((page, bench.daemon), used, strict=True)]
        memory = page.memory_full_info()
    return {
        "missed": after["missed"] - before["missed"],
        "late_1ms": after["late_1ms"] - before["late_1ms"],
        "late_p99_ms": after["late_p99_ms"],
        "page_cpu_percent": round(100 * used[0] / took_s, 2),
        "daemon_cpu_percent": round(100 * used[1] / took_s, 2),
        "page_pss_mb": round(memory.pss / 1e6, 1),
    }


def _used_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _read(browser: ClientConnection) -> None:
    """As the page does: each status is acknowledged."""
    with suppress(ConnectionClosed):
        for line in browser:
            if line[:18] == '{"stream":"status"':
                browser.send('{"seen":true}')


class _Press(NamedTuple):
    """Until the first stop that a motor driver received: since this program asked for the press, and since it
    happened. A browser that is driven by a program hears of it by way of two other processes.
    """

    called_ms: float
    happened_ms: float


def _presses(bench: Rig, motor: Motor, count: int, press: Callable[[], int]) -> list[_Press]:
    """What `press`, which says when it happened [CLOCK_MONOTONIC, ns], took while the robot moved."""
    pressed: list[_Press] = []
    while len(pressed) < count:
        _until("a reset", lambda: bench.call("reset")["ok"])
        bench.arm()
        moving, stopped = threading.Event(), list[int]()
        listener = threading.Thread(target=_listen, args=(motor, moving, stopped))
        listener.start()
        moving.wait()
        began_ns = time.monotonic_ns()
        happened_ns = press()
        listener.join()
        _until(f"the e-stop of press {len(pressed) + 1}", lambda: bench.call("status")["mode"] == "estop")
        pressed += [
            _Press((at_ns - began_ns) / 1e6, (at_ns - happened_ns) / 1e6)
            for at_ns in stopped
            if at_ns > began_ns
        ]
    return pressed


def _listen(motor: Motor, moving: threading.Event, stopped: list[int]) -> None:
    """Note when the first stop came after the robot was seen to move."""
    end_s = time.monotonic() + _PATIENCE_S
    while time.monotonic() < end_s:
        if (got := motor.next(0.1)) is not None:
            at_ns, command = got
            if command.mode is CommandMode.RUN:
                moving.set()
            elif command.mode in _STOPPED and moving.is_set():
                stopped.append(at_ns)
                return
    moving.set()


def _estop(socket: ClientConnection) -> int:
    now_ns = time.monotonic_ns()
    socket.send(json.dumps({"act": "estop", "id": 1}))
    return now_ns


_NOTE_KEYS = "addEventListener('keydown', (event) => { window.keyMs = event.timeStamp; }, true)"


def _clock_of(page: Any) -> int:
    """What leads from performance.now() of the page to CLOCK_MONOTONIC [ns], to half a millisecond or so."""
    known: list[tuple[int, int]] = []
    for _ in range(50):
        before_ns = time.monotonic_ns()
        now_ms = page.evaluate("performance.now()")
        after_ns = time.monotonic_ns()
        known.append((after_ns - before_ns, (before_ns + after_ns) // 2 - round(1e6 * float(now_ms))))
    return min(known)[1]


@contextmanager
def _button(address: str) -> Iterator[Callable[[], int] | None]:
    """Presses STOP in a real Chromium; None where there is none."""
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None or find_spec("playwright") is None:
        yield None
        return
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(address)
        page.evaluate(_NOTE_KEYS)
        page.wait_for_timeout(2_000)

        def press() -> int:
            page.keyboard.press("Escape")
            return _clock_of(page) + round(1e6 * float(page.evaluate("keyMs")))

        yield press
        browser.close()
