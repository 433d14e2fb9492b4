"""What the agenda knows of each task, kept in STATE/maintenance.db: at once, or as soon as that can be."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

from vlad.maintenance.agenda import Agenda
from vlad.maintenance.store import Store
from vlad.messages import Level

if TYPE_CHECKING:
    from vlad.record.events import EventLog

log = logging.getLogger(__name__)


class Memory:
    """On the loop's thread; the disk is asked in another one."""

    def __init__(self, path: Path, agenda: Agenda, events: EventLog) -> None:
        self.problem = ""
        """Why nothing can be remembered just now; empty: it can."""
        self._store = Store(path)
        self._agenda = agenda
        self._events = events
        self._read = False
        """Whether the file is known to hold what the agenda holds, but for what is about to be saved."""

    async def recall(self) -> None:
        """Take from the disk what came of each task before, but of those that ran since; save the others."""
        self._read = False
        await self.save()

    async def save(self, *names: str) -> None:
        """On the disk when this returns, or `problem` says why not."""
        try:
            if not self._read:
                names = await self._differing()
            if names:
                await asyncio.to_thread(self._store.save, *(self._agenda.records[name] for name in names))
        except (sqlite3.Error, OSError) as error:
            self._read = False
            self._trouble(error)
        else:
            self._read = True
            self._well()

    async def mend(self) -> None:
        """Where something could not be saved, try again."""
        if self.problem:
            await self.recall()

    async def _differing(self) -> tuple[str, ...]:
        """Have the agenda take what the file knows; the tasks of which the file knows something else."""
        known, trouble = await asyncio.to_thread(self._store.load)
        if trouble:
            log.error("%s", trouble)
            self._events.put("maintenance", Level.WARNING, trouble)
        return tuple(self._agenda.recall(known))

    def _trouble(self, error: Exception) -> None:
        mend = "make its folder writable for vlad's user, with room on its disk"
        problem = f"{self._store.path}: {error}; {mend}; until then a restart repeats tasks that were done"
        if problem != self.problem:
            log.error("%s", problem)
            self._events.put("maintenance", Level.WARNING, problem)
        self.problem = problem

    def _well(self) -> None:
        if self.problem:
            self.problem = ""
            self._events.put("maintenance", Level.SAFE, f"{self._store.path}: can be written again")
