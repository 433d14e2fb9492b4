"""The safety tick: 100 times a second, and at once when something urgent came in.

Nothing reaches a motor but through here: sample the queues, judge, command.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from vlad.clock import NS_PER_S, Clock, Tick, Ticker
from vlad.command import CommandWriter
from vlad.messages import Chunk, CommandMode, EStop, LaserScan, Mode, Proximity, Sample
from vlad.policy.follower import Follower
from vlad.queues import Latest
from vlad.realtime import Collector
from vlad.safety.kernel import Inputs, Kernel, Verdict
from vlad.safety.ladder import MOVING
from vlad.safety.view import Computer, Counts, GuardReport
from vlad.statistics import Window

AT_REST = (Mode.BOOT, Mode.DISARMED, Mode.STOPPED)
_MS = 1_000_000


@dataclass(slots=True)
class TickCounts:
    """How well the tick kept its time since the start."""

    count: int = 0
    early: int = 0
    missed: int = 0
    late_1ms: int = 0
    late_5ms: int = 0


class Watchdog:
    """Owns the kernel, the follower and the command writer, and is the only caller of all three."""

    def __init__(
        self,
        kernel: Kernel,
        follower: Follower,
        writer: CommandWriter,
        samples: Mapping[str, Latest[Sample]],
        catch_up: Callable[[], None],
        chunks: Latest[Chunk],
        clock: Clock,
        tick_hz: int,
        collector: Collector,
        on_verdict: Callable[[Tick, Verdict], None],
        inference_since_ns: Callable[[], int | None],
        policy_lost: Callable[[], str],
        fallback: Callable[[], str],
        reading: Callable[[], str],
        failed_parts: Callable[[], tuple[str, ...]],
        counts: Mapping[str, Counts],
        overflows: Callable[[], int],
        computer: Callable[[], Computer | None],
        guard: Callable[[], GuardReport | None],
    ) -> None:
        self.kernel = kernel
        self.ticker = Ticker(NS_PER_S // tick_hz, clock)
        self.counts = TickCounts()
        self.lateness_ns = Window(tick_hz * 60)
        self.age_ns = Window(tick_hz * 60)
        self.task = ""
        self.verdict: Verdict | None = None
        self._follower = follower
        self.writer = writer
        self._samples = samples
        self._catch_up = catch_up
        self._chunks = chunks
        self._clock = clock
        self._collector = collector
        self._on_verdict = on_verdict
        self._inference_since_ns = inference_since_ns
        self._policy_lost = policy_lost
        self._fallback = fallback
        self._reading = reading
        self._failed_parts = failed_parts
        self._counts = counts
        self._overflows = overflows
        self._computer = computer
        self._guard = guard
        self._source_ns = 0

    async def run(self) -> None:
        """The loop. It ends only by cancellation, or by an error that its supervisor must act on."""
        self.ticker.start()
        try:
            while True:
                tick = await self.ticker.wait()
                inputs = self.sample(tick)
                verdict = self.kernel.judge(inputs)
                self._command(verdict, inputs.now_ns)
                self._account(tick, verdict)
        finally:
            self.ticker.close()

    def sample(self, tick: Tick | None = None) -> Inputs:
        """All that a judgement may know, as of now; without a tick for an operator's question in between."""
        self._catch_up()
        now_ns = self._clock.now_ns()
        chunk = self._chunks.take()
        if chunk is not None and chunk.instruction in ("", self.task) and self.kernel.admit(chunk, now_ns):
            self._follower.put(chunk, now_ns)
        return Inputs(
            now_ns=now_ns,
            samples={topic: sample for topic, slot in self._samples.items() if (sample := slot.peek())},
            step=self._follower.step(now_ns),
            task=self.task,
            inference_since_ns=self._inference_since_ns(),
            missed_ticks=tick.missed if tick else 0,
            early=tick is None or tick.early,
            failed_parts=self._failed_parts(),
            counts=self._counts,
            overflows=self._overflows(),
            computer=self._computer(),
            listeners=self.writer.listeners,
            guard=self._guard(),
            policy_lost=self._policy_lost(),
            fallback=self._fallback(),
            reading=self._reading(),
        )

    def set_task(self, text: str) -> None:
        """What the robot is told to do from now on; what was planned for another task is not followed."""
        if text != self.task:
            self.task = text
            self._follower.clear()
            self._chunks.clear()

    def notice(self, sample: Sample) -> None:
        """A new sample came in: judge at once where waiting for the next tick would cost distance."""
        match sample.data:
            case EStop(pressed=True):
                self.kernel.estop(f"button {sample.topic!r} pressed")
                self.ticker.wake()
            case LaserScan() | Proximity() if self.kernel.mode in MOVING:
                self.ticker.wake()

    @property
    def chunk(self) -> Chunk | None:
        """The newest that the policy said."""
        return self._chunks.peek()

    def last_resort(self) -> None:
        """The loop itself failed: one stop that needs no judgement. The receiver's expiry does the rest."""
        self.writer.stop(CommandMode.STOP1)

    def _command(self, verdict: Verdict, now_ns: int) -> None:
        command = self.writer.send(
            verdict.command_mode,
            verdict.kind,
            verdict.names,
            verdict.values,
            verdict.source_stamp_ns,
            now_ns,
        )
        if self.writer.fault:
            self.kernel.estop(f"the command writer refused a command: {self.writer.fault}")
        if verdict.command_mode is CommandMode.RUN and command.source_stamp_ns > self._source_ns:
            self._source_ns = command.source_stamp_ns
            self.age_ns.add(self.writer.sent_ns - command.source_stamp_ns)

    def _account(self, tick: Tick, verdict: Verdict) -> None:
        self.verdict = verdict
        counts = self.counts
        if tick.early:
            counts.early += 1
        else:
            requests = {f.fault.request for f in verdict.faults if f.fault.request is not None}
            # Not of a generator: a tuple that is cut to size leaves memory in one of Python's free lists.
            ids = tuple([f.fault.id for f in verdict.faults])
            self.writer.heartbeat(verdict.mode, verdict.level, ids, tuple(sorted(requests)))
            counts.count += 1
            counts.missed += tick.missed
            counts.late_1ms += tick.late_ns > _MS
            counts.late_5ms += tick.late_ns > 5 * _MS
            self.lateness_ns.add(tick.late_ns)
            self._collector.after_tick(at_rest=verdict.mode in AT_REST)
        self._on_verdict(tick, verdict)
