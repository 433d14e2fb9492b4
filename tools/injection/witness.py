"""Who sits where the motor driver sits, and writes down what it is told and whether that may be."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from vlad.clock import NS_PER_S, Clock
from vlad.driver import CommandReceiver
from vlad.messages import Command, CommandMode, Kind
from vlad.robot import Robot

_SLACK = 1.001
_ROUNDING = 1e-4
"""Of float32 values [m/s, rad/s]."""


@dataclass(slots=True)
class Notes:
    """Of one trial. Times are CLOCK_MONOTONIC [ns]."""

    stopped_ns: int | None = None
    """When the first command other than run was handed out."""
    stopped_by: str = ""
    """Its mode, and the receiver's reason where it made the stop itself."""
    faults: dict[str, int] = field(default_factory=dict)
    """Fault id -> when it first showed in the heartbeat."""
    modes: list[str] = field(default_factory=list)
    """Modes of the daemon, in the order in which they came."""
    outside: list[str] = field(default_factory=list)
    """What left the envelope."""


class Envelope:
    """Looks at one command after the other: within the velocity, and no quicker change than allowed."""

    def __init__(self, robot: Robot) -> None:
        axes = robot.axes.values()
        self._velocity = np.array([axis.velocity for axis in axes])
        self._faster = np.array([axis.acceleration for axis in axes])
        self._slower = np.array([max(axis.acceleration, axis.deceleration or 0.0) for axis in axes])
        self._last: Command | None = None

    def look(self, command: Command) -> str:
        """What is wrong with the next valid command of vlad; empty: nothing.

        A stop that the driver shapes by itself (zeros, or no values) is not looked at. Where no command was
        valid for a while, the motors are taken to have braked since the last one ran out.
        """
        last, self._last = self._last, command
        values = command.values.astype(float)
        if (np.abs(values) > _SLACK * self._velocity).any():
            return f"{values.round(3).tolist()} is beyond the velocity limits"
        if last is None or not (command.mode is CommandMode.RUN or values.any()):
            return ""
        gap_s, ttl_s = (command.stamp_ns - last.stamp_ns) / NS_PER_S, last.ttl_ms / 1000
        braked = self._slower * max(0.0, gap_s - ttl_s)
        before = np.sign(last.values) * np.maximum(np.abs(last.values) - braked, 0.0)
        limit = np.where(np.abs(values) > np.abs(before), self._faster, self._slower)
        if (np.abs(values - before) > limit * min(gap_s, ttl_s) * _SLACK + _ROUNDING).any():
            return f"{before.round(3).tolist()} to {values.round(3).tolist()} after {gap_s * 1000:.1f} ms"
        return ""


class Witness:
    """Listens in a thread, from the start to `close`; `begin` opens a new page."""

    def __init__(self, folder: Path, robot: Robot, clock: Clock) -> None:
        self._clock = clock
        self._receiver = CommandReceiver(f"ipc://{folder}/commands.sock", Kind.TWIST, tuple(robot.axes))
        self._envelope = Envelope(robot)
        self._lock = threading.Lock()
        self._notes = Notes()
        self._seq = 0
        self.newest: Command | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="witness")
        self._thread.start()

    def begin(self) -> None:
        with self._lock:
            self._notes = Notes()

    def notes(self) -> Notes:
        """Those since `begin`; they go on being written."""
        with self._lock:
            return self._notes

    def close(self) -> None:
        self._ended.set()
        self._thread.join()
        self._receiver.close()

    def _listen(self) -> None:
        while not self._ended.is_set():
            command = self._receiver.receive(0.01)
            with self._lock:
                self._write(command, self._clock.now_ns())

    def _write(self, command: Command, now_ns: int) -> None:
        notes, self.newest = self._notes, command
        if command.mode is not CommandMode.RUN and notes.stopped_ns is None:
            notes.stopped_ns = now_ns
            notes.stopped_by = f"{command.mode} {self._receiver.reason}".strip()
        if not self._receiver.reason and command.seq != self._seq:
            self._seq = command.seq
            if wrong := self._envelope.look(command):
                notes.outside.append(wrong)
        heartbeat = self._receiver.heartbeat
        if heartbeat is not None:
            for fault in heartbeat.faults:
                notes.faults.setdefault(fault, now_ns)
            if heartbeat.mode.value not in notes.modes[-1:]:
                notes.modes.append(heartbeat.mode.value)
