"""What a motor driver obeys: the newest valid command, or a stop. Part of the drivers' kit, see driver.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import TracebackType
from typing import Literal, Self, TypeAlias

import numpy as np
import zmq

from vlad.clock import NS_PER_S, Clock, SystemClock
from vlad.curve import ClientKeys, connect
from vlad.guard.stops import GuardStops, worse
from vlad.messages import MAX_TTL_MS, Command, CommandMode, Heartbeat, Kind
from vlad.wire import (
    COMMAND_TOPIC,
    HEARTBEAT_TOPIC,
    MAX_FUTURE_NS,
    decode_command,
    decode_heartbeat,
)
from vlad.wire.fields import BadMessage, Reason

StopReason: TypeAlias = Literal["", "guard", "silence", "expired", "sequence", "crc", "malformed", "names"]

_NS_PER_MS = 1_000_000
_RECEIVE_QUEUE = 64
_RESTART_SILENCE_NS = MAX_TTL_MS * _NS_PER_MS
_DRIFT_NS_PER_S = 100_000
"""Clocks of two machines drift apart by less than this."""


class CommandReceiver:
    """Hands out the command that is valid now, or a stop of its own making; never a stale one.

    The stop is of category 1. But motors that vlad cut (stop0) stay cut; and where its last word was `hold`,
    and then silence, it stays `hold`: an arm that was brought to rest before vlad ended must not drop.

    A stop of the guard, a process of its own, goes before anything that vlad says until it runs out. None
    for `guard`: it is looked for beside an ipc endpoint `.../commands.sock`, as `.../guard.sock`.

    `reason` says why it made the stop: guard (the guard says so), silence (nothing came while the last
    command ran out), expired (it came too late), sequence (the number went back or repeated), crc,
    malformed, names (meant for another robot), or empty: the command is vlad's own. After a bad message the
    stop lasts until the next good one.
    With `kind` and `names` it obeys only commands of that kind for these names in this order.
    `heartbeat` is the newest one of the `safety` topic. A sequence that begins anew is believed only after
    nothing came for longer than any command lives: then vlad was restarted.
    """

    def __init__(
        self,
        endpoint: str,
        kind: Kind | None = None,
        names: Sequence[str] = (),
        clock: Clock | None = None,
        curve: ClientKeys | None = None,
        context: zmq.Context[zmq.Socket[bytes]] | None = None,
        guard: str | None = None,
    ) -> None:
        self.heartbeat: Heartbeat | None = None
        self.reason: StopReason = "silence"
        self._reason: StopReason = "silence"
        self.bad = 0
        self._kind = kind
        self._names = tuple(names)
        self._clock = clock or SystemClock()
        self._same_clock = not endpoint.startswith("tcp:")
        self._offset_ns: int | None = None
        self._offset_at_ns = 0
        self._valid: Command | None = None
        self._valid_until_ns = 0
        self._last: Command | None = None
        self._heard_ns: int | None = None
        context = context or zmq.Context.instance()
        self._socket = context.socket(zmq.SUB)
        self._socket.rcvhwm = _RECEIVE_QUEUE
        self._socket.subscribe(COMMAND_TOPIC)
        self._socket.subscribe(HEARTBEAT_TOPIC)
        connect(self._socket, endpoint, curve)
        self._poller = zmq.Poller()
        self._poller.register(self._socket, zmq.POLLIN)
        self._guard: GuardStops | None = None
        if guard is None and endpoint.startswith("ipc:") and endpoint.endswith("/commands.sock"):
            guard = endpoint.removesuffix("commands.sock") + "guard.sock"
        if guard:
            self._guard = GuardStops(context.socket(zmq.SUB))
            connect(self._guard.socket, guard, None)
            self._poller.register(self._guard.socket, zmq.POLLIN)

    def receive(self, timeout_s: float = 0.0) -> Command:
        """The newest command if it is valid at this moment, else a stop.

        Returns as soon as a command comes in, when the present one runs out, or after `timeout_s`.
        """
        deadline_ns = self._clock.now_ns() + round(timeout_s * NS_PER_S)
        while not self._drain():
            now_ns = self._clock.now_ns()
            until_ns = deadline_ns
            if self._guard is not None and self._guard.stop(now_ns) is not None:
                until_ns = min(until_ns, self._guard.until_ns)
            elif self._valid is not None:
                until_ns = min(until_ns, self._valid_until_ns)
            if now_ns >= until_ns:
                break
            self._poller.poll(-(-(until_ns - now_ns) // _NS_PER_MS))
        return self._present()

    def close(self) -> None:
        self._socket.close()
        if self._guard is not None:
            self._guard.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _drain(self) -> bool:
        """Take all that has come; whether a command, good or bad, was among it."""
        came = self._guard is not None and self._guard.drain(self._clock)
        while True:
            try:
                frames = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return came
            if frames[0] == HEARTBEAT_TOPIC:
                self._take_heartbeat(frames)
            else:
                came = True
                self._take_command(frames, self._clock.now_ns())

    def _take_heartbeat(self, frames: list[bytes]) -> None:
        try:
            self.heartbeat = decode_heartbeat(frames)
        except BadMessage:
            self.bad += 1

    def _take_command(self, frames: list[bytes], now_ns: int) -> None:
        silent = self._heard_ns is None or now_ns - self._heard_ns > _RESTART_SILENCE_NS
        self._heard_ns = now_ns
        try:
            command = decode_command(frames)
        except BadMessage as bad:
            self._distrust("crc" if bad.reason is Reason.CRC else "malformed")
            return
        last = self._last
        if last is not None and (command.seq <= last.seq or command.stamp_ns < last.stamp_ns):
            if not (silent and (not self._same_clock or command.stamp_ns > last.stamp_ns)):
                self._distrust("sequence")
                return
            self._offset_ns = None
        if not len(command.values):
            command = self._shaped(command)
        elif command.names != (self._names or command.names) or command.kind != (self._kind or command.kind):
            self._distrust("names")
            return
        age_ns = self._age_ns(command, now_ns)
        if age_ns < -MAX_FUTURE_NS:
            self._distrust("malformed")
            return
        self._last = self._valid = command
        self._valid_until_ns = now_ns - max(age_ns, 0) + command.ttl_ms * _NS_PER_MS
        self._reason = "" if now_ns < self._valid_until_ns else "expired"

    def _age_ns(self, command: Command, now_ns: int) -> int:
        """How old a command is. On another machine's clock: older than the quickest one so far was."""
        difference_ns = now_ns - command.stamp_ns
        if self._same_clock:
            return difference_ns
        if self._offset_ns is not None:
            drift_ns = (now_ns - self._offset_at_ns) * _DRIFT_NS_PER_S // NS_PER_S
            self._offset_ns = min(difference_ns, self._offset_ns + drift_ns)
        else:
            self._offset_ns = difference_ns
        self._offset_at_ns = now_ns
        return difference_ns - self._offset_ns

    def _distrust(self, reason: StopReason) -> None:
        self.bad += 1
        self._valid = None
        self._reason = reason

    def _present(self) -> Command:
        """The command that is valid now, or a stop; the guard's word goes first."""
        now_ns = self._clock.now_ns()
        if self._valid is not None and now_ns >= self._valid_until_ns:
            self._valid = None
            self._reason = self._reason or "silence"
        if self._guard is not None and (stop := self._guard.stop(now_ns)) is not None:
            self.reason = "guard"
            mode = worse(stop.mode, self._last.mode) if self._last else stop.mode
            return self._stop(stop.seq, stop.stamp_ns, stop.ttl_ms, mode)
        self.reason = self._reason
        if self._valid is not None:
            return self._valid
        return self._stop(self._last.seq if self._last else 0, now_ns, 1, self._stop_mode())

    def _stop(self, seq: int, stamp_ns: int, ttl_ms: int, mode: CommandMode) -> Command:
        last = self._last
        kind, names = (last.kind, last.names) if last else (Kind.TWIST, ())
        nothing = np.empty(0, np.float32)
        return self._shaped(Command(seq, stamp_ns, ttl_ms, mode, kind, names, nothing, 0))

    def _stop_mode(self) -> CommandMode:
        mode = self._last.mode if self._last else CommandMode.RUN
        kept = mode is CommandMode.STOP0 or (mode is CommandMode.HOLD and self._reason == "silence")
        return mode if kept else CommandMode.STOP1

    def _shaped(self, stop: Command) -> Command:
        """A stop without values, with zeros where they mean rest.

        None for joint positions: only the driver knows where its joints are.
        """
        kind, names = self._kind or stop.kind, self._names or stop.names
        values = np.zeros(0 if kind is Kind.JOINT_POSITION else len(names), np.float32)
        return replace(stop, kind=kind, names=names, values=values)
