"""Memory that runs short: what the policies give back then, and when they get it again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import isnan, nan

import psutil

from vlad.clock import NS_PER_S, Clock
from vlad.messages import Level
from vlad.policy.bundle import BundleRefused
from vlad.policy.fallback import Tell
from vlad.policy.pressure import Relief, Step, relief
from vlad.policy.seat import Seat
from vlad.policy_settings import PolicySettings
from vlad.safety.view import Computer

_PERIOD_S = 1.0
_OLDEST_NS = 5 * NS_PER_S
"""A measurement says nothing about now after this."""
_RETRY_NS = 30 * NS_PER_S
"""A policy that could not be opened again is tried again after this."""
_MB = 1_000_000

_TAKEN = {
    Step.CACHES: "caches are dropped, and policies that do not run are closed",
    Step.RESOLUTION: "only the lowest resolution runs",
    Step.FALLBACK: "the policy is closed, and the fallback drives",
}
_TAKEN_BACK = {
    Step.CACHES: "policies that do not run are kept again",
    Step.RESOLUTION: "larger resolutions are loaded again",
    Step.FALLBACK: "the policy is loaded again",
}


class MemoryRelief:
    """Looks at the computer once a second, and takes a step or takes one back. On the loop's thread."""

    def __init__(
        self,
        seat: Seat,
        settings: PolicySettings,
        computer: Callable[[], Computer | None],
        clock: Clock,
        tell: Tell,
    ) -> None:
        self._seat = seat
        self._settings = settings
        self._computer = computer
        self._clock = clock
        self._tell = tell
        self._relief = Relief()
        self._returns_mb: dict[Step, int] = {}
        self._retry_ns = 0
        self._refused = ""
        """Why it could not be, as it was told."""
        self._total = psutil.virtual_memory().total

    @property
    def steps(self) -> tuple[Step, ...]:
        """Those that were taken."""
        return self._relief.steps

    async def run(self) -> None:
        """For ever."""
        while True:
            await asyncio.sleep(_PERIOD_S)
            await self.look()

    async def look(self) -> None:
        """Judge the newest measurement, and do what follows."""
        now_ns, used = self._clock.now_ns(), self._used()
        before = self._relief.steps
        returns = self._returns_mb.get(before[-1], 0) * _MB / self._total if before else 0.0
        self._relief = relief(self._relief, used, self._settings.relief, self._possible(), returns, now_ns)
        steps = self._relief.steps
        why = "memory is short" if isnan(used) else f"{used:.0%} of the memory is used"
        for step in steps[len(before) :]:
            self._tell(Level.CAUTION, f"{why}: {_TAKEN[step]}")
            if step is Step.CACHES:
                await self._seat.drop_caches()
        for step in before[len(steps) :]:
            self._tell(Level.SAFE, f"{why}: {_TAKEN_BACK[step]}")
        await self._take(steps, why)
        await self._take_back(steps, now_ns)

    def _used(self) -> float:
        """The part in use of the fuller of both memories; NaN: not known."""
        sample = self._computer()
        if sample is None or self._clock.now_ns() - sample.stamp_ns > _OLDEST_NS:
            return nan
        return max((part for part in (sample.memory, sample.gpu_memory) if not isnan(part)), default=nan)

    def _possible(self) -> list[Step]:
        possible = [Step.CACHES]
        if self._seat.whole is not None:
            possible.append(Step.RESOLUTION)
        if self._seat.can_give_way:
            possible.append(Step.FALLBACK)
        return possible

    async def _take(self, steps: tuple[Step, ...], why: str) -> None:
        """Make it so, also with a policy that was let drive meanwhile."""
        seat = self._seat
        if Step.RESOLUTION in steps and (loop := seat.whole) is not None:
            policy = loop.policy
            self._returns_mb[Step.RESOLUTION] = policy.memory_mb - policy.smaller[-1].memory_mb
            loop.lower_resolution(why)
        if Step.FALLBACK in steps and seat.can_give_way:
            self._returns_mb[Step.FALLBACK] = await seat.give_way(why)

    async def _take_back(self, steps: tuple[Step, ...], now_ns: int) -> None:
        """Load what was closed; it is tried in the shadow first, as any other bundle."""
        if Step.CACHES not in steps:
            self._seat.keep_residents()
        folder = self._seat.gone if Step.FALLBACK not in steps else None
        folder = folder or (self._seat.lowered if Step.RESOLUTION not in steps else None)
        if folder is None or now_ns < self._retry_ns or self._seat.phase:
            return
        try:
            await self._seat.activate(folder)
        except BundleRefused as refused:
            self._retry_ns = now_ns + _RETRY_NS
            if (reasons := "; ".join(refused.reasons)) != self._refused:
                self._refused = reasons
                self._tell(Level.CAUTION, f"{folder}: is not loaded again yet: {reasons}")
        else:
            self._refused = ""
            self._tell(Level.SAFE, f"{folder.parent.name}/{folder.name} is loaded again, and drives")
