"""The inference loop: newest samples in, action chunks out, the model in a thread of its own.

The loop thread only decides and passes references. A new frame starts an inference at once if none is
running; its result comes back with one wake-up of the loop. There is no timer and no task in between.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any, TypeAlias

from vlad.clock import NS_PER_S, Clock
from vlad.messages import Chunk, Doubt, Sample
from vlad.policy.advice import advice
from vlad.policy.model_thread import ModelThread
from vlad.policy.pacing import part_of_time
from vlad.policy.policy import Policy
from vlad.policy.prefix import Ahead
from vlad.policy.preprocess import ObservationError, instruction_text
from vlad.policy.resolution import Resolution
from vlad.policy_settings import PolicySettings
from vlad.queues import Latest
from vlad.statistics import Window

log = logging.getLogger(__name__)

_REMEMBERED = 1_000
_RATE_WINDOW_NS = 2 * NS_PER_S
_LOG_EVERY_NS = NS_PER_S

_Samples: TypeAlias = dict[str, Sample]
_Outcome: TypeAlias = Chunk | BaseException


class InferenceLoop:
    """Runs the policy on each new frame, as far as the rate limit and the model's speed allow.

    A frame that arrives while the model runs is used when it is done; one that comes too soon for the rate
    limit is left out, and the next one used: waiting for its turn would only make it older.
    """

    def __init__(
        self,
        worker: ModelThread,
        latest: Mapping[str, Latest[Sample]],
        chunks: Latest[Chunk],
        clock: Clock,
        settings: PolicySettings,
        on_chunk: Callable[[], None],
        sources: Mapping[str, str],
        estimates: Mapping[str, Sample],
        ahead: Ahead,
    ) -> None:
        """`worker` is this loop's own from now on. `latest` has the newest sample of each signal; `on_chunk`
        is called when `chunks` got a new one.

        `sources` says for a signal that failed which one stands in for it, `estimates` what is believed
        where none can: both as the kernel has them at the moment. `ahead` tells what will be done until an
        inference that starts now has ended.
        """
        self.inference_since_ns: int | None = None
        """When the inference that is running now began, for the kernel's deadline; None: none is running."""
        self.inferences = 0
        self.took_ns = 0
        """How long the newest chunk took, with reading its inputs and the way to the thread and back."""
        self.bad_observations = 0
        self.error = ""
        """Why the newest frame gave no chunk; empty when it did."""
        self.policy = policy = worker.policy
        self.lost = policy.lost
        """Why the model failed; empty once it was tried out and is well again."""
        self.latency_ns = Window(_REMEMBERED)
        self._worker = worker
        self._latest = latest
        self._sources = sources
        self._estimates = estimates
        self._ahead = ahead
        self._chunks = chunks
        self._clock = clock
        self._on_chunk = on_chunk
        self._collision: float | None = None
        self._doubts: tuple[Doubt, ...] = ()
        self._part = part_of_time(settings, policy.bundle.manifest.backend, os.cpu_count() or 1)
        self._rests_until_ns = 0
        self._resolution = Resolution([one.usual_s for one in policy.resolutions], settings.target_s)
        self.go_by(settings)
        self._running = policy.resolutions[self._resolution.at]
        """The resolution that runs, or ran last."""
        self._due_ns = 0.0
        self._used: Sample | None = None
        self._finished: deque[int] = deque(maxlen=_REMEMBERED)
        self._logged_ns = -_LOG_EVERY_NS
        self._ended: asyncio.Future[None] | None = None
        self._asleep = False
        self._on_lost: Callable[[], None] = lambda: None

    def go_by(self, settings: PolicySettings) -> None:
        """Keep to the rate of these from now on."""
        self._settings = settings
        self._period_ns = NS_PER_S / settings.rate_hz
        self._resolution.target_s = settings.target_s

    async def run(self) -> None:
        """Infer until it is retired or cancelled, or raise what the model raised; may be run again then.

        A model that failed is tried out first: it gets well without a new frame, and before one relies on it.
        """
        loop = asyncio.get_running_loop()
        self._ended = loop.create_future()
        try:
            if self.lost:
                self._worker.submit(
                    self._running.try_out, lambda outcome: loop.call_soon_threadsafe(self._tried, outcome)
                )
            self._start_if_due()
            await self._ended
        finally:
            self._ended = None

    def notify(self, sample: Sample) -> None:
        """A sample came in and lies in its slot. Only from the loop's own thread; cheap."""
        if sample.topic == self._source(self.policy.trigger):
            self._start_if_due()

    def deliver(self, chunks: Latest[Chunk], on_chunk: Callable[[], None]) -> None:
        """Put the chunks there from now on."""
        self._chunks, self._on_chunk = chunks, on_chunk

    def lower_resolution(self, why: str) -> None:
        """Run only the smallest resolution from now on, and give back the memory of the others."""
        self._resolution.lower(self._clock.now_ns(), why)
        self._at_resolution()
        self._worker.submit(self.policy.keep_smallest, lambda _: None)

    def drop_caches(self) -> None:
        """Give back the memory of what is kept only to be quicker the next time."""
        self._worker.submit(self._running.drop_caches, lambda _: None)

    def tell_lost(self, on_lost: Callable[[], None]) -> None:
        """Call this, on the loop's thread, each time that the model failed."""
        self._on_lost = on_lost

    def sleep(self) -> None:
        """Use no frame until `wake`; nobody sees what comes of the inference that runs now."""
        self._asleep = True
        self.deliver(Latest(), lambda: None)

    def wake(self) -> None:
        """Use the newest frame at once, even if another loop used it, and then each new one."""
        self._asleep, self._used = False, None
        self._start_if_due()

    def retire(self) -> None:
        """Let `run` return; nobody sees what comes of it any more, nor of the inference that runs now."""
        self.deliver(Latest(), lambda: None)
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)

    def waits_for(self) -> list[str]:
        """The signals without which it does not infer."""
        return [topic for topic in self.policy.topics if self._newest(topic) is None]

    def report(self) -> dict[str, Any]:
        """The `policy` part of the status that this loop knows."""
        now_ns = self._clock.now_ns()
        recent = sum(now_ns - at_ns < _RATE_WINDOW_NS for at_ns in self._finished)
        p50, p99 = self.latency_ns.percentiles(50, 99)
        return {
            "inferences": self.inferences,
            "rate_hz": round(recent * NS_PER_S / _RATE_WINDOW_NS, 1),
            "latency_p50_ms": None if p50 is None else round(p50 / 1e6, 3),
            "latency_p99_ms": None if p99 is None else round(p99 / 1e6, 3),
            "waits_for": self.waits_for(),
            "bad_observations": self.bad_observations,
            "collision": self._collision,
            "calibrated": self.policy.confidence.calibration is not None,
            "doubts": {doubt.measure: _doubt(doubt) for doubt in self._doubts},
            "resolution": self._running.bundle.manifest.resolution,
            "resolutions": [one.bundle.manifest.resolution for one in self.policy.resolutions],
            "resolution_why": self._resolution.why,
            "remembered": self._running.remembered(),
            "memory_mb": self.policy.memory_mb,
            "device": self.policy.device,
            "advice": advice(None if p50 is None else p50 / NS_PER_S, self._settings, self._part),
            "error": self.lost or self.error,
        }

    def release(self) -> Policy | None:
        """End the thread, and leave the policy open for another loop; None: it hangs, and is left behind."""
        return self.policy if self._worker.close(keep=True) else None

    def close(self) -> None:
        """End the thread and close the policy. A model that hangs is left behind."""
        if not self._worker.close():
            log.warning("%s: the model did not return; its thread is left behind", self.policy.bundle)

    def _source(self, topic: str) -> str:
        """The signal that feeds this input now."""
        return self._sources.get(topic, topic)

    def _start_if_due(self) -> None:
        frame = self._latest[self._source(self.policy.trigger)].peek()
        ended = self._ended is None or self._ended.done()
        if ended or self._asleep or self.lost or self.inference_since_ns is not None or frame is self._used:
            return
        now_ns = self._clock.now_ns()
        if frame is None or now_ns < max(self._due_ns - self._period_ns / 2, self._rests_until_ns):
            return
        samples = self._observe()
        if samples is None:
            return
        # Half a period of slack, made up for later, so that a jittering camera at the limit loses no frame.
        self._due_ns = max(self._due_ns, now_ns) + self._period_ns
        self._used = frame
        self.inference_since_ns = now_ns
        loop = asyncio.get_running_loop()
        policy = self._at_resolution()
        prefix = policy.prefix(samples, self._ahead)
        self._worker.submit(
            lambda: policy.infer(samples, prefix),
            lambda outcome: loop.call_soon_threadsafe(self._finish, outcome, now_ns),
        )

    def _spent_s(self, took_ns: int) -> float:
        """What an inference that took so long counts as, beside what it shall take at most.

        One that keeps others from running, since the policy must keep to its share, takes the time of these.
        """
        resting = took_ns / self._part * (self._settings.target_s * NS_PER_S / self._period_ns)
        return max(took_ns, resting) / NS_PER_S

    def _at_resolution(self) -> Policy:
        """The policy at the resolution that is next; it has not seen what another one saw, nor its times."""
        policy = self.policy.resolutions[self._resolution.at]
        if policy is not self._running:
            log.info("%s: now at %s", policy.bundle, policy.bundle.manifest.resolution)
            self._running = policy
            self.latency_ns = Window(_REMEMBERED)
            policy.forget()
        return policy

    def _observe(self) -> _Samples | None:
        """The newest sample of each input, marked as used; None while one is missing or nothing is asked."""
        samples = {
            topic: sample for topic in self.policy.topics if (sample := self._newest(topic)) is not None
        }
        if len(samples) < len(self.policy.topics):
            return None
        for topic in self.policy.topics:
            self._latest[self._source(topic)].take()
        return samples

    def _newest(self, topic: str) -> Sample | None:
        """The newest sample of an input; None where none came, or an instruction that says nothing."""
        sample = self._estimates.get(topic) or self._latest[self._source(topic)].peek()
        if (
            sample is not None
            and topic == self.policy.instruction_topic
            and not instruction_text(sample.data)
        ):
            return None
        return sample

    def _finish(self, outcome: _Outcome, began_ns: int) -> None:
        now_ns = self._clock.now_ns()
        self.inference_since_ns = None
        self.error = "" if isinstance(outcome, Chunk) else f"{outcome}"
        took_ns = now_ns - began_ns
        self._rests_until_ns = began_ns + int(took_ns / self._part)
        if isinstance(outcome, Chunk):
            self.inferences += 1
            self.took_ns = took_ns
            self.latency_ns.add(took_ns)
            self._resolution.ran(self._spent_s(took_ns), now_ns)
            self._finished.append(now_ns)
            self._collision, self._doubts = outcome.collision, outcome.doubts
            self._chunks.put(outcome)
            self._on_chunk()
        elif isinstance(outcome, ObservationError):
            self.bad_observations += 1
            self._log(now_ns)
        else:
            self._fail(outcome)
        self._start_if_due()

    def _tried(self, error: BaseException | None) -> None:
        if error is not None:
            self._fail(error)
        else:
            self.lost = self.error = ""
            self._start_if_due()

    def _fail(self, error: BaseException) -> None:
        """The model is lost: let `run` raise why."""
        self.lost = f"{error}" or type(error).__name__
        self._on_lost()
        if self._ended is not None and not self._ended.done():
            self._ended.set_exception(error)

    def _log(self, now_ns: int) -> None:
        """The newest error, at most once a second."""
        if now_ns - self._logged_ns >= _LOG_EVERY_NS:
            self._logged_ns = now_ns
            log.warning("no inference: %s (%d so far)", self.error, self.bad_observations)


def _doubt(doubt: Doubt) -> dict[str, float | None]:
    """For the status; null: not calibrated, or no number."""
    values = {"value": doubt.value, "slow": doubt.slow, "stop": doubt.stop}
    return {name: float(f"{value:.4g}") if isfinite(value) else None for name, value in values.items()}
