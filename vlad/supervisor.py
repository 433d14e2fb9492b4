"""What happens when a part of the daemon dies: it is run again after a pause, or the robot is stopped."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from vlad.clock import NS_PER_S, Clock
from vlad.messages import Level
from vlad.record.events import EventLog

log = logging.getLogger(__name__)

_FIRST_BACKOFF_S = 0.1


@dataclass(slots=True)
class Part:
    """Something that runs for as long as the daemon does. Without a critical part the robot must stop."""

    name: str
    run: Callable[[], Awaitable[None]]
    critical: bool
    longest_backoff_s: float = 5.0
    told: tuple[type[Exception], ...] = ()
    """What fails outside of vlad, and says by itself what and where: it is logged without a traceback."""
    state: str = "stopped"
    restarts: int = 0
    error: str = ""


async def supervise(part: Part, clock: Clock, events: EventLog, on_failed: Callable[[str], None]) -> None:
    """Run a part for ever. A critical one that ends is not run again: `on_failed` stops the robot.

    The pause before the next try grows from 0.1 s to the part's longest, and starts anew for a part that ran
    for that long. A part that fails at each try for the same reason is told of once.
    """
    backoff_s = _FIRST_BACKOFF_S
    while True:
        part.state, began_ns, before = "running", clock.now_ns(), part.error
        failure: Exception | None = None
        try:
            await part.run()
            part.error = "ended by itself"
        except Exception as error:
            failure, part.error = error, f"{type(error).__name__}: {error}"
        lasted = clock.now_ns() - began_ns > part.longest_backoff_s * NS_PER_S
        if lasted or part.error != before:
            log.error(
                "%s failed: %s",
                part.name,
                part.error,
                exc_info=None if isinstance(failure, part.told) else failure,
            )
            events.put("part_failed", Level.DANGER, f"{part.name}: {part.error}", part=part.name)
        if part.critical:
            part.state = "failed"
            on_failed(part.name)
            return
        if lasted:
            backoff_s = _FIRST_BACKOFF_S
        part.state = "restarting"
        await asyncio.sleep(backoff_s)
        part.restarts += 1
        backoff_s = min(2 * backoff_s, part.longest_backoff_s)
