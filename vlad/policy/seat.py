"""The driver's seat: the policy that drives now, and how another takes its place without a tick missed.

A new bundle is loaded and warmed up in a thread, then runs in the shadow of the one that drives, on the same
samples, and its chunks are judged as if they were followed. Only then they change places, between two turns
of the loop; the follower joins the first chunk of the new one to what was followed, as any other.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from vlad.clock import NS_PER_S, Clock
from vlad.config import Settings
from vlad.messages import Chunk, Sample
from vlad.policy.backends import BACKENDS, LOCKING, ServerLost
from vlad.policy.bundle import Bundle, BundleRefused, load_bundle
from vlad.policy.calibration import read_calibration
from vlad.policy.inputs import InstructionInput
from vlad.policy.policy import Policy
from vlad.policy.prefix import Ahead, without_effect
from vlad.policy.worker import InferenceLoop
from vlad.queues import Latest
from vlad.robot import Robot
from vlad.safety.chunks import Admission
from vlad.safety.failover import Sources
from vlad.safety.view import Rules

log = logging.getLogger(__name__)

_SHADOWED = 10
"""So many good chunks, then it may drive."""
_SHADOW_S = 5.0
_POLL_S = 0.02
_MB = 1_000_000


@dataclass(frozen=True, slots=True)
class Shadowed:
    """How a bundle did before it was given the robot."""

    chunks: int
    """0: no samples came to try it on."""
    latency_p50_ms: float | None


def open_policy(bundle: Bundle, settings: Settings, clock: Clock) -> Policy:
    """Load the model and run it a few times; BundleRefused where it is not what the bundle says.

    Its files must fit into the memory that it may take, or nothing is loaded; and so must what is taken when
    it has run. One whose server is lost is opened all the same, and says so: `lost`.
    """
    calibration = read_calibration(settings.paths.state_dir, bundle)
    if reason := without_effect(settings.policy.follow, bundle):
        log.warning("%s", reason)
    computer, process = psutil.virtual_memory(), psutil.Process()
    may_take = settings.policy.memory_mb * _MB or computer.available
    files = sum((bundle.folder / name).stat().st_size for name in bundle.manifest.files)
    if files > may_take:
        raise BundleRefused([_too_large(bundle, files, may_take)])
    before = process.memory_info().rss
    cache = settings.paths.state_dir / "cache"
    policy = Policy(bundle, clock, settings.policy, cache=cache, calibration=calibration)
    try:
        if not policy.lost:
            policy.warm_up()
        policy.memory_mb = max(0, process.memory_info().rss - before) // _MB
        if policy.memory_mb * _MB > may_take:
            raise BundleRefused([_too_large(bundle, policy.memory_mb * _MB, may_take)])
    except ServerLost as error:
        policy.lost = str(error)
    except BundleRefused:
        policy.close()
        raise
    return policy


def _too_large(bundle: Bundle, takes: int, may_take: int) -> str:
    return (
        f"{bundle}: takes {takes / _MB:.1f} MB of memory, and may take {may_take / _MB:.1f}; free some, "
        f"raise policy.memory_mb where it is set, or use a smaller model"
    )


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
    ) -> None:
        """`settings` are those of the kernel; the others as for InferenceLoop."""
        self.loop: InferenceLoop | None = None
        self.phase = ""
        """What is being done about a new bundle; empty: nothing."""
        self._settings = settings
        self._robot = robot
        self._clock = clock
        self._latest = latest
        self._sources = sources
        self._chunks = chunks
        self._on_chunk = on_chunk
        self._armed = armed
        self._ahead = ahead
        self._candidate: InferenceLoop | None = None
        self._taken = asyncio.Event()

    def take(self, policy: Policy) -> None:
        """Let this policy drive from the start."""
        self._sit(self._make_loop(policy, self._chunks, self._on_chunk))

    async def run(self) -> None:
        """Infer with whichever policy drives; raises what its model raised, and may be run again then."""
        while True:
            await self._taken.wait()
            assert self.loop is not None
            await self.loop.run()

    def notify(self, sample: Sample) -> None:
        """A sample came in and lies in its slot."""
        if self.loop is not None:
            self.loop.notify(sample)
        if self._candidate is not None:
            self._candidate.notify(sample)

    async def activate(self, folder: Path) -> Shadowed:
        """Let the bundle in `folder` drive. BundleRefused, and then everything is as it was before."""
        if self.phase:
            raise BundleRefused([f"another bundle is being activated ({self.phase}); wait until it is done"])
        try:
            self.phase = f"{folder.parent.name}/{folder.name}: loading"
            trial = await asyncio.to_thread(self._load, folder)
            self.phase = f"{trial.loop.policy.bundle}: shadowing"
            shadowed = await self._shadow(trial)
        finally:
            self.phase = ""
        return shadowed

    def close(self) -> None:
        """End the threads and close the policies."""
        for loop in (self._candidate, self.loop):
            if loop is not None:
                loop.close()

    def _load(self, folder: Path) -> _Trial:
        """All that takes time, in a thread."""
        bundle = load_bundle(folder, self._robot, self._settings.signals)
        if reasons := _optional(bundle, self._settings):
            raise BundleRefused(reasons)
        backend = bundle.manifest.backend
        if self._armed() and (backend in LOCKING or BACKENDS[backend] not in sys.modules):
            # Loading a runtime's libraries holds Python's lock for longer than the safety tick may wait.
            what = "reads its models in a way that" if backend in LOCKING else "is not loaded yet, which"
            raise BundleRefused([
                f"{bundle}: the {backend} runtime {what} would hold up the safety tick; "
                f"disarm the robot, then activate the bundle"
            ])  # fmt: skip
        policy = open_policy(bundle, self._settings, self._clock)
        if policy.lost:
            policy.close()
            raise BundleRefused([f"{bundle}: {policy.lost}"])
        return _Trial(policy, self._make_loop, Admission(Rules(self._robot, self._settings)), self._clock)

    async def _shadow(self, trial: _Trial) -> Shadowed:
        """Try it on what comes in; if it is good, it drives when this returns."""
        candidate = self._candidate = trial.loop
        running = asyncio.create_task(candidate.run(), name="shadow")
        try:
            shadowed = await self._watch(trial, running)
        except BaseException:
            running.cancel()
            self._candidate = None
            await asyncio.to_thread(candidate.close)
            raise
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        self._candidate, old = None, self.loop
        candidate.deliver(self._chunks, self._on_chunk)
        self._sit(candidate)
        if old is not None:
            old.retire()
            await asyncio.to_thread(old.close)
        return shadowed

    async def _watch(self, trial: _Trial, running: asyncio.Task[None]) -> Shadowed:
        """Until it gave enough chunks; BundleRefused at the first that could not be followed."""
        candidate, bundle = trial.loop, trial.loop.policy.bundle
        driven = self.loop.inferences if self.loop is not None else 0
        end_s = asyncio.get_running_loop().time() + _SHADOW_S
        while candidate.inferences < _SHADOWED and asyncio.get_running_loop().time() < end_s:
            await asyncio.sleep(_POLL_S)
            lost = (candidate.lost or "its model ended") if running.done() else candidate.error
            if problem := lost or trial.problem:
                raise BundleRefused([f"{bundle}: in the shadow of the running policy: {problem}"])
        if not candidate.inferences and self.loop is not None and self.loop.inferences > driven:
            raise BundleRefused(
                [f"{bundle}: no chunk in {_SHADOW_S:g} s, while the running policy gave some"]
            )
        p50_ns, deadline_s = candidate.latency_ns.percentiles(50)[0], self._settings.policy.deadline_s
        if p50_ns is not None and p50_ns > deadline_s * NS_PER_S:
            raise BundleRefused([
                f"{bundle}: takes {p50_ns / 1e6:.0f} ms here, and policy.deadline_s is {deadline_s:g} s; "
                f"use a faster model or more threads"
            ])  # fmt: skip
        return Shadowed(candidate.inferences, None if p50_ns is None else round(p50_ns / 1e6, 3))

    def _make_loop(
        self, policy: Policy, chunks: Latest[Chunk], on_chunk: Callable[[], None]
    ) -> InferenceLoop:
        return InferenceLoop(
            policy, self._latest, chunks, self._clock, self._settings.policy, on_chunk,
            self._sources.topics, self._sources.estimates, self._ahead,
        )  # fmt: skip

    def _sit(self, loop: InferenceLoop) -> None:
        self.loop = loop
        self._taken.set()


class _Trial:
    """A bundle in the shadow: its loop, and why its chunks could not be followed; empty: they could."""

    def __init__(
        self,
        policy: Policy,
        make_loop: Callable[[Policy, Latest[Chunk], Callable[[], None]], InferenceLoop],
        admission: Admission,
        clock: Clock,
    ) -> None:
        self.problem = ""
        self._chunks: Latest[Chunk] = Latest()
        self._admission = admission
        self._clock = clock
        self.loop = make_loop(policy, self._chunks, self._look)

    def _look(self) -> None:
        chunk = self._chunks.take()
        if chunk is not None and not self._admission.admit(chunk, self._clock.now_ns(), None, None):
            self.problem = "; ".join(f"{said.fault}: {said.detail}" for said in self._admission.findings)


def _optional(bundle: Bundle, settings: Settings) -> list[str]:
    """A line for each input without which the robot would drive on."""
    states = [spec.signal for spec in bundle.manifest.sampled if not isinstance(spec, InstructionInput)]
    return [
        f"{bundle}: reads {topic!r}, which the settings do not require: the robot would drive on without it; "
        f"set signals.{topic}.required = true, and restart vlad"
        for topic in dict.fromkeys(states)
        if not settings.signals[topic].required
    ]
