"""The fallback: a policy that is loaded and warm, and drives while the one that shall drive is lost.

It takes over between two turns of the loop: it answers to the newest frame at once, and the follower joins
its chunk to what was planned before, as any other. The one that was lost goes on being asked about the same
frames, off the way to the motors, and drives again once it has answered well for long enough.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from vlad.clock import NS_PER_S, Clock
from vlad.messages import Chunk, Level
from vlad.policy.shadow import SHADOWED
from vlad.policy.worker import InferenceLoop
from vlad.policy_settings import PolicySettings
from vlad.queues import Latest
from vlad.safety.chunks import Admission

Tell: TypeAlias = Callable[[Level, str], None]
"""How bad it is, and what happened: for the event log."""


@dataclass(frozen=True, slots=True)
class Outlet:
    """Where the chunks of the policy that drives go, and whom to call when one is there."""

    chunks: Latest[Chunk]
    on_chunk: Callable[[], None]


class Recovery:
    """Whether a policy that was lost may drive again: it answered well for `well_s`, and often enough."""

    def __init__(self, well_s: float) -> None:
        self._well_ns = round(well_s * NS_PER_S)
        self._since_ns: int | None = None
        self._chunks = 0

    def bad(self) -> None:
        """It failed, or answered something that nobody could follow: the time begins anew."""
        self._since_ns, self._chunks = None, 0

    def good(self, now_ns: int) -> bool:
        """A chunk came that could be followed; whether that is enough now."""
        if self._since_ns is None:
            self._since_ns = now_ns
        self._chunks += 1
        return self._chunks >= SHADOWED and now_ns - self._since_ns >= self._well_ns


class Fallback:
    """Lets `loop` drive in place of another. On the loop's thread."""

    def __init__(
        self,
        loop: InferenceLoop,
        outlet: Outlet,
        settings: PolicySettings,
        admission: Callable[[], Admission],
        clock: Clock,
        tell: Tell,
    ) -> None:
        """`loop` sleeps until it is needed; `admission` makes what judges the other's chunks."""
        self.loop = loop
        self.cause = ""
        """Why it drives; empty: it does not."""
        self._outlet = outlet
        self.settings = settings
        self._make_admission = admission
        self._clock = clock
        self._tell = tell
        self._since_ns = 0
        self._before = 0
        """Its inferences when it took over."""
        self._in_place_of: str | None = None
        self._other: InferenceLoop | None = None
        """That loop, if it is tried."""
        self._probed: Latest[Chunk] = Latest()
        self._admission = admission()
        self._recovery = Recovery(settings.failback_s)
        loop.sleep()

    def take_over(self, other: InferenceLoop, cause: str, probed: bool = True) -> None:
        """Drive from now on in place of `other`, which is tried in the background if it is `probed`."""
        self.cause, self._other = cause, other if probed else None
        self._in_place_of = str(other.policy.bundle)
        self._since_ns, self._before = self._clock.now_ns(), self.loop.inferences
        self._admission, self._recovery = self._make_admission(), Recovery(self.settings.failback_s)
        bundles = f"{self.loop.policy.bundle} drives in place of {self._in_place_of}"
        self._tell(Level.WARNING, f"{bundles}: {cause}")
        if probed:
            other.deliver(self._probed, self._look)
        self.loop.deliver(self._outlet.chunks, self._outlet.on_chunk)
        self.loop.wake()

    def rest(self) -> None:
        """Another drives again, one that was lost or a new one."""
        self.cause, self._other, self._in_place_of = "", None, None
        self.loop.sleep()

    def failed_again(self) -> None:
        """The other one failed while it was tried."""
        self._recovery.bad()

    def lost(self, now_ns: int) -> str:
        """Why neither drives: it is lost too, or was asked and did not answer in time."""
        bundle, error = self.loop.policy.bundle, self.loop.lost
        if not error and self.loop.inferences == self._before:
            asked = self.loop.inference_since_ns is not None or self.loop.error
            if asked and now_ns - self._since_ns > self.settings.deadline_s * NS_PER_S:
                error = self.loop.error or "no chunk in time"
        return f"{self.cause}; the fallback {bundle}: {error}" if error else ""

    def report(self) -> dict[str, Any]:
        """What the status says of it."""
        state = "lost" if self.loop.lost else "driving" if self.cause else "ready"
        policy = self.loop.policy
        return {
            "bundle": str(policy.bundle),
            "state": state,
            "cause": self.cause,
            "in_place_of": self._in_place_of,
            "error": self.loop.lost or (self.loop.error if self.cause else ""),
            "memory_mb": policy.memory_mb,
        }

    def _look(self) -> None:
        """The other one answered."""
        chunk, other, now_ns = self._probed.take(), self._other, self._clock.now_ns()
        if chunk is None or other is None:
            return
        late = chunk.inference_ns > self.settings.deadline_s * NS_PER_S
        admitted = self._admission.admit(chunk, now_ns, None, None)
        self._admission.findings = ()
        if late or not admitted:
            self._recovery.bad()
        elif self._recovery.good(now_ns) or self.loop.lost:
            self._give_back(other, chunk)

    def _give_back(self, other: InferenceLoop, chunk: Chunk) -> None:
        self.rest()
        other.deliver(self._outlet.chunks, self._outlet.on_chunk)
        self._outlet.chunks.put(chunk)
        self._outlet.on_chunk()
        self._tell(Level.SAFE, f"{other.policy.bundle} drives again: it has been well for a while")
