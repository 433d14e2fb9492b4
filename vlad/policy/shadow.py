"""A policy in the shadow: it runs on what the sensors send, and its chunks are judged but not followed."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from vlad.clock import NS_PER_S, Clock
from vlad.messages import Chunk
from vlad.policy.bundle import BundleRefused
from vlad.policy.worker import InferenceLoop
from vlad.queues import Latest
from vlad.safety.chunks import Admission

SHADOWED = 10
"""So many good chunks, then it may drive."""
_SHADOW_S = 5.0
_POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class Shadowed:
    """How a bundle did before it was given the robot."""

    chunks: int
    """0: no samples came to try it on."""
    latency_p50_ms: float | None


class Trial:
    """A bundle in the shadow: its loop, and why its chunks could not be followed; empty: they could."""

    def __init__(self, loop: InferenceLoop, admission: Admission, clock: Clock, deadline_s: float) -> None:
        """Nobody else hears of the loop's chunks from now on."""
        self.problem = ""
        self.loop = loop
        self._admission = admission
        self._clock = clock
        self._deadline_s = deadline_s
        self._chunks: Latest[Chunk] = Latest()
        loop.deliver(self._chunks, self._look)

    async def watch(self, running: asyncio.Task[None], driving: InferenceLoop | None) -> Shadowed:
        """Until it gave enough chunks; BundleRefused at the first that could not be followed.

        `running` is the loop's run, `driving` the one that drives meanwhile.
        """
        loop, bundle = self.loop, self.loop.policy.bundle
        driven = driving.inferences if driving is not None else 0
        end_s = asyncio.get_running_loop().time() + _SHADOW_S
        while loop.inferences < SHADOWED and asyncio.get_running_loop().time() < end_s:
            await asyncio.sleep(_POLL_S)
            lost = (loop.lost or "its model ended") if running.done() else loop.error
            if problem := lost or self.problem:
                raise BundleRefused([f"{bundle}: in the shadow of the running policy: {problem}"])
        if not loop.inferences and driving is not None and driving.inferences > driven:
            missing = f"; it waits for {', '.join(loop.waits_for())}" if loop.waits_for() else ""
            raise BundleRefused(
                [f"{bundle}: no chunk in {_SHADOW_S:g} s, while the running policy gave some{missing}"]
            )
        p50_ns, deadline_s = loop.latency_ns.percentiles(50)[0], self._deadline_s
        if p50_ns is not None and p50_ns > deadline_s * NS_PER_S:
            raise BundleRefused([
                f"{bundle}: takes {p50_ns / 1e6:.0f} ms here, and policy.deadline_s is {deadline_s:g} s; "
                f"use a faster model or more threads"
            ])  # fmt: skip
        return Shadowed(loop.inferences, None if p50_ns is None else round(p50_ns / 1e6, 3))

    def _look(self) -> None:
        chunk = self._chunks.take()
        if chunk is not None and not self._admission.admit(chunk, self._clock.now_ns(), None, None):
            self.problem = "; ".join(f"{said.fault}: {said.detail}" for said in self._admission.findings)
