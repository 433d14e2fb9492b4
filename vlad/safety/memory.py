"""Which faults act now: hold times, clearing, and what stays latched until a person acts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from vlad.clock import NS_PER_S
from vlad.safety.faults import FAULTS, active
from vlad.safety.reaction import ActiveFault, Clears, Finding, Reaction


@dataclass(slots=True)
class _Entry:
    finding: Finding
    first_ns: int
    last_ns: int
    since_ns: int = -1
    """When it began to act; -1: it is held back still."""
    latched: bool = False


class Memory:
    """Remembers what the checks found from one judgement to the next."""

    def __init__(self) -> None:
        self._entries: dict[tuple[str, str], _Entry] = {}

    def update(self, findings: Iterable[Finding], now_ns: int, armed: bool) -> tuple[ActiveFault, ...]:
        """Take in the findings of this judgement; the faults that act now, the worst first.

        A fault that is raised while `armed` stays until what its row names under `clears`; so does an
        emergency stop, and one that never clears, at any time.
        """
        for finding in findings:
            key = (finding.fault, finding.subject)
            entry = self._entries.get(key)
            if entry is None:
                entry = self._entries[key] = _Entry(finding, now_ns, now_ns)
            else:
                entry.finding, entry.last_ns = finding, now_ns
            _act(entry, now_ns, armed)
        if not self._entries:
            return ()
        self._entries = {key: entry for key, entry in self._entries.items() if _stays(entry, now_ns)}
        acting = [active(entry.finding, entry.since_ns) for entry in self._entries.values()
                  if entry.since_ns >= 0]  # fmt: skip
        return tuple(sorted(acting, key=_badness))

    def latched(self) -> tuple[ActiveFault, ...]:
        """What waits for a person, whether or not its cause is still there."""
        kept = (entry for entry in self._entries.values() if entry.latched)
        return tuple(active(entry.finding, entry.since_ns) for entry in kept)

    def armed(self) -> None:
        """Let go of stops that only linger: arming was not refused, so their causes are gone."""
        self._entries = {
            key: entry
            for key, entry in self._entries.items()
            if entry.latched or FAULTS[entry.finding.fault].reaction < Reaction.STOP2
        }

    def disarmed(self) -> None:
        """Let go of what clears on disarm."""
        self._release((Clears.DISARM,))

    def reset(self) -> None:
        """Let go of what clears on reset."""
        self._release((Clears.DISARM, Clears.RESET))

    def _release(self, kinds: tuple[Clears, ...]) -> None:
        self._entries = {
            key: entry
            for key, entry in self._entries.items()
            if not (entry.latched and FAULTS[entry.finding.fault].clears in kinds)
        }


def _act(entry: _Entry, now_ns: int, armed: bool) -> None:
    fault = FAULTS[entry.finding.fault]
    if entry.since_ns < 0 and now_ns - entry.first_ns >= fault.hold_s * NS_PER_S:
        entry.since_ns = now_ns
    if entry.since_ns >= 0 and fault.clears is not Clears.ITSELF:
        always = fault.reaction is Reaction.ESTOP or fault.clears is Clears.NEVER
        entry.latched = entry.latched or armed or always


def _stays(entry: _Entry, now_ns: int) -> bool:
    if entry.latched or entry.last_ns == now_ns:
        return True
    return entry.since_ns >= 0 and now_ns - entry.last_ns < FAULTS[entry.finding.fault].clear_s * NS_PER_S


def _badness(fault: ActiveFault) -> tuple[int, int, int, str, str]:
    row = fault.fault
    return -row.reaction, -row.level, fault.since_ns, row.id, fault.subject
