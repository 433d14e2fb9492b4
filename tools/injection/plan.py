"""What shall go wrong when, said beforehand: `TOPIC=KIND@START_S[:SECONDS]`."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.injection.kinds import Kind, Spell
from tools.injection.proxy import Proxy
from vlad.clock import NS_PER_S, SystemClock

_FORM = re.compile(r"(?P<topic>[^=]+)=(?P<kind>\w+)@(?P<start>\d+\.?\d*)(:(?P<seconds>\d+\.?\d*))?")


@dataclass(frozen=True, slots=True)
class Planned:
    """`seconds` None: for ever."""

    topic: str
    kind: Kind
    start_s: float
    seconds: float | None

    def spell(self, began_ns: int) -> Spell:
        from_ns = began_ns + round(self.start_s * NS_PER_S)
        until_ns = None if self.seconds is None else from_ns + round(self.seconds * NS_PER_S)
        return Spell(self.kind, from_ns, until_ns)


def planned(text: str) -> Planned:
    """For argparse: ArgumentTypeError where `text` is not of the form."""
    found = _FORM.fullmatch(text)
    if found is None or found["kind"] not in list(Kind):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not TOPIC=KIND@START_S[:SECONDS], as camera=stuck@5:2; kinds: {', '.join(Kind)}"
        )
    seconds = float(found["seconds"]) if found["seconds"] else None
    return Planned(found["topic"], Kind(found["kind"]), float(found["start"]), seconds)


def run_planned(run_dir: Path, listen: Path, plan: Sequence[Planned], going_on: Callable[[], bool]) -> None:
    """A proxy in which everything goes wrong as planned, counted from now, until `going_on` says no."""
    clock = SystemClock()
    proxy = Proxy(run_dir, listen, clock)
    began_ns = clock.now_ns()
    for topic in {one.topic for one in plan}:
        proxy.set(topic, tuple(one.spell(began_ns) for one in plan if one.topic == topic))
    try:
        proxy.run(going_on)
    finally:
        proxy.close()
