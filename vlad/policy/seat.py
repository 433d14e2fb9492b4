"""The driver's seat: the policy that drives now, and how another takes its place without a tick missed.

A new bundle is loaded and warmed up in a thread, then runs in the shadow of the one that drives, on the same
samples, and its chunks are judged as if they were followed. Only then they change places, between two turns
of the loop; the follower joins the first chunk of the new one to what was followed, as any other. While the
one that shall drive, the primary, is lost or was closed for want of memory, the fallback does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from vlad.clock import NS_PER_S, Clock
from vlad.config import Settings
from vlad.messages import Chunk, Sample
from vlad.policy.backends import REMOTE
from vlad.policy.bundle import BundleRefused
from vlad.policy.fallback import Fallback, Outlet, Tell
from vlad.policy.model_thread import ModelThread
from vlad.policy.opening import open_beside
from vlad.policy.policy import Policy
from vlad.policy.prefix import Ahead
from vlad.policy.residents import Residents
from vlad.policy.shadow import Shadowed, Trial
from vlad.policy.worker import InferenceLoop
from vlad.queues import Latest
from vlad.robot import Robot
from vlad.safety.chunks import Admission
from vlad.safety.failover import Sources
from vlad.safety.view import Rules


class Seat:
    """Owns the inference loops. All on the loop's thread; only loading is done in one of its own."""

    def __init__(
        self,
        settings: Settings,
        robot: Robot,
        clock: Clock,
        latest: Mapping[str, Latest[Sample]],
        sources: Sources,
        chunks: Latest[Chunk],
        on_chunk: Callable[[], None],
        armed: Callable[[], bool],
        ahead: Ahead,
        tell: Tell,
    ) -> None:
        """`settings` are those of the kernel; the others as for InferenceLoop and Fallback."""
        self.phase = ""
        """What is being done about a new bundle; empty: nothing."""
        self.reading = ""
        """The bundle that is being read in this process, which may hold the loop up; empty: none."""
        self.fallback: Fallback | None = None
        self.gone: Path | None = None
        """The bundle that gave way to the fallback for want of memory; None: none did."""
        self.residents = Residents(settings.policy.resident_mb)
        self._settings = settings
        self._robot = robot
        self._clock = clock
        self._latest = latest
        self._sources = sources
        self._outlet = Outlet(chunks, on_chunk)
        self._armed = armed
        self._ahead = ahead
        self._tell = tell
        self._primary: InferenceLoop | None = None
        self._candidate: InferenceLoop | None = None
        self._taken = asyncio.Event()

    @property
    def loop(self) -> InferenceLoop | None:
        """The loop of the policy that drives now."""
        fallback = self.fallback
        return fallback.loop if fallback is not None and fallback.cause else self._primary

    @property
    def loops(self) -> tuple[InferenceLoop, ...]:
        """Those of the policies that may drive at any moment: the one that shall, and the fallback."""
        fallback = self.fallback.loop if self.fallback is not None else None
        return tuple(loop for loop in (self._primary, fallback) if loop is not None)

    @property
    def instead(self) -> str:
        """Which policy drives in place of the one that shall, and why; empty: none does."""
        fallback = self.fallback
        if fallback is None or not fallback.cause:
            return ""
        return f"{fallback.loop.policy.bundle} drives: {fallback.cause}"

    def stand_by(self, policy: Policy) -> None:
        """Let this policy drive whenever the one that shall drive is lost; before `take`."""
        loop, outlet, settings = self._make_loop(ModelThread(policy)), self._outlet, self._settings.policy
        self.fallback = Fallback(loop, outlet, settings, self._make_admission, self._clock, self._tell)

    def renew(self, settings: Settings, robot: Robot) -> None:
        """Go by other settings from now on."""
        self._settings, self._robot = settings, robot
        for loop in self.loops if self._candidate is None else (*self.loops, self._candidate):
            loop.go_by(settings.policy)
        if self.fallback is not None:
            self.fallback.settings = settings.policy

    def take(self, policy: Policy) -> None:
        """Let this policy drive from the start."""
        loop = self._make_loop(ModelThread(policy))
        loop.deliver(self._outlet.chunks, self._outlet.on_chunk)
        self._sit(loop)

    async def run(self) -> None:
        """Infer with whichever policy shall drive; raise what its model raised; may be run again then."""
        while True:
            await self._taken.wait()
            assert self._primary is not None
            await self._primary.run()

    def notify(self, sample: Sample) -> None:
        """A sample came in and lies in its slot."""
        if self.fallback is not None:
            self.fallback.loop.notify(sample)
        if self._primary is not None:
            self._primary.notify(sample)
        if self._candidate is not None:
            self._candidate.notify(sample)

    def check(self) -> str:
        """Why no policy drives; empty: one does. Without the one that shall drive the fallback takes over."""
        primary, fallback, now_ns = self._primary, self.fallback, self._clock.now_ns()
        if primary is None:
            return fallback.lost(now_ns) if fallback is not None and fallback.cause else ""
        if fallback is None:
            return primary.lost
        if not fallback.cause and (cause := primary.lost or self._hangs(primary, now_ns)):
            if fallback.loop.lost:
                return f"{cause}; the fallback {fallback.loop.policy.bundle}: {fallback.loop.lost}"
            fallback.take_over(primary, cause)
        return fallback.lost(now_ns) if fallback.cause else ""

    async def activate(self, folder: Path) -> Shadowed:
        """Let the bundle in `folder` drive. BundleRefused, and then everything is as it was before."""
        if self.phase:
            raise BundleRefused([f"another bundle is being activated ({self.phase}); wait until it is done"])
        try:
            name, armed = f"{folder.parent.name}/{folder.name}", self._armed()
            self.phase, self.reading = f"{name}: loading", "" if armed else name
            settings, resident = self._settings, self.residents.take(folder)
            robot, clock = self._robot, self._clock
            worker = await _finish(
                lambda: ModelThread(open_beside(folder, robot, settings, clock, armed, resident))
            )
            self.reading = ""
            self.phase = f"{worker.policy.bundle}: shadowing"
            shadowed = await self._shadow(self._make_loop(worker))
        finally:
            self.phase = self.reading = ""
        return shadowed

    @property
    def whole(self) -> InferenceLoop | None:
        """The loop of the policy that shall drive, if it has larger resolutions to give up."""
        loop = self._primary
        return loop if loop is not None and loop.policy.smaller and loop.policy.is_whole else None

    @property
    def lowered(self) -> Path | None:
        """The bundle that shall drive, if it gave up its larger resolutions."""
        loop = self._primary
        return None if loop is None or loop.policy.is_whole else loop.policy.bundle.folder

    @property
    def can_give_way(self) -> bool:
        """There is a policy whose memory is here, to be closed, and a fallback that drives meanwhile."""
        primary, fallback = self._primary, self.fallback
        if primary is None or fallback is None or fallback.loop.lost:
            return False
        return primary.policy.bundle.manifest.backend not in REMOTE

    async def drop_caches(self) -> None:
        """Close the policies that do not run, keep none any more, and forget what encoders made."""
        self.residents.budget_mb = 0
        for loop in self.loops:
            loop.drop_caches()
        await asyncio.to_thread(_close, self.residents.drop())

    def keep_residents(self) -> None:
        """Keep policies that drove before again, as far as the settings let them."""
        self.residents.budget_mb = self._settings.policy.resident_mb

    async def give_way(self, why: str) -> int:
        """Close the policy that shall drive, and let the fallback do so; what it took [MB]."""
        primary, fallback = self._primary, self.fallback
        if primary is None or fallback is None:
            return 0
        fallback.take_over(primary, why, probed=False)
        self._primary, self.gone = None, primary.policy.bundle.folder
        self._taken.clear()
        primary.retire()
        await asyncio.to_thread(primary.close)
        return primary.policy.memory_mb

    def loaded(self) -> dict[Path, str]:
        """The folders of the bundles that are in memory, and what they are there for."""
        loaded = {policy.bundle.folder: "resident" for policy in self.residents.policies}
        if self._primary is not None:
            loaded[self._primary.policy.bundle.folder] = "waiting"
        if self.fallback is not None:
            loaded[self.fallback.loop.policy.bundle.folder] = "fallback"
        if self.loop is not None:
            loaded[self.loop.policy.bundle.folder] = "running"
        return loaded

    def close(self) -> None:
        """End the threads and close the policies."""
        _close(self.residents.drop())
        for loop in self.loops if self._candidate is None else (self._candidate, *self.loops):
            loop.close()

    def _hangs(self, loop: InferenceLoop, now_ns: int) -> str:
        """Why an inference that is not over counts as lost; empty: it does not, yet."""
        since_ns, deadline_s = loop.inference_since_ns, self._settings.policy.deadline_s
        if since_ns is None or now_ns - since_ns <= deadline_s * NS_PER_S:
            return ""
        return f"no answer for {(now_ns - since_ns) / NS_PER_S:.2f} s"

    def _lost(self) -> None:
        """The policy that shall drive failed: do not wait for the next tick."""
        if self.fallback is not None:
            self.fallback.failed_again()
            self.check()

    async def _shadow(self, candidate: InferenceLoop) -> Shadowed:
        """Try it on what comes in; if it is good, it drives when this returns."""
        trial = Trial(candidate, self._make_admission(), self._clock, self._settings.policy.deadline_s)
        self._candidate = candidate
        running = asyncio.create_task(candidate.run(), name="shadow")
        try:
            shadowed = await trial.watch(running, self.loop)
        except BaseException:
            running.cancel()
            self._candidate = None
            await asyncio.to_thread(candidate.close)
            raise
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        self._candidate, old = None, self._primary
        if self.fallback is not None:
            self.fallback.rest()
        candidate.deliver(self._outlet.chunks, self._outlet.on_chunk)
        self._sit(candidate)
        if old is not None:
            old.retire()
            await self._put_away(old)
        return shadowed

    async def _put_away(self, old: InferenceLoop) -> None:
        """Keep its policy as a resident if it is well and there is room, else close it.

        One whose model is on a server takes little here, but would hold a connection there.
        """
        bundle, now = old.policy.bundle, self._primary
        again = now is not None and now.policy.bundle.folder.resolve() == bundle.folder.resolve()
        useless = old.lost or again or not old.policy.is_whole or bundle.manifest.backend in REMOTE
        policy = None if useless else await asyncio.to_thread(old.release)
        if policy is None:
            await asyncio.to_thread(old.close)
        else:
            await asyncio.to_thread(_close, self.residents.keep(policy, self._running_mb()))

    def _running_mb(self) -> int:
        """What the policies take that must not go."""
        return sum(loop.policy.memory_mb for loop in self.loops)

    def _make_admission(self) -> Admission:
        return Admission(Rules(self._robot, self._settings))

    def _make_loop(self, worker: ModelThread) -> InferenceLoop:
        """A loop whose chunks nobody sees yet."""
        return InferenceLoop(
            worker, self._latest, Latest(), self._clock, self._settings.policy, lambda: None,
            self._sources.topics, self._sources.estimates, self._ahead,
        )  # fmt: skip

    def _sit(self, loop: InferenceLoop) -> None:
        for policy in loop.policy.resolutions:
            policy.is_strict = self.fallback is not None
        loop.tell_lost(self._lost)
        self._primary, self.gone = loop, None
        self._taken.set()


async def _finish(opening: Callable[[], ModelThread]) -> ModelThread:
    """Open it in a thread. That cannot be broken off: who is cancelled waits for its end, and closes it."""
    opened = asyncio.create_task(asyncio.to_thread(opening))
    try:
        return await asyncio.shield(opened)
    except asyncio.CancelledError:
        await asyncio.wait([opened])
        if opened.exception() is None:
            await asyncio.to_thread(opened.result().close)
        raise


def _close(policies: Iterable[Policy]) -> None:
    for policy in policies:
        policy.close()
