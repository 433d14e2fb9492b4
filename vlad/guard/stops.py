"""The guard's stops as a motor driver hears them: part of the drivers' kit, not of the guard's process."""

from __future__ import annotations

import zmq

from vlad.clock import Clock
from vlad.messages import Command, CommandMode
from vlad.wire import COMMAND_TOPIC, decode_command
from vlad.wire.fields import BadMessage

_QUEUE = 64
_NS_PER_MS = 1_000_000
_SEVERITY = tuple(CommandMode)


def worse(one: CommandMode, other: CommandMode) -> CommandMode:
    """The one of two modes that lets the motors do less."""
    return max(one, other, key=_SEVERITY.index)


class GuardStops:
    """The guard's newest stop. `socket` is to be connected to it; `bad` counts what was none of its stops."""

    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        self.bad = 0
        self.until_ns = 0
        self.socket = socket
        self._stop: Command | None = None
        socket.rcvhwm = _QUEUE
        socket.subscribe(COMMAND_TOPIC)

    def drain(self, clock: Clock) -> bool:
        """Take all that has come; whether there was anything."""
        came = False
        while True:
            try:
                frames = self.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return came
            came = True
            self._take(frames, clock.now_ns())

    def stop(self, now_ns: int) -> Command | None:
        """The stop that is valid now; None: the guard does not say stop."""
        return self._stop if now_ns < self.until_ns else None

    def _take(self, frames: list[bytes], now_ns: int) -> None:
        """It counts from its stamp on, so that an old one, sent again, says nothing."""
        try:
            command = decode_command(frames)
        except BadMessage:
            self.bad += 1
            return
        if command.mode is CommandMode.RUN or command.stamp_ns > now_ns:
            self.bad += 1
            return
        until_ns = command.stamp_ns + command.ttl_ms * _NS_PER_MS
        if until_ns >= self.until_ns:
            self._stop, self.until_ns = command, until_ns
