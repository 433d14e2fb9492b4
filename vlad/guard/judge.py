"""What the guard thinks of the daemon: pure logic, the time is passed in.

It says stop when the newest good heartbeat is older than `silence`, and on one that contradicts itself:

* its number or its stamp repeats or goes back; a number may begin anew only after a silence, with the daemon
* its stamp is in the future
* its mode or level is unknown
* its mode is `estop`, its level below EMERGENCY
* its level is above SAFE and no fault is named, but in `estop`, which may outlive its fault
* its mode is `active` or `degraded`, its level EMERGENCY: each fault of this level stops the robot
* its bytes are no heartbeat at all

It says so until heartbeats were good for `CALM_NS` and the daemon says that the robot rests, so that motion
never resumes by itself under a guard that stops. A robot may rest in an e-stop.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from vlad.guard.frames import Button, Heartbeat

State: TypeAlias = Literal["watching", "stopping", "estop"]

CALM_NS = 100_000_000
RESTING = frozenset(("boot", "disarmed", "stopped"))
MOVING = frozenset(("active", "degraded"))
ESTOP = "estop"
MODES = RESTING | MOVING | {"stopping", ESTOP}
EMERGENCY = 4
_NS_PER_MS = 1_000_000
_MOST_BUTTONS = 64


def contradiction(heartbeat: Heartbeat, last: Heartbeat | None, now_ns: int, silence_ns: int) -> str:
    """What is wrong with a heartbeat that follows the good one `last`; empty: nothing."""
    seq, stamp_ns, mode, level, faults = heartbeat
    if stamp_ns > now_ns:
        return f"its stamp is {(stamp_ns - now_ns) / _NS_PER_MS:.1f} ms in the future"
    if last is not None and stamp_ns <= last.stamp_ns:
        return "its stamp repeats or goes back"
    if last is not None and seq <= last.seq and stamp_ns - last.stamp_ns <= silence_ns:
        return f"its number {seq} comes after {last.seq}"
    if mode not in MODES:
        return f"its mode {mode[:20]!r} is unknown"
    if level > EMERGENCY:
        return f"its level {level} is unknown"
    if mode == ESTOP:
        return "" if level == EMERGENCY else f"it is in estop with level {level}"
    if level and not faults:
        return f"it has level {level} and names no fault"
    if level == EMERGENCY and mode in MOVING:
        return f"it moves the robot in an emergency ({faults[0]})"
    return ""


class Judge:
    """`state` and `reason` are the judgement; `stop_mode` is what a motor driver shall do meanwhile.

    Before the first heartbeat there is nothing to stop: it watches, and drivers without commands rest.
    """

    def __init__(self, silence_ns: int) -> None:
        self.state: State = "watching"
        self.reason = "no daemon yet"
        self.stop_mode: Literal["stop1", "hold"] = "stop1"
        self._silence_ns = silence_ns
        self._last: Heartbeat | None = None
        self._good_since_ns: int | None = None
        self._pressed: dict[str, int] = {}

    @property
    def heard(self) -> bool:
        """Whether there ever was a good heartbeat."""
        return self._last is not None

    @property
    def silent_from_ns(self) -> int | None:
        """When the daemon will count as silent if nothing comes; None: it never spoke."""
        return None if self._last is None else self._last.stamp_ns + self._silence_ns

    def hear(self, heartbeat: Heartbeat, now_ns: int) -> None:
        """One heartbeat. Its age is looked at by `turn`, once all that had come is heard."""
        last = self._last
        problem = contradiction(heartbeat, last, now_ns, self._silence_ns)
        if problem:
            self.distrust(f"a heartbeat contradicts itself: {problem}")
            return
        self._last = heartbeat
        gap_ns = 0 if last is None else heartbeat.stamp_ns - last.stamp_ns
        if last is not None and gap_ns > self._silence_ns:
            self._silent(last, gap_ns)
        if self._good_since_ns is None:
            self._good_since_ns = now_ns
        if self.state == "watching":
            self.reason = ""

    def distrust(self, reason: str) -> None:
        """Something came that no sound daemon says."""
        self._good_since_ns = None
        self._stop(reason, "stop1")

    def button(self, button: Button) -> None:
        """An e-stop button. Its silence changes nothing, and what is older than its press is no release."""
        pressed_ns = self._pressed.get(button.topic)
        if not button.pressed:
            if pressed_ns is not None and button.stamp_ns >= pressed_ns:
                del self._pressed[button.topic]
            return
        if pressed_ns is not None or len(self._pressed) < _MOST_BUTTONS:
            self._pressed[button.topic] = max(pressed_ns or 0, button.stamp_ns)
        if self.state != "estop":
            self.state, self.stop_mode = "estop", "stop1"
            self.reason = f"button {button.topic!r} pressed"

    def turn(self, now_ns: int) -> None:
        """Take note of silence, and of what is over."""
        last = self._last
        if last is not None and now_ns - last.stamp_ns > self._silence_ns:
            self._silent(last, now_ns - last.stamp_ns)
        if self.state != "watching" and self._calm(now_ns):
            self.state, self.reason = "watching", ""

    def _silent(self, last: Heartbeat, gap_ns: int) -> None:
        """A robot that rested already keeps what holds it: an arm must not drop when its daemon ends."""
        self._good_since_ns = None
        mode: Literal["stop1", "hold"] = "hold" if last.mode in RESTING else "stop1"
        self._stop(f"no heartbeat for {gap_ns // _NS_PER_MS} ms", mode)

    def _stop(self, reason: str, mode: Literal["stop1", "hold"]) -> None:
        """The first reason is kept; a stop becomes more severe, never less."""
        if self.state == "watching":
            self.state, self.reason, self.stop_mode = "stopping", reason, mode
        elif mode == "stop1":
            self.stop_mode = mode

    def _calm(self, now_ns: int) -> bool:
        if self._pressed or self._last is None or self._good_since_ns is None:
            return False
        rests = self._last.mode in RESTING or self._last.mode == ESTOP
        return rests and now_ns - self._good_since_ns >= CALM_NS
