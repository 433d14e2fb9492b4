"""Live pictures of the cameras, made and fetched only while somebody looks.

A thread, nicer than the loop, listens to the daemon's feed and encodes; what it needs for that is not even
imported before the first look.
"""

from __future__ import annotations

import asyncio
import os
import threading
from dataclasses import dataclass
from pathlib import Path

from vlad.clock import NS_PER_S, Clock

_WATCHED_S = 3.0
_PATIENCE_S = 1.0
_OLDEST_S = 1.0
_NICE = 10


@dataclass(frozen=True, slots=True)
class Picture:
    """`number` tells it from others of the process; `data` is a file of the type `media`."""

    number: int
    stamp_ns: int
    media: str
    data: bytes


class Pictures:
    """All on the loop's thread but `_watch`."""

    def __init__(self, run_dir: Path, clock: Clock) -> None:
        self._run_dir = run_dir
        self._clock = clock
        self._newest: dict[str, Picture] = {}
        self._wanted_ns: dict[str, int] = {}
        self._came = asyncio.Condition()
        self._thread: threading.Thread | None = None
        self._count = 0

    def age_s(self, picture: Picture) -> float:
        """Since the camera took it."""
        return (self._clock.now_ns() - picture.stamp_ns) / NS_PER_S

    async def next(self, topic: str, seen: int) -> Picture | None:
        """The newest picture if it is not number `seen`, else the next one; None: none came for a second."""
        self._wanted_ns[topic] = self._clock.now_ns()
        if self._thread is None or not self._thread.is_alive():
            loop = asyncio.get_running_loop()
            self._thread = threading.Thread(target=self._watch, args=(loop,), name="pictures", daemon=True)
            self._thread.start()
        try:
            async with asyncio.timeout(_PATIENCE_S), self._came:
                while True:
                    newest = self._newest.get(topic)
                    if newest is not None and newest.number != seen and self.age_s(newest) < _OLDEST_S:
                        return newest
                    await self._came.wait()
        except TimeoutError:
            return None

    def wanted(self) -> frozenset[str]:
        """The topics that somebody asked for lately."""
        since_ns = self._clock.now_ns() - round(_WATCHED_S * NS_PER_S)
        return frozenset(topic for topic, asked_ns in self._wanted_ns.copy().items() if asked_ns > since_ns)

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """In its thread, until nobody looks any more."""
        from vlad.dashboard.camera import watch

        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        watch(
            self._run_dir,
            self.wanted,
            lambda topic, stamp_ns, media, data: asyncio.run_coroutine_threadsafe(
                self._put(topic, stamp_ns, media, data), loop
            ),
        )

    async def _put(self, topic: str, stamp_ns: int, media: str, data: bytes) -> None:
        self._count += 1
        self._newest[topic] = Picture(self._count, stamp_ns, media, data)
        async with self._came:
            self._came.notify_all()
