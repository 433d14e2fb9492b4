"""When something is recorded, and why: pure decisions on what the safety tick judged."""

from __future__ import annotations

from dataclasses import dataclass, replace

from vlad.feed import Turn
from vlad.messages import Level, Mode
from vlad.record.orders import Order
from vlad.safety.ladder import ARMED, MOVING

FOREVER_NS = 2**62
_MOST_CAUSES = 100
_IN_MOTION = (*MOVING, Mode.STOPPING)
_SETTLE_NS = 10_000_000_000


@dataclass(frozen=True, slots=True)
class Cause:
    """`kind` is stop, fault, caution, crash, mark, start or continuous; `at_ns` is CLOCK_MONOTONIC."""

    kind: str
    detail: str
    at_ns: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """What shall be in a recording: from one time to another (CLOCK_MONOTONIC), and what for."""

    from_ns: int
    until_ns: int
    causes: tuple[Cause, ...]


class Trigger:
    """`wanted` is the newest wish, None before the first. Causes that overlap prolong what is recorded.

    Called by one thread; any other may read `wanted`, which is replaced as a whole.
    """

    def __init__(self, before_ns: int, after_ns: int, *, continuous: bool) -> None:
        self.wanted: Wanted | None = None
        self._before_ns = before_ns
        self._after_ns = after_ns
        self._faults: frozenset[tuple[str, str]] = frozenset()
        self._settled_ns: int | None = None
        if continuous:
            self.wanted = Wanted(0, FOREVER_NS, (Cause("continuous", "", 0),))

    def turn(self, turn: Turn) -> None:
        """Every stop; each fault from DANGER up that begins; caution or worse, while the robot moves.

        Faults of the first seconds are no news before the robot is armed: its drivers are not there yet.
        """
        if self._settled_ns is None:
            self._settled_ns = turn.now_ns + _SETTLE_NS
        serious = frozenset((seen.id, seen.subject) for seen in turn.faults if seen.level >= Level.DANGER)
        if turn.now_ns >= self._settled_ns or turn.mode in ARMED:
            for fault, subject in sorted(serious - self._faults):
                self.call("fault", f"{fault} {subject}", turn.now_ns)
        self._faults = serious
        if turn.stop:
            self.call("stop", turn.stop, turn.now_ns)
        if turn.level >= Level.CAUTION and turn.mode in _IN_MOTION:
            self._caution(turn)

    def call(self, kind: str, detail: str, now_ns: int) -> None:
        """Record from a while ago to a while from now on."""
        cause = Cause(kind, detail, now_ns)
        wanted, until_ns = self.wanted, now_ns + self._after_ns
        if wanted is None or now_ns >= wanted.until_ns:
            self.wanted = Wanted(now_ns - self._before_ns, until_ns, (cause,))
        else:
            causes = (*wanted.causes, cause)[-_MOST_CAUSES:]
            self.wanted = replace(wanted, until_ns=max(wanted.until_ns, until_ns), causes=causes)

    def obey(self, order: Order) -> None:
        """What an operator wants: mark, start or stop."""
        if order.what == "stop":
            self.stop(order.now_ns)
        elif order.what == "start":
            self.start(order.text, order.now_ns)
        else:
            self.call(order.what, order.text, order.now_ns)

    def start(self, who: str, now_ns: int) -> None:
        """Record until `stop`."""
        self.call("start", who, now_ns)
        if self.wanted is not None:
            self.wanted = replace(self.wanted, until_ns=FOREVER_NS)

    def stop(self, now_ns: int) -> None:
        """End a recording that goes on for ever, in any mode; what happens next begins another."""
        if self.wanted is not None and self.wanted.until_ns == FOREVER_NS:
            self.wanted = replace(self.wanted, until_ns=now_ns)

    def _caution(self, turn: Turn) -> None:
        wanted = self.wanted
        if wanted is None or turn.now_ns >= wanted.until_ns:
            first = next(iter(turn.faults), None)
            self.call("caution", f"{first.id} {first.subject}" if first else "", turn.now_ns)
        elif wanted.until_ns < turn.now_ns + self._after_ns:
            self.wanted = replace(wanted, until_ns=turn.now_ns + self._after_ns)
