"""The proxy between a run folder of vlad and its drivers, who get DIR in place of the run folder.

DIR/sensors.sock takes what sensor drivers publish and passes it on to RUN/sensors.sock. DIR/commands.sock and
DIR/guard.sock say what RUN's say; who subscribes here is seen as a subscriber there. DIR/inject.sock
(remote.py) sets what goes wrong. What nothing is wrong with passes as it came; no payload is copied.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zmq

from tools.injection.kinds import COMMANDS, Kind, Line, Message, Spell, raw
from tools.injection.remote import endpoint_of
from vlad.clock import NS_PER_S, Clock
from vlad.curve import bind
from vlad.folders import hold_run_folder

_LONGEST_WAIT_MS = 100
_NS_PER_MS = 1_000_000
_RECONNECT_MS, _RECONNECT_MAX_MS = 20, 200
_QUEUE = 256
_MOST_TOPICS = 256
_IN_A_ROW = 64
"""Messages of one socket before the others have their turn."""


class Proxy:
    """Owns the sockets. `run` in one thread; nothing else may touch it meanwhile."""

    def __init__(self, run_dir: Path, listen: Path, clock: Clock) -> None:
        """StartError where DIR is another proxy's or a daemon's; OSError where it cannot be made."""
        self._run_dir = run_dir
        self._clock = clock
        self._lines: dict[str, Line] = {}
        listen.mkdir(parents=True, exist_ok=True)
        self._lock = hold_run_folder(listen)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._from_drivers = self._socket(zmq.SUB)
        self._from_drivers.subscribe(b"")
        self._to_vlad = self._socket(zmq.PUB)
        self._from_vlad, self._from_guard = self._socket(zmq.XSUB), self._socket(zmq.XSUB)
        self._to_motors, self._guard_to_motors = self._socket(zmq.XPUB), self._socket(zmq.XPUB)
        self._control = self._socket(zmq.REP)
        try:
            self._join(listen)
        except OSError:
            self.close()
            raise
        self._ways = {
            self._from_drivers: lambda: self._pass(self._from_drivers, self._to_vlad),
            self._from_vlad: lambda: self._pass(self._from_vlad, self._to_motors),
            self._to_motors: lambda: self._hand(self._to_motors, self._from_vlad),
            self._from_guard: lambda: self._hand(self._from_guard, self._guard_to_motors),
            self._guard_to_motors: lambda: self._hand(self._guard_to_motors, self._from_guard),
            self._control: self._serve,
        }

    def set(self, topic: str, spells: tuple[Spell, ...]) -> None:
        """From now on this goes wrong with `topic`, and nothing else."""
        line = self._line(topic)
        if line is None:
            raise ValueError(f"there are {_MOST_TOPICS} topics already")
        line.spells = spells

    def run(self, going_on: Callable[[], bool]) -> None:
        """Pass messages on until `going_on` says no."""
        poller = zmq.Poller()
        for socket in self._ways:
            poller.register(socket, zmq.POLLIN)
        while going_on():
            for socket, _ in poller.poll(self._wait_ms()):
                self._ways[socket]()
            self._release()

    def close(self) -> None:
        self._context.destroy(linger=0)
        os.close(self._lock)

    def _socket(self, kind: int) -> zmq.Socket[bytes]:
        socket = self._context.socket(kind)
        socket.linger = 0
        socket.sndhwm = socket.rcvhwm = _QUEUE
        socket.reconnect_ivl, socket.reconnect_ivl_max = _RECONNECT_MS, _RECONNECT_MAX_MS
        return socket

    def _join(self, listen: Path) -> None:
        bind(self._from_drivers, f"ipc://{listen}/sensors.sock")
        bind(self._to_motors, f"ipc://{listen}/commands.sock")
        bind(self._guard_to_motors, f"ipc://{listen}/guard.sock")
        bind(self._control, endpoint_of(listen))
        self._to_vlad.connect(f"ipc://{self._run_dir}/sensors.sock")
        self._from_vlad.connect(f"ipc://{self._run_dir}/commands.sock")
        self._from_guard.connect(f"ipc://{self._run_dir}/guard.sock")

    # messages ---------------------------------------------------------------------------------------------

    def _pass(self, source: zmq.Socket[bytes], sink: zmq.Socket[bytes]) -> None:
        """Pass on what has come, through the line of its topic."""
        for _ in range(_IN_A_ROW):
            try:
                message: Message = source.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return
            line = self._line(raw(message[0]).decode(errors="replace"))
            made = line.take(message, self._clock.now_ns()) if line is not None else message
            if made is not None:
                sink.send_multipart(made, zmq.NOBLOCK, copy=False)

    def _hand(self, source: zmq.Socket[bytes], sink: zmq.Socket[bytes]) -> None:
        """Pass on what has come as it is: subscriptions, and what the guard says."""
        for _ in range(_IN_A_ROW):
            try:
                message = source.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return
            sink.send_multipart(message, zmq.NOBLOCK, copy=False)

    def _release(self) -> None:
        """Send what was held back for long enough."""
        now_ns = self._clock.now_ns()
        for topic, line in self._lines.items():
            sink = self._to_motors if topic in COMMANDS else self._to_vlad
            for message in line.due(now_ns) if line.due_ns is not None else ():
                sink.send_multipart(message, zmq.NOBLOCK, copy=False)
        # Reading EVENTS makes libzmq notice now that vlad has come or gone; a mere send may overlook it.
        self._to_vlad.getsockopt(zmq.EVENTS)

    def _wait_ms(self) -> int:
        due_ns = min((line.due_ns for line in self._lines.values() if line.due_ns is not None), default=None)
        if due_ns is None:
            return _LONGEST_WAIT_MS
        return max(0, min(_LONGEST_WAIT_MS, -(-(due_ns - self._clock.now_ns()) // _NS_PER_MS)))

    def _line(self, topic: str) -> Line | None:
        """Made at the first message; None for yet another topic of a driver that makes up its topics."""
        line = self._lines.get(topic)
        if line is None and len(self._lines) < _MOST_TOPICS:
            line = self._lines[topic] = Line(topic)
        return line

    # the control socket -----------------------------------------------------------------------------------

    def _serve(self) -> None:
        """Answer one request with how everything is after it."""
        request = self._control.recv()
        try:
            self._do(json.loads(request))
        except (ValueError, KeyError, TypeError) as error:
            answer: dict[str, Any] = {
                "error": f"cannot do {request[:200]!r}: {type(error).__name__}: {error}"
            }
        else:
            answer = self._state()
        self._control.send(json.dumps(answer).encode())

    def _do(self, request: dict[str, Any]) -> None:
        now_ns = self._clock.now_ns()
        match request["do"]:
            case "set":
                kind, for_s = Kind(request["kind"]), request.get("for_s")
                until_ns = None if for_s is None else now_ns + round(for_s * NS_PER_S)
                self.set(str(request["topic"]), (Spell(kind, now_ns, until_ns),))
            case "clear":
                for line in self._lines.values():
                    line.spells = ()
            case "list":
                pass
            case other:
                raise ValueError(f"unknown request {other!r}")

    def _state(self) -> dict[str, Any]:
        now_ns = self._clock.now_ns()
        topics = {
            topic: {"kind": line.spell(now_ns).kind.value, "came": line.came, "sent": line.sent}
            for topic, line in self._lines.items()
        }
        return {"run_dir": str(self._run_dir), "now_ns": now_ns, "topics": topics}
