"""The page's addresses.

/ and its two files. /stream, a WebSocket: the hub's messages out, {"seen": true} or {"act", "id", "token"}
in. Being open already, it takes an e-stop without delay however busy the browser's other connections are.
POST /act/estop and /act/reset, with "Authorization: Bearer TOKEN": for programs, and for a page whose stream
is broken. /picture/TOPIC: the next picture of a camera. /metrics: for Prometheus.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from vlad.ctl.client import ControlError
from vlad.dashboard.desk import Answer, Desk
from vlad.dashboard.gate import refusal
from vlad.dashboard.hub import Browser, Hub, message
from vlad.dashboard.pictures import Pictures
from vlad.dashboard.scrape import MEDIA_TYPE, Scrape

STATIC = Path(__file__).parent / "static"
_MOST_BROWSERS = 32
_MOST_ACTS, _MOST_ESTOPS = 4, 16
_FILES = {"/": "page.html", "/page.css": "page.css", "/page.js": "page.js"}
_STATUS_CODES = {"not_permitted": 403, "unknown_act": 404, "no_answer": 503, "not_running": 503}
_POLICY_VIOLATED, _TRY_AGAIN_LATER = 1008, 1013
_HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


class Pages:
    """What the addresses do."""

    def __init__(self, hub: Hub, desk: Desk, pictures: Pictures, scrape: Scrape) -> None:
        self._hub = hub
        self._desk = desk
        self._pictures = pictures
        self._scrape = scrape

    def app(self) -> ASGIApp:
        return _guarded(
            Starlette(
                routes=[
                    *(Route(path, _file(name)) for path, name in _FILES.items()),
                    Route("/favicon.ico", _nothing),
                    Route("/act/{name}", self._act, methods=["POST"]),
                    Route("/picture/{topic:path}", self._picture),
                    Route("/metrics", self._metrics),
                    WebSocketRoute("/stream", self._stream),
                ]
            )
        )

    async def _act(self, request: Request) -> Response:
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        name = request.path_params["name"]
        answer = await self._desk.act(name, _address(request.scope), token if kind == "Bearer" else "")
        return JSONResponse(answer, _status_code(answer))

    async def _picture(self, request: Request) -> Response:
        topic = request.path_params["topic"]
        if topic not in self._hub.cameras:
            return PlainTextResponse(f"no camera has the topic {topic!r}\n", 404)
        seen = request.query_params.get("after", "0")
        picture = await self._pictures.next(topic, int(seen) if seen.isdecimal() and len(seen) < 20 else 0)
        if picture is None:
            return Response(status_code=204)
        headers = {"x-number": str(picture.number), "x-age-s": f"{self._pictures.age_s(picture):.3f}"}
        return Response(picture.data, headers=headers, media_type=picture.media)

    async def _metrics(self, request: Request) -> Response:
        try:
            return Response(await self._scrape.text(), media_type=MEDIA_TYPE)
        except ControlError as error:
            return PlainTextResponse(f"{error.message}; {error.hint}\n", 503)

    async def _stream(self, socket: WebSocket) -> None:
        if len(self._hub.browsers) >= _MOST_BROWSERS:
            await socket.close(_TRY_AGAIN_LATER)
            return
        await socket.accept()
        browser = self._hub.join()
        tasks = [
            asyncio.create_task(browser.send(socket.send_text)),
            asyncio.create_task(self._listen(socket, browser)),
            asyncio.create_task(browser.gone.wait()),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._hub.leave(browser)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _listen(self, socket: WebSocket, browser: Browser) -> None:
        acts: set[asyncio.Task[None]] = set()
        with contextlib.suppress(WebSocketDisconnect):
            while True:
                said = _said(await socket.receive_text())
                if said is None:
                    await socket.close(_POLICY_VIOLATED)
                    return
                if said.get("seen"):
                    browser.acknowledge()
                if "act" in said and len(acts) < (_MOST_ESTOPS if said["act"] == "estop" else _MOST_ACTS):
                    act = asyncio.create_task(self._do(browser, _address(socket.scope), said))
                    acts.add(act)
                    act.add_done_callback(acts.discard)

    async def _do(self, browser: Browser, address: str, said: dict[str, Any]) -> None:
        name, token, reason = (str(said.get(key, "")) for key in ("act", "token", "reason"))
        answer = await self._desk.act(name, address, token, reason)
        browser.put(message("answer", {"id": said.get("id"), "act": name, **answer}))


def _guarded(app: ASGIApp) -> ASGIApp:
    """Nobody is led here by another site, and nothing here leads elsewhere."""

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        headers = Headers(scope=scope)
        refused = refusal(headers.get("host", ""), headers.get("origin"))
        if refused and scope["type"] == "websocket":
            await WebSocket(scope, receive, send).close(_POLICY_VIOLATED)
        elif refused:
            await PlainTextResponse(f"{refused}\n", 403)(scope, receive, with_headers)
        else:
            await app(scope, receive, with_headers)

    return guarded


def _file(name: str) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        return FileResponse(STATIC / name)

    return answer


async def _nothing(request: Request) -> Response:
    return Response(status_code=204)


def _address(scope: Scope) -> str:
    """The client's, as its connection says: no header is believed."""
    return str((scope.get("client") or ("", 0))[0])


def _said(text: str) -> dict[str, Any] | None:
    """What a browser says; None where it is not ours."""
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return said if isinstance(said, dict) else None


def _status_code(answer: Answer) -> int:
    if "error" in answer:
        return _STATUS_CODES.get(answer["error"]["code"], 400)
    return 200 if answer["ok"] else 409
