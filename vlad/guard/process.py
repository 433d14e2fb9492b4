"""The guard at work: hears the daemon and the e-stop buttons, says stop, and tells how it is.

Sockets under the run folder: `commands.sock` it connects to, for the `safety` topic; `guard.sock` it binds,
where motor drivers hear `command` and the daemon hears `guard`; `guard-estop.sock` it binds for e-stop
buttons, which publish there as to the daemon.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import zmq

from vlad.guard import frames
from vlad.guard.frames import BadFrame
from vlad.guard.judge import Judge
from vlad.guard.relay import Relay
from vlad.notify import Notifier

log = logging.getLogger(__name__)

REPORT_NS = 20_000_000
STOP_NS = 10_000_000
_SOON_NS = 5_000_000
"""A report that is due so soon goes out with the heartbeat that came: one wake-up less, here and there."""
_LOG_NS = 1_000_000_000
_NS_PER_MS = 1_000_000
_RECONNECT_MS, _RECONNECT_MAX_MS = 20, 200
_QUEUE = 64
_MOST_AT_ONCE = 256
_MAX_MESSAGE_BYTES = 256 * 1024


class BindError(Exception):
    """A socket cannot be had; the message says which, why, and what to do."""


def _bind(socket: zmq.Socket[bytes], path: Path) -> None:
    try:
        socket.bind(f"ipc://{path}")
        path.chmod(0o660)
    except (zmq.ZMQError, OSError) as error:
        hint = "is it another program's? may this user write there, and is the path short enough?"
        raise BindError(f"cannot bind {path} ({error.strerror}); {hint}") from None


class Guard:
    """Owns the guard's sockets. `turn` until somebody ends it."""

    def __init__(
        self,
        run_dir: Path,
        judge: Judge,
        relay: Relay | None,
        notifier: Notifier,
        now_ns: Callable[[], int],
    ) -> None:
        """BindError where the run folder's sockets cannot be had."""
        self._judge = judge
        self._relay = relay
        self._notifier = notifier
        self._now_ns = now_ns
        self._told = ("", "")
        self._reports = self._stops = 0
        self._report_ns = self._stop_ns = now_ns()
        self._logged_ns: dict[str, int] = {}
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._daemon = self._socket(zmq.SUB)
        self._buttons = self._socket(zmq.SUB)
        self._voice = self._socket(zmq.PUB)
        try:
            _bind(self._voice, run_dir / "guard.sock")
            _bind(self._buttons, run_dir / "guard-estop.sock")
        except BindError:
            self.close()
            raise
        self._daemon.subscribe(frames.HEARTBEAT_TOPIC)
        self._buttons.subscribe(b"")
        self._daemon.reconnect_ivl, self._daemon.reconnect_ivl_max = _RECONNECT_MS, _RECONNECT_MAX_MS
        self._daemon.connect(f"ipc://{run_dir}/commands.sock")
        self._poller = zmq.Poller()
        self._poller.register(self._daemon, zmq.POLLIN)
        self._poller.register(self._buttons, zmq.POLLIN)

    def turn(self) -> None:
        """Wait for a message or for the next thing to do; then judge, act and speak."""
        wait_ns = self._next_ns() - self._now_ns()
        self._poller.poll(max(0, -(-wait_ns // _NS_PER_MS)))
        self._drain(self._buttons, self._take_button)
        self._drain(self._daemon, self._take_heartbeat)
        now_ns = self._now_ns()
        self._judge.turn(now_ns)
        self._act()
        self._speak(now_ns)
        self._notifier.feed_watchdog(now_ns)

    def close(self) -> None:
        """Fall silent: the daemon hears that. The relay stays as it is."""
        self._context.destroy(linger=0)

    def _socket(self, kind: int) -> zmq.Socket[bytes]:
        socket = self._context.socket(kind)
        socket.linger = 0
        socket.rcvhwm = socket.sndhwm = _QUEUE
        socket.maxmsgsize = _MAX_MESSAGE_BYTES
        return socket

    def _next_ns(self) -> int:
        next_ns = self._report_ns if self._judge.state == "watching" else min(self._report_ns, self._stop_ns)
        silent_ns = self._judge.silent_from_ns
        if self._judge.state == "watching" and silent_ns is not None:
            next_ns = min(next_ns, silent_ns + 1)
        return next_ns

    def _drain(self, socket: zmq.Socket[bytes], take: Callable[[list[bytes]], None]) -> None:
        """All that has come, up to a bound: who floods it must not keep the guard from speaking."""
        for _ in range(_MOST_AT_ONCE):
            try:
                take(socket.recv_multipart(zmq.NOBLOCK))
            except zmq.Again:
                return

    def _take_heartbeat(self, message: list[bytes]) -> None:
        try:
            heartbeat = frames.read_heartbeat(message)
        except BadFrame as bad:
            self._judge.distrust(f"a heartbeat is none: {bad}")
            return
        self._judge.hear(heartbeat, self._now_ns())

    def _take_button(self, message: list[bytes]) -> None:
        try:
            self._judge.button(frames.read_button(message))
        except BadFrame as bad:
            self._say("button", f"guard-estop.sock: refused a message: {bad}")

    def _act(self) -> None:
        judge = self._judge
        if self._relay is not None:
            self._relay.set(run=judge.state == "watching" and judge.heard)
            if self._relay.problem:
                self._say("relay", self._relay.problem)
        told = (judge.state, judge.reason)
        if told != self._told:
            self._told = told
            self._report_ns = self._stop_ns = self._now_ns()
            text = f"{judge.state}: {judge.reason}" if judge.reason else judge.state
            log.log(logging.INFO if judge.state == "watching" else logging.WARNING, "%s", text)
            self._notifier.status(text)

    def _speak(self, now_ns: int) -> None:
        judge = self._judge
        # Reading EVENTS makes libzmq take note of new subscribers now; a mere send may overlook them.
        self._voice.getsockopt(zmq.EVENTS)
        if judge.state != "watching" and now_ns >= self._stop_ns:
            self._stops += 1
            self._stop_ns = now_ns + STOP_NS
            self._voice.send_multipart(frames.stop_command(self._stops, now_ns, judge.stop_mode), zmq.NOBLOCK)
        if now_ns >= self._report_ns - _SOON_NS:
            self._reports += 1
            self._report_ns = now_ns + REPORT_NS
            trouble = self._relay.problem if self._relay is not None else ""
            reason = "; ".join(filter(None, (judge.reason, trouble)))
            self._voice.send_multipart(frames.report(self._reports, now_ns, judge.state, reason), zmq.NOBLOCK)

    def _say(self, about: str, text: str) -> None:
        """Log, but at most once a second about the same."""
        now_ns = self._now_ns()
        if now_ns - self._logged_ns.get(about, -_LOG_NS) >= _LOG_NS:
            self._logged_ns[about] = now_ns
            log.error("%s", text)
