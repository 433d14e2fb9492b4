"""Network interfaces: up or down, and the part of their packets that is lost."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Any

import psutil

from vlad.clock import NS_PER_S
from vlad.computer.measured import Interface

_WINDOW_NS = 10 * NS_PER_S
_FEWEST_PACKETS = 100
"""Of fewer than these nothing is said: on an idle network each stray packet that is dropped would count."""


class Network:
    """The interfaces that count: those that are `named`, or else all with hardware that were ever up."""

    def __init__(self, named: tuple[str, ...] = (), virtual: Path = Path("/sys/devices/virtual/net")) -> None:
        self._named = named
        self._virtual = virtual
        self._seen = dict.fromkeys(named)
        self._counts: dict[str, deque[tuple[int, int, int, int]]] = {}

    def measure(self, now_ns: int) -> dict[str, Interface]:
        """As of now; an interface that is gone counts as down. Nothing while the kernel does not tell."""
        try:
            states, counters = psutil.net_if_stats(), psutil.net_io_counters(pernic=True)
        except OSError:
            return {}
        if not self._named:
            up = (name for name, state in states.items() if state.isup and name not in self._seen)
            self._seen |= dict.fromkeys(name for name in up if not (self._virtual / name).exists())
        return {
            name: self._rates(name, counters.get(name), now_ns, up=name in states and states[name].isup)
            for name in self._seen
        }

    def _rates(self, name: str, counts: Any, now_ns: int, *, up: bool) -> Interface:
        """Compared with the counts of ten seconds ago."""
        marks = self._counts.setdefault(name, deque())
        if counts is None:
            marks.clear()
            return Interface(up)
        packets = counts.packets_sent + counts.packets_recv
        lost = counts.errin + counts.errout + counts.dropin + counts.dropout
        now = (now_ns, packets, lost, counts.bytes_sent + counts.bytes_recv)
        if marks and any(new < old for new, old in zip(now, marks[-1], strict=True)):
            marks.clear()  # its driver was loaded anew
        marks.append(now)
        while len(marks) > 1 and now_ns - marks[1][0] >= _WINDOW_NS:
            marks.popleft()
        if len(marks) == 1:
            return Interface(up)
        passed_ns, packets, lost, size = (new - old for new, old in zip(now, marks[0], strict=True))
        bytes_per_s = size * NS_PER_S / max(1, passed_ns)
        if packets + lost < _FEWEST_PACKETS:
            return Interface(up, bytes_per_s=bytes_per_s)
        return Interface(up, lost / (packets + lost), bytes_per_s)
