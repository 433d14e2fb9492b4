"""The daemon: build the parts, start them in order, supervise, bring the robot to rest, stop. Read first.

One frame, end to end: ingest puts the newest sample of each signal into its slot; the inference loop turns
the newest frame into an action chunk; the watchdog, 100 times a second, lets the kernel check and bound the
step that is due; the command writer sends it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import zmq

from vlad import realtime
from vlad.acts import Acts
from vlad.clock import NS_PER_S, Clock, Tick
from vlad.command import CommandWriter
from vlad.computer import ComputerMonitor
from vlad.config import Settings
from vlad.control import Control
from vlad.dashboard.part import Page
from vlad.feed import Feed
from vlad.folders import StartError, hold_run_folder, make_folders
from vlad.guardlink import GuardLink
from vlad.health.figures import gather
from vlad.health.monitor import Health
from vlad.ingest import Ingest
from vlad.latch import EStopLatch
from vlad.loading import Loaded, load_policies, require_signals
from vlad.logs import log_event
from vlad.maintenance.scheduler import Maintenance
from vlad.messages import Chunk, Instruction, Level, Mode, Sample, TaskResult
from vlad.metrics import Metrics
from vlad.minutes import Minutes
from vlad.motion_report import MotionReport
from vlad.notify import Notifier
from vlad.operation import Operation
from vlad.policy.backends import ServerLost
from vlad.policy.bundle import Bundle
from vlad.policy.choice import Choice
from vlad.policy.follower import Follower
from vlad.policy.seat import Seat
from vlad.policy.worker import InferenceLoop
from vlad.queues import Latest
from vlad.record.blackbox import BlackBox
from vlad.record.events import EventLog
from vlad.record.journal import Journal
from vlad.relief import MemoryRelief
from vlad.reload import Read, Reloaded, Reloader
from vlad.robot import Robot
from vlad.safety.kernel import Kernel, Verdict
from vlad.safety.ladder import ARMED
from vlad.supervisor import Part, supervise
from vlad.watchdog import AT_REST, Watchdog

log = logging.getLogger(__name__)

_CONFIRM_S = 1.0
_SETTLED = (*AT_REST, Mode.ESTOP)
_PATIENCE_S = 60.0
_HELPERS = 6
"""Threads for what the loop must not wait for: to read a bundle takes one for minutes, all else is short."""
_RETRY_S = 0.5
"""A policy that failed, or whose server is lost, is tried out again at least this often."""


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    """Cancel, the newest first, and wait until each has ended."""
    for task in reversed(tasks):
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class Daemon:
    """All parts of one robot's vlad."""

    def __init__(self, settings: Settings, robot: Robot, clock: Clock, read: Read, config: Path) -> None:
        """`config` is the settings' file; `read` gives the settings as they are in their files now."""
        self.config = config
        self.settings = settings
        self.robot = robot
        self.clock = clock
        self.parts: list[Part] = []
        self.policy_error = ""
        self.fallback_error = ""
        self.choice_path = settings.paths.state_dir / "policy.json"
        self.choice = Choice(settings.policy.bundle, None, settings.policy.bundle)
        self.started_ns = clock.now_ns()
        self.metrics = Metrics(self.started_ns)
        self._failed: tuple[str, ...] = ()
        self._ticking = asyncio.Event()
        self._stopping = asyncio.Event()
        self.notifier = Notifier()
        self.reloader = Reloader(self, read)
        self._reloads: set[asyncio.Task[Reloaded]] = set()

    @property
    def inference(self) -> InferenceLoop | None:
        """The loop of the policy that drives."""
        return self.seat.loop

    @property
    def bundle(self) -> Bundle | None:
        """The bundle that runs."""
        return self.seat.loop.policy.bundle if self.seat.loop else None

    @property
    def stopping(self) -> bool:
        """The process is about to end."""
        return self._stopping.is_set()

    async def run(self) -> int:
        """From start to the end of the process; the exit status."""
        async with contextlib.AsyncExitStack() as closing:
            await self._start(closing)
            await self._stopping.wait()
            await self._bring_to_rest()
        return 1 if self._failed else 0

    def request_stop(self, reason: str) -> None:
        """SIGTERM, Ctrl-C: a controlled stop, hold, and then the end."""
        if not self.stopping:
            log.info("stopping: %s", reason)
            self.kernel.stop(reason)
            self._stopping.set()

    # start ------------------------------------------------------------------------------------------------

    async def _start(self, closing: contextlib.AsyncExitStack) -> None:
        """Build and start everything; `closing` undoes it in reverse order, also when a step fails."""
        paths = self.settings.paths
        make_folders(paths)
        closing.callback(os.close, hold_run_folder(paths.run_dir))
        closing.callback(self.notifier.close)
        self.wakefulness = realtime.Wakefulness(self.settings.realtime.wakeup_latency_us)
        closing.callback(self.wakefulness.close)
        self.realtime = {**realtime.apply(self.settings.realtime), "wakeup": self.wakefulness.state}
        asyncio.get_running_loop().set_default_executor(realtime.start_threads(_HELPERS, "helper"))
        self.events = EventLog(paths.state_dir / "vlad.db", self.clock, tell=log_event)
        closing.push_async_callback(asyncio.to_thread, self.events.close)
        self.journal = Journal(self.events, self.clock)
        self.latch = EStopLatch(paths.state_dir / "estop.json", self.clock)
        closing.callback(self.latch.close)
        loaded = await self._patiently(
            load_policies(self.settings, self.robot, self.clock, self.events, self.choice_path)
        )
        self.choice, self.policy_error = loaded.choice, loaded.error
        self.fallback_error = loaded.fallback_error
        try:
            self._build(closing, loaded)
        except OSError as error:
            raise StartError(error.strerror or str(error)) from None
        self.collector.freeze()
        if self.realtime["memory"] == "applied":
            realtime.prefault_names()
            realtime.prefault_heap()
        self.realtime["huge_pages"] = realtime.use_huge_pages()
        closing.callback(self.collector.thaw)
        self._start_parts(closing)
        self.events.put(
            "start", Level.SAFE, f"vlad started for {self.robot.name}", pid=os.getpid(), robot=self.robot.name
        )
        closing.callback(self.events.put, "stop", Level.SAFE, "vlad stopped")

    async def _patiently(self, loading: Awaitable[Loaded]) -> Loaded:
        """Ask systemd for more time for as long as it takes: TensorRT may build a plan for many minutes."""
        loaded = asyncio.ensure_future(loading)
        while not loaded.done():
            self.notifier.starting("loading the policy", _PATIENCE_S)
            await asyncio.wait([loaded], timeout=_PATIENCE_S / 3)
        return loaded.result()

    def _build(self, closing: contextlib.AsyncExitStack, loaded: Loaded) -> None:
        settings = require_signals(self.settings, loaded.policy, loaded.fallback)
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        if self.realtime["memory"] == "applied":
            realtime.prefault_receiver(context)
        closing.callback(context.destroy, linger=100)
        types = {topic: signal.type for topic, signal in settings.signals.items()}
        self.feed = Feed(settings.paths.run_dir, types, settings.record.picture_hz, self.clock)
        closing.callback(self.feed.close)
        closing.callback(self.events.subscribe(self.feed.event))
        self.ingest = Ingest(context, settings, self.clock, self._on_sample, self.feed)
        closing.callback(self.ingest.close)
        writer = CommandWriter(context, settings, self.clock)
        closing.callback(writer.close)
        chunks: Latest[Chunk] = Latest()
        follower = Follower(settings.policy)
        self.health = Health(settings.health, self.robot.name, self.clock, self.events)
        closing.callback(self.health.close)
        self.computer = ComputerMonitor(
            settings.paths.state_dir, self.clock, settings.health.interfaces, self.health.judge
        )
        closing.callback(self.computer.close)
        self.guard = GuardLink(
            context, settings.paths.run_dir, self.clock, lambda: self.watchdog.ticker.wake()
        )
        closing.callback(self.guard.close)
        self.maintenance = Maintenance(self)
        self.blackbox = BlackBox(settings, self.robot.name, self.clock, self.events)
        self.collector = realtime.Collector()
        self.kernel = Kernel(self.robot, settings, self.latch.load())
        self.operation = Operation(self.robot, self.clock.now_ns(), self._feedback)
        self.minutes = Minutes(self)
        closing.callback(lambda: self.minutes.end(clean=not self._failed))
        self.watchdog = Watchdog(
            kernel=self.kernel,
            follower=follower,
            writer=writer,
            samples=self.ingest.latest,
            catch_up=self.ingest.catch_up,
            chunks=chunks,
            clock=self.clock,
            tick_hz=settings.realtime.tick_hz,
            collector=self.collector,
            on_verdict=self._on_verdict,
            inference_since_ns=lambda: self.inference.inference_since_ns if self.inference else None,
            policy_lost=lambda: self.seat.check(),
            fallback=lambda: self.seat.instead,
            reading=lambda: self.seat.reading,
            failed_parts=self._dead_parts,
            counts=self.ingest.counters,
            overflows=lambda: self.events.dropped,
            computer=self.computer.newest.peek,
            guard=self.guard.newest,
        )
        self.seat = Seat(
            settings,
            self.robot,
            self.clock,
            self.ingest.latest,
            self.kernel.sources,
            chunks,
            on_chunk=lambda: self._on_chunk(chunks.peek()),
            armed=lambda: self.kernel.mode in ARMED,
            ahead=follower.ahead,
            tell=self._tell,
        )
        closing.callback(self.seat.close)
        self.relief = MemoryRelief(
            self.seat, settings.policy, self.computer.newest.peek, self.clock, self._tell
        )
        if loaded.fallback is not None:
            self.seat.stand_by(loaded.fallback)
        if loaded.policy is not None:
            self.seat.take(loaded.policy)
        self.page = Page(settings)
        self.motion = MotionReport(self)
        self.acts = Acts(self)
        self.control = Control(settings, self.acts)

    def _start_parts(self, closing: contextlib.AsyncExitStack) -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._on_loop_error)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.request_stop, signal.Signals(number).name)
        loop.add_signal_handler(signal.SIGHUP, self._on_hangup)
        self.ingest.start()
        self.guard.start()
        self.parts = [
            Part("watchdog", self._run_watchdog, critical=True),
            Part("control", self.control.run, critical=False),
            Part("inference", self.seat.run, critical=False, longest_backoff_s=_RETRY_S, told=(ServerLost,)),
            Part("maintenance", self.maintenance.run, critical=False),
            Part("health", lambda: self.health.run(lambda: gather(self)), critical=False),
            Part("minutes", self.minutes.run, critical=False),
        ]
        if self.settings.policy.relief < 1:
            self.parts.append(Part("relief", self.relief.run, critical=False))
        if self.seat.fallback is not None:
            run = self.seat.fallback.loop.run
            self.parts.append(Part("fallback", run, critical=False, longest_backoff_s=_RETRY_S))
        if self.blackbox.on:
            self.parts.append(Part("record", self.blackbox.run, critical=False))
        if self.page.on:
            self.parts.append(Part("page", self.page.run, critical=False))
        tasks = [
            asyncio.create_task(supervise(part, self.clock, self.events, self._fail), name=part.name)
            for part in self.parts
        ]
        tasks.append(asyncio.create_task(self._announce(), name="announce"))
        closing.push_async_callback(_cancel, tasks)

    async def _announce(self) -> None:
        """READY once the safety tick runs and an operator can connect."""
        await self._ticking.wait()
        await self.control.listening.wait()
        self.realtime["threads"] = realtime.favour_threads()
        self.notifier.ready(f"{self.robot.name}: {self.kernel.mode.value}")

    async def _run_watchdog(self) -> None:
        try:
            await self.watchdog.run()
        except asyncio.CancelledError:
            raise
        except BaseException:
            self.watchdog.last_resort()
            raise

    # while it runs ----------------------------------------------------------------------------------------

    def _feedback(self) -> Sample | None:
        """The newest measurement of how the robot moves."""
        topic = self.kernel.sources.topics.get(self.robot.feedback, self.robot.feedback)
        return self.ingest.latest[topic].peek() if topic else None

    def _tell(self, level: Level, text: str) -> None:
        """Which policy drives, and why."""
        self.events.put("model", level, text)

    def _dead_parts(self) -> tuple[str, ...]:
        """Parts without which the robot may not move."""
        refused = (("policy", self.policy_error), ("fallback", self.fallback_error))
        return (*self._failed, *(name for name, error in refused if error))

    def _fail(self, name: str) -> None:
        """A critical part is gone: stop the robot, and end the process so that systemd starts it anew."""
        self._failed += (name,)
        self.request_stop(f"{name} failed")

    def _on_loop_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """An error in a bare callback, such as ingest's: nobody else would stop the robot for it."""
        log.error("the event loop: %s", context.get("message"), exc_info=context.get("exception"))
        if context.get("exception") is not None and not self.stopping:
            self._fail("loop")

    def _on_sample(self, sample: Sample) -> None:
        if isinstance(sample.data, Instruction):
            self.acts.take_task(sample.data.text, f"{sample.topic} ({sample.data.source})")
        elif isinstance(sample.data, TaskResult):
            self.acts.end_task(sample.data)
        self.watchdog.notice(sample)
        self.seat.notify(sample)

    def _on_chunk(self, chunk: Chunk | None) -> None:
        self.watchdog.ticker.wake()
        if chunk is not None:  # all else about it can wait until its command is out
            asyncio.get_running_loop().call_soon(self._account, chunk)

    def _account(self, chunk: Chunk) -> None:
        self.feed.chunk(chunk)
        if self.inference is not None:
            self.metrics.chunk(chunk, self.inference.took_ns)

    def _on_verdict(self, tick: Tick, verdict: Verdict) -> None:
        self._ticking.set()
        self.wakefulness.hold(armed=verdict.mode not in _SETTLED)
        self.ingest.listen(at_once=verdict.mode not in AT_REST)
        self.notifier.feed_watchdog(self.clock.now_ns())
        self.operation.turn(self.clock.now_ns(), verdict, self.journal.keep(verdict))
        self.metrics.turn(tick, verdict, self.watchdog.writer.sent_ns)
        for change in verdict.transitions:
            self.notifier.status(f"{self.robot.name}: {change.after.value} ({change.cause})")
            if change.after is Mode.ESTOP:
                self.acts.put_task("", "the e-stop")
        self.latch.keep(verdict.estop_reason)
        self.feed.turn(tick, verdict, self.watchdog.writer.last, self.watchdog.task)

    # new settings -----------------------------------------------------------------------------------------

    def _on_hangup(self) -> None:
        task = asyncio.create_task(self.reloader.reload("SIGHUP"), name="reload")
        self._reloads.add(task)
        task.add_done_callback(self._reloads.discard)

    def go_by(self, settings: Settings, limits: Robot | None = None) -> None:
        """Go by other settings; with `limits` the safety kernel too, which must be replaceable now."""
        self.settings = settings
        required = require_signals(settings, *(loop.policy for loop in self.seat.loops))
        if limits is not None:
            self.robot = limits
            self.kernel = self.watchdog.kernel = self.kernel.replaced(limits, required)
        self.seat.renew(required, self.robot)

    # stop -------------------------------------------------------------------------------------------------

    async def _bring_to_rest(self) -> None:
        """Wait until the kernel has stopped the robot; the tick goes on commanding it meanwhile."""
        self.notifier.stopping("bringing the robot to rest")
        deadline_ns = self.clock.now_ns() + round(self._longest_stop_s() * NS_PER_S)
        while "watchdog" not in self._failed and self.clock.now_ns() < deadline_ns:
            verdict = self.watchdog.verdict
            if verdict is not None and verdict.mode in _SETTLED:
                return
            await asyncio.sleep(0.01)

    def _longest_stop_s(self) -> float:
        """From full speed to rest, with the margin that the kernel gives; longer, and nothing confirms it."""
        axes = self.robot.axes.values()
        planned_s = max(axis.velocity / (axis.deceleration or axis.acceleration) for axis in axes)
        return planned_s * self.settings.safety.stop_margin + _CONFIRM_S
