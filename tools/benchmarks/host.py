"""The real daemon in a process, with a notebook: what the benchmarks need to know and no operator asks.

`python -m tools.benchmarks.host SETTINGS NOTES [--pace ticker|sleep|call_at] [--ordinary-threads]`: runs
until SIGTERM, then writes NOTES (npz): `ran_ns` and `late_ns` of every tick, `stamp_ns` and `received_ns` of
every camera frame, and of every chunk the frame's stamp `chunk_ns` and the model's own run `model_ns`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
from array import array
from pathlib import Path
from typing import cast

import numpy as np
import uvloop

from vlad import realtime
from vlad.clock import NS_PER_S, Clock, SystemClock, Tick, Ticker
from vlad.config import Settings, load_settings
from vlad.daemon import Daemon
from vlad.loading import Loaded
from vlad.messages import Chunk, Image, Sample
from vlad.robot import Robot
from vlad.settings_files import DEFAULT_SETTINGS


class NaivePace:
    """What people write in place of a Ticker: sleep until the next deadline, by asyncio or by call_at."""

    def __init__(self, pace: str, period_ns: int, clock: Clock) -> None:
        self._sleep = self._asyncio_sleep if pace == "sleep" else self._call_at
        self._period_ns = period_ns
        self._clock = clock
        self._due_ns = 0

    def start(self) -> None:
        self._due_ns = self._clock.now_ns()

    def close(self) -> None:
        """Nothing is held."""

    def wake(self) -> None:
        """A naive loop has no turns in between."""

    def room_in_s(self) -> float:
        """Nor does it look ahead."""
        return 0.0

    async def wait(self) -> Tick:
        self._due_ns += self._period_ns
        await self._sleep((self._due_ns - self._clock.now_ns()) / NS_PER_S)
        late_ns = self._clock.now_ns() - self._due_ns
        missed = max(0, late_ns // self._period_ns)
        self._due_ns += missed * self._period_ns
        return Tick(self._due_ns, late_ns, missed, early=False)

    async def _asyncio_sleep(self, delay_s: float) -> None:
        await asyncio.sleep(max(0.0, delay_s))

    async def _call_at(self, delay_s: float) -> None:
        loop = asyncio.get_running_loop()
        woken = loop.create_future()
        loop.call_at(loop.time() + max(0.0, delay_s), woken.set_result, None)
        await woken


class NotingDaemon(Daemon):
    """Writes down the lateness of each tick and the arrival of each camera frame."""

    def __init__(self, settings: Settings, robot: Robot, clock: Clock, pace: str) -> None:
        super().__init__(settings, robot, clock, lambda: (settings, robot), DEFAULT_SETTINGS)
        self._pace = pace
        self.ran_ns = array("q")
        self.late_ns = array("q")
        self.frames = array("q")
        self.chunks = array("q")

    def _build(self, closing: contextlib.AsyncExitStack, loaded: Loaded) -> None:
        super()._build(closing, loaded)
        period_ns = self.watchdog.ticker.period_ns
        if self._pace != "ticker":
            naive = NaivePace(self._pace, period_ns, self.clock)
            self.watchdog.ticker = cast(Ticker, naive)
        wait = self.watchdog.ticker.wait

        async def noting_wait() -> Tick:
            tick = await wait()
            if not tick.early:
                self.ran_ns.append(self.clock.now_ns())
                self.late_ns.append(tick.late_ns)
            return tick

        self.watchdog.ticker.wait = noting_wait  # type: ignore[method-assign]
        admit = self.kernel.admit

        def noting_admit(chunk: Chunk, now_ns: int) -> bool:
            self.chunks.extend((chunk.stamp_ns, chunk.inference_ns))
            return admit(chunk, now_ns)

        self.kernel.admit = noting_admit  # type: ignore[method-assign]

    def _on_sample(self, sample: Sample) -> None:
        if isinstance(sample.data, Image):
            self.frames.extend((sample.stamp_ns, sample.received_ns))
        super()._on_sample(sample)

    def save(self, path: Path) -> None:
        frames = np.array(self.frames, np.int64).reshape(-1, 2)
        chunks = np.array(self.chunks, np.int64).reshape(-1, 2)
        np.savez(
            path,
            ran_ns=np.array(self.ran_ns, np.int64),
            late_ns=np.array(self.late_ns, np.int64),
            stamp_ns=frames[:, 0],
            received_ns=frames[:, 1],
            chunk_ns=chunks[:, 0],
            model_ns=chunks[:, 1],
        )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("settings", type=Path)
    parser.add_argument("notes", type=Path)
    parser.add_argument("--pace", choices=("ticker", "sleep", "call_at"), default="ticker")
    parser.add_argument("--ordinary-threads", action="store_true", help="none but the loop's is favoured")
    arguments = parser.parse_args()
    if arguments.ordinary_threads:
        realtime.favour_threads = lambda: "off"
    settings, robot = load_settings(arguments.settings)

    async def run() -> NotingDaemon:
        daemon = NotingDaemon(settings, robot, SystemClock(), arguments.pace)
        await daemon.run()
        return daemon

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run()).save(arguments.notes)


if __name__ == "__main__":
    main()
