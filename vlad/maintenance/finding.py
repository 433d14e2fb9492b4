"""What a look at something came to, and what a task makes of all its findings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Literal, TypeAlias

from vlad.maintenance.job import Result

State: TypeAlias = Literal["ok", "warning", "problem", "unknown"]
"""problem: to be mended before the robot is used again; warning: soon; unknown: nobody could look."""

_WORST_FIRST: tuple[State, ...] = ("problem", "warning", "unknown", "ok")


@dataclass(frozen=True, slots=True)
class Finding:
    """`what` was seen of `topic`; how to `mend` it, or to get to know it; empty: there is nothing to do."""

    state: State
    topic: str
    what: str
    mend: str = ""


def result(findings: Iterable[Finding]) -> Result:
    """A warning if anything is bad, or if nothing at all is known; the worst comes first."""
    found = sorted(findings, key=lambda finding: _WORST_FIRST.index(finding.state))
    counts = Counter(finding.state for finding in found)
    summary = ", ".join(_counted(counts[state], state) for state in _WORST_FIRST if counts[state])
    bad = bool(counts["problem"] or counts["warning"])
    if bad:
        summary += f"; {found[0].topic}: {found[0].what}"
    verdict: Literal["ok", "warning"] = "warning" if bad or not counts["ok"] else "ok"
    return Result(verdict, summary or "there was nothing to look at", tuple(asdict(item) for item in found))


def _counted(count: int, state: State) -> str:
    return f"{count} {state}{'s' if count > 1 and state in ('problem', 'warning') else ''}"
