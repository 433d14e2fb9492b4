"""The only writer of commands: sequence, stamp, expiry, checksum, and the heartbeat beside them.

It also knows who listens: the socket is an XPUB, which is told of each subscription and of each that ends, be
it because its process died. Who subscribes to exactly `command` is a motor driver; an observer subscribes to
`safety`, or to everything.
"""

from __future__ import annotations

import logging

import numpy as np
import zmq

from vlad.clock import Clock
from vlad.config import Settings
from vlad.curve import bind, bind_curve
from vlad.messages import Command, CommandMode, Floats, Heartbeat, Kind, Level, Mode, Request
from vlad.wire import COMMAND_TOPIC, encode_command, encode_heartbeat

log = logging.getLogger(__name__)

_NOTHING = np.empty(0, np.float32)
_SEND_QUEUE = 16
_MOST_NEWS = 64
"""Subscriptions that are looked at for one message: who floods them must not hold up the tick."""
_READABLE = int(zmq.POLLIN)
_NOW, _MORE = int(zmq.NOBLOCK), int(zmq.NOBLOCK | zmq.SNDMORE)
_JOINED, _LEFT = b"\x01" + COMMAND_TOPIC, b"\x00" + COMMAND_TOPIC


class CommandWriter:
    """Owns the commands' socket. It never blocks: a receiver that does not keep up loses messages, and stops.

    `last` is the newest command, `sent_ns` when it went out, `listeners` how many motor drivers listen.
    `fault` is empty, or why this writer sends nothing but stop0 any more: it was given numbers that are not
    finite or do not fit their names. Whoever let those through the safety checks is broken, so nothing it
    says later is believed; only a new process moves the robot again.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], settings: Settings, clock: Clock) -> None:
        self.last: Command | None = None
        self.sent = 0
        self.sent_ns = 0
        self.listeners = 0
        self.fault = ""
        self._ttl_ms = settings.safety.command_ttl_ms
        self._clock = clock
        self._heartbeats = 0
        self._socket = context.socket(zmq.XPUB)
        self._socket.linger = 0
        self._socket.sndhwm = _SEND_QUEUE
        self._socket.setsockopt(zmq.XPUB_VERBOSER, 1)
        wire = settings.wire
        try:
            bind(self._socket, f"ipc://{settings.paths.run_dir}/commands.sock")
            if wire.commands_tcp and wire.curve_server_secret is not None:
                bind_curve(self._socket, wire.commands_tcp, wire.curve_server_secret)
        except BaseException:
            self.close()
            raise

    def send(
        self,
        mode: CommandMode,
        kind: Kind,
        names: tuple[str, ...],
        values: Floats,
        source_stamp_ns: int,
        at_ns: int,
    ) -> Command:
        """Send `values`, one for each of `names`; none: a stop the driver shapes. Returns it as sent.

        They are for the moment `at_ns`, which is its stamp: what is held up on its way out runs out so much
        earlier, and from one stamp to the next the values change no faster than they were judged to.
        """
        if not self.fault:
            self.fault = _objection(mode, names, values)
            if self.fault:
                log.critical("refused to send a command: %s; stop0 from now on. Restart vlad.", self.fault)
        if self.fault:
            mode, values, source_stamp_ns = CommandMode.STOP0, _NOTHING, 0
        self.sent += 1
        command = Command(
            seq=self.sent,
            stamp_ns=at_ns,
            ttl_ms=self._ttl_ms,
            mode=mode,
            kind=kind,
            names=names,
            values=values,
            source_stamp_ns=source_stamp_ns,
        )
        # Reading EVENTS makes libzmq take note of new subscribers now; a mere send may overlook them.
        if int(self._socket.getsockopt(zmq.EVENTS)) & _READABLE:
            self._count_listeners()
        self._send(encode_command(command))
        self.last, self.sent_ns = command, self._clock.now_ns()
        return command

    def stop(self, mode: CommandMode) -> Command:
        """A stop without numbers, which needs nobody's judgement."""
        kind, names = (self.last.kind, self.last.names) if self.last else (Kind.TWIST, ())
        return self.send(mode, kind, names, _NOTHING, 0, self._clock.now_ns())

    def heartbeat(
        self, mode: Mode, level: Level, faults: tuple[str, ...], requests: tuple[Request, ...] = ()
    ) -> Heartbeat:
        """Say on the `safety` topic that the tick is alive, what it thinks of the robot, and what it asks."""
        self._heartbeats += 1
        heartbeat = Heartbeat(self._heartbeats, self._clock.now_ns(), mode, level, faults, requests)
        self._send(encode_heartbeat(heartbeat))
        return heartbeat

    def close(self) -> None:
        self._socket.close()

    def _send(self, frames: list[bytes | memoryview]) -> None:
        *heads, last = frames
        for frame in heads:
            self._socket.send(frame, _MORE)
        self._socket.send(last, _NOW)

    def _count_listeners(self) -> None:
        for _ in range(_MOST_NEWS):
            try:
                news = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            self.listeners = max(0, self.listeners + (news == [_JOINED]) - (news == [_LEFT]))


def _objection(mode: CommandMode, names: tuple[str, ...], values: Floats) -> str:
    """Why these values must never reach a motor; empty: they may."""
    if values.ndim != 1 or len(values) not in (0, len(names)):
        return f"{values.shape} values for {len(names)} names"
    if mode is CommandMode.RUN and not len(values):
        return "run without values"
    if not np.isfinite(values).all():
        return f"values that are not finite: {values.tolist()}"
    return ""
