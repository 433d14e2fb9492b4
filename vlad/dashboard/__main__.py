"""The web page's process: `python -m vlad.dashboard --run-dir DIR --listen ADDRESS`, started by the daemon.

It says on stdout, a JSON object a line, where it listens, who looks and what is wrong. It ends
with its stdin.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import socket
import sys
from pathlib import Path
from typing import Any

import uvicorn
import uvloop

from vlad.clock import SystemClock
from vlad.ctl.client import ControlError
from vlad.dashboard.desk import Desk
from vlad.dashboard.gate import token_problem
from vlad.dashboard.hub import Hub
from vlad.dashboard.link import Line, Subscription
from vlad.dashboard.pictures import Pictures
from vlad.dashboard.scrape import Scrape
from vlad.dashboard.server import Pages
from vlad.dashboard.settings import PageSettings

_TCP_USER_TIMEOUT_MS = 10_000
_RETRY_S = 5.0
_LOOK_S = 1.0
_ANSWER_TIMEOUT_S = 2.0
_MOST_CONNECTIONS = 256
_LONGEST_MESSAGE = 4096


class Report:
    """What the daemon is told: `address`, `browsers` and `problem`, whenever one of them changes."""

    def __init__(self) -> None:
        self._told: dict[str, Any] = {"address": "", "browsers": 0, "problem": ""}

    def tell(self, **changes: object) -> None:
        if changes.items() - self._told.items():
            self._told |= changes
            print(json.dumps(self._told), flush=True)


def read_token(path: Path | None) -> tuple[str, str]:
    """The token, empty where there is none that can be used; and why not, empty where none is wanted."""
    if path is None:
        return "", ""
    try:
        token = path.read_text(encoding="utf-8").strip()
        problem = token_problem(token)
    except OSError as error:
        problem = str(error.strerror)
    except UnicodeDecodeError:
        problem = "is not text"
    if problem:
        return "", f"page.token_file {path}: {problem}; until it is mended only the e-stop can be pressed"
    return token, ""


async def listen(settings: PageSettings, report: Report) -> socket.socket:
    """A listening socket; where the address cannot be had, say so and try again."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    while True:
        listener = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # What a browser does not take for so long the kernel gives up, and the connection with it.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _TCP_USER_TIMEOUT_MS)
        try:
            listener.bind((settings.host, settings.port))
            listener.listen()
        except OSError as error:
            listener.close()
            what = f"{settings.listen} cannot be listened at: {error.strerror}"
            report.tell(problem=f"{what}; end what uses it, or set page.listen to another")
            await asyncio.sleep(_RETRY_S)
        else:
            return listener


async def look_after(report: Report, hub: Hub, desk: Desk) -> None:
    """Say who looks, and keep the e-stop's connection open."""
    while True:
        report.tell(browsers=len(hub.browsers))
        with contextlib.suppress(ControlError):
            await desk.be_ready()
        await asyncio.sleep(_LOOK_S)


async def until_stdin_ends() -> None:
    """The daemon is gone then, however that came about."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    while await reader.read(4096):
        pass


async def serve(run_dir: Path, settings: PageSettings) -> None:
    """Until the daemon is gone, or asks for the end by SIGTERM."""
    report, clock = Report(), SystemClock()
    token, problem = read_token(settings.token_file)
    ended = asyncio.create_task(until_stdin_ends())
    listening = asyncio.create_task(listen(settings, report))
    await asyncio.wait([ended, listening], return_when=asyncio.FIRST_COMPLETED)
    if ended.done():
        listening.cancel()
        return
    hub = Hub(Subscription(run_dir), Line(run_dir, _ANSWER_TIMEOUT_S), clock)
    desk = Desk(run_dir, token)
    scrape = Scrape(Line(run_dir, _ANSWER_TIMEOUT_S), clock)
    server = uvicorn.Server(
        uvicorn.Config(
            Pages(hub, desk, Pictures(run_dir, clock), scrape).app(),
            http="h11", ws="websockets-sansio", lifespan="off", interface="asgi3", log_config=None,
            access_log=False, proxy_headers=False, server_header=False, limit_concurrency=_MOST_CONNECTIONS,
            ws_max_size=_LONGEST_MESSAGE, ws_per_message_deflate=False, timeout_graceful_shutdown=1,
        )
    )  # fmt: skip
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    report.tell(address=f"http://{host}:{listening.result().getsockname()[1]}", problem=problem)
    tasks = [asyncio.create_task(hub.run()), asyncio.create_task(look_after(report, hub, desk))]
    tasks.append(asyncio.create_task(server.serve([listening.result()])))
    await asyncio.wait([ended, *tasks], return_when=asyncio.FIRST_COMPLETED)
    server.should_exit = True
    await asyncio.wait(tasks[-1:])
    for task in (ended, *tasks[:-1]):
        task.cancel()
    await asyncio.gather(ended, *tasks, return_exceptions=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m vlad.dashboard", description=__doc__)
    parser.add_argument("--run-dir", type=Path, required=True, metavar="DIR")
    parser.add_argument("--listen", required=True, metavar="ADDRESS:PORT")
    parser.add_argument("--token-file", type=Path, metavar="FILE")
    given = parser.parse_args()
    uvloop.run(serve(given.run_dir, PageSettings(listen=given.listen, token_file=given.token_file)))


if __name__ == "__main__":
    main()
