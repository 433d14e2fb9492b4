"""The daemon without health and without counting for /metrics, which have no switch: to compare with."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from vlad.__main__ import main
from vlad.clock import Tick
from vlad.computer.measured import Measured
from vlad.health.figures import Figures
from vlad.health.monitor import Health
from vlad.metrics import Metrics
from vlad.safety.kernel import Verdict


async def _idle(self: Health, gather: Callable[[], Figures]) -> None:
    await asyncio.get_running_loop().create_future()


def _no_judgement(self: Health, measured: Measured) -> None:
    """The computer is measured all the same, for the safety tick."""


def _no_turn(self: Metrics, tick: Tick, verdict: Verdict, sent_ns: int) -> None:
    """Nothing is counted."""


if __name__ == "__main__":
    Health.run, Health.judge, Metrics.turn = _idle, _no_judgement, _no_turn  # type: ignore[method-assign]
    raise SystemExit(main())
