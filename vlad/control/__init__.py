"""The control socket: operators look at the daemon and act on it, through `vladctl` or their own programs.

RUN/control.sock, a Unix stream socket. One JSON object a line: {"id", "method", "params"} is answered with
{"id", "result"} or {"id", "error": {"code", "message", "hint"}}. After `subscribe` lines come by themselves:
{"stream": "status" | "event", "data"}. Codes: bad_request, unknown_method, too_large, busy, refused,
not_permitted, unavailable.

Who may look: whoever can open the socket. It is mode 0660 of group `vlad`, or 0600 where there is no such
group or this process may not give the socket to it. Who may act (arm, disarm, reset, task, record, activate,
rollback, reload, maintain): root, the daemon's own user and members of the group that operator.group names.
The e-stop may be pressed by whoever can connect, because that is the safe direction. The daemon's own user,
whom the web page runs as, may say for whom it acts, as params.on_behalf: that is what the event log has then.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from vlad import realtime
from vlad.config import Settings
from vlad.control.methods import Actions, Methods
from vlad.control.peer import identify, read_peer
from vlad.control.session import LONGEST_LINE, Error, Row, Session, listen, log_error, parse
from vlad.jsontext import to_json

log = logging.getLogger(__name__)

SOCKET_NAME = "control.sock"
_CLIENTS_PER_USER = 16
_PAUSE_S = 0.002


class Control:
    """The server. One part of the daemon: `run` serves until it is cancelled."""

    def __init__(self, settings: Settings, actions: Actions) -> None:
        self._path = settings.paths.run_dir / SOCKET_NAME
        self._operators = settings.operator.group
        self._actions = actions
        self.listening = asyncio.Event()
        """Set once an operator can connect."""
        self._clients: dict[asyncio.Task[None], Session] = {}
        self._methods = Methods(actions, self._off_loop).by_name

    async def run(self) -> None:
        """Serve. OSError where the socket cannot be made."""
        self._executor: ThreadPoolExecutor = await asyncio.to_thread(realtime.start_threads, 2, "control")
        try:
            await self._listen_and_serve()
        finally:
            self._executor.shutdown(wait=False, cancel_futures=True)

    async def _listen_and_serve(self) -> None:
        listener = await self._off_loop(listen, self._path)
        server = await asyncio.start_unix_server(self._accept, sock=listener, limit=LONGEST_LINE)
        self.listening.set()
        unsubscribe = self._actions.events.subscribe(self._on_event)
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            unsubscribe()
            server.close()
            self._path.unlink(missing_ok=True)
            for task in self._clients:
                task.cancel()

    def _off_loop(self, function: Callable[..., Any], *values: Any) -> asyncio.Future[Any]:
        return asyncio.get_running_loop().run_in_executor(self._executor, function, *values)

    # one connection ---------------------------------------------------------------------------------------

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            peer = read_peer(writer.get_extra_info("socket"))
        except OSError:
            log.warning("control: the kernel does not tell who has connected; hung up", exc_info=True)
            writer.close()
            return
        client = Session(peer, writer, self._off_loop(identify, peer, self._operators))
        if Counter(known.peer.uid for known in self._clients.values())[peer.uid] >= _CLIENTS_PER_USER:
            error = Error("busy", f"{_CLIENTS_PER_USER} connections of your user are open", "close some")
            client.send(to_json({"id": None, "error": error.row}))
            client.close()
            return
        task = asyncio.create_task(self._serve(client, reader), name="control client")
        self._clients[task] = client
        task.add_done_callback(self._on_served)

    def _on_served(self, task: asyncio.Task[None]) -> None:
        """The end of a connection. An error in serving it ends it alone: neither the robot nor others."""
        self._clients.pop(task).close()
        log_error(task)

    async def _serve(self, client: Session, reader: asyncio.StreamReader) -> None:
        while True:
            try:
                line = await reader.readuntil(b"\n")
            except (asyncio.IncompleteReadError, ConnectionError):
                return
            except asyncio.LimitOverrunError:
                error = Error("too_large", f"a request is longer than {LONGEST_LINE} bytes", "shorten it")
                client.send(to_json({"id": None, "error": error.row}))
                return
            await self._answer(client, line)
            await asyncio.sleep(_PAUSE_S)  # requests that came in one piece must not hold the loop

    async def _answer(self, client: Session, line: bytes) -> None:
        key: Any = None
        try:
            request = parse(line)
            key = request.get("id")
            method, params = request.get("method"), request.get("params") or {}
            if not isinstance(params, dict):
                raise Error(
                    "bad_request", "params is not an object", 'send {"params": {...}}, or leave it out'
                )
            if not isinstance(method, str) or method not in self._methods:
                raise Error(
                    "unknown_method", f"there is no method {method!r}", f"use {', '.join(self._methods)}"
                )
            result = await self._methods[method](client, params)
        except Error as error:
            client.send(to_json({"id": key, "error": error.row}))
        else:
            text = result if isinstance(result, str) else to_json(result)
            client.send(f'{{"id":{to_json(key)},"result":{text}}}')

    # events -----------------------------------------------------------------------------------------------

    def _on_event(self, event: Row) -> None:
        """Called within the safety tick: send afterwards."""
        if any(client.wants_events for client in self._clients.values()):
            asyncio.get_running_loop().call_soon(self._send_event, event)

    def _send_event(self, event: Row) -> None:
        line = to_json({"stream": "event", "data": event})
        for client in self._clients.values():
            if client.wants_events:
                client.send(line)
