"""Maintenance as the daemon runs it: what is due, one task at a time, each in a process of its own.

The loop compares a few numbers every ten seconds, and hands over and takes a line of JSON for each run. A
task that only runs while the robot is disarmed is ended when the robot is armed: arming waits for nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlad.beside import Process
from vlad.clock import NS_PER_S
from vlad.health.figures import MaintenanceFigures
from vlad.jsontext import to_json
from vlad.maintenance.agenda import Agenda, Ending, Pick
from vlad.maintenance.memory import Memory
from vlad.maintenance.schedule import Moment
from vlad.maintenance.store import Record
from vlad.maintenance.tasks import find
from vlad.messages import Level
from vlad.safety.ladder import ARMED

if TYPE_CHECKING:
    from vlad.daemon import Daemon

log = logging.getLogger(__name__)

_LOOK_S = 10.0
_GLANCE_S = 0.1
_NICE = 19
_RESULT = b'{"verdict"'
_WORDS = (sys.executable, "-m", "vlad.maintenance")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_LEVELS = {"ok": Level.SAFE, "warning": Level.WARNING, "failed": Level.WARNING}
_WORST = {"high": 0.75, "critical": 1.0}

Row = dict[str, Any]


class MaintenanceError(Exception):
    """A task cannot be run now; the message says why."""


@dataclass(slots=True)
class _Running:
    """The run of now."""

    name: str
    since_ns: int
    progress: float = 0.0
    text: str = ""
    result: bytes = b""
    """The line that it comes in."""


class Maintenance:
    """A part of the daemon: `run` until it is cancelled. On the loop's thread."""

    def __init__(self, daemon: Daemon, words: tuple[str, ...] = _WORDS) -> None:
        """`words` begin the command line of a task's process."""
        self._daemon = daemon
        self._clock = daemon.clock
        self._words = words
        self._boot = _BOOT_ID.read_text().strip()
        self._descriptions = find()
        self._agenda = Agenda(self._descriptions, daemon.settings.maintenance, daemon.started_ns, self._now())
        self.memory = Memory(daemon.settings.paths.state_dir / "maintenance.db", self._agenda, daemon.events)
        self._rows = {name: self._row(name) for name in self._agenda.records}
        self._running: _Running | None = None
        self._ordered = asyncio.Event()

    async def run(self) -> None:
        """Look what is due, and run it, for ever."""
        await self.memory.recall()
        while True:
            if not await self.look():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._ordered.wait(), _LOOK_S)
                self._ordered.clear()

    async def look(self) -> bool:
        """Run what is to be run now; whether there was anything."""
        await self.memory.mend()
        self._agenda.warn(self._alerts())
        pick = self._agenda.pick(self._now(), armed=self._armed)
        self._rows = {name: self._row(name) for name in self._agenda.records}
        if pick is not None:
            await self._perform(pick)
        return pick is not None

    def order(self, name: str, params: Row) -> None:
        """Run it as soon as may be, by hand. MaintenanceError where it is not known, or runs already."""
        if name not in self._agenda.records:
            raise MaintenanceError(f"there is no task {name!r}; {', '.join(self._agenda.records)}")
        if name in self._agenda.orders or (self._running is not None and self._running.name == name):
            raise MaintenanceError(f"{name} runs already, or is about to")
        self._agenda.orders[name] = params
        self._ordered.set()

    def waits(self, name: str) -> bool:
        """Whether it waits until the robot is disarmed."""
        return self._agenda.waits(name, armed=self._armed)

    def report(self) -> Row:
        """The `maintenance` part of the status."""
        running = self._running
        return {
            "running": None
            if running is None
            else {
                "name": running.name,
                "progress": running.progress,
                "text": running.text,
                "for_s": round((self._clock.now_ns() - running.since_ns) / NS_PER_S, 1),
            },
            "ordered": list(self._agenda.orders),
            "problem": self.memory.problem,
            "tasks": self._rows,
        }

    def details(self) -> Row:
        """The report, with what each task does and all that it found."""
        report = self.report()
        tasks = {
            name: {
                **row,
                "description": self._descriptions[name],
                "rows": list(self._agenda.records[name].rows),
            }
            for name, row in self._rows.items()
        }
        return {**report, "tasks": tasks}

    def figures(self) -> MaintenanceFigures:
        """What of it health judges: the tasks whose failure is worth an alert."""
        failing = [
            (_WORST[task.priority], f"{name} failed: {record.summary}")
            for name, task in self._agenda.settings.items()
            if task.priority in _WORST
            and (record := self._agenda.records.get(name)) is not None
            and record.failures
        ]
        if not failing:
            return MaintenanceFigures()
        return MaintenanceFigures(max(worst for worst, _ in failing), "; ".join(text for _, text in failing))

    # what is known ----------------------------------------------------------------------------------------

    @property
    def _armed(self) -> bool:
        return self._daemon.kernel.mode in ARMED

    def _now(self) -> Moment:
        return Moment(self._clock.wall_ns(), self._clock.now_ns(), self._boot)

    def _alerts(self) -> set[str]:
        """The ids of what health is alarmed about, but for what maintenance itself found."""
        alerts = self._daemon.health.report()["alerts"]
        bad = (Level.WARNING.name, Level.DANGER.name, Level.EMERGENCY.name)
        return {
            row["id"]
            for row in alerts
            if row["level"] in bad and not row["component"].startswith("maintenance")
        }

    def _row(self, name: str) -> Row:
        """As of the last look; all times on the wall clock."""
        task, record = self._agenda.settings[name], self._agenda.records[name]
        return {
            "schedule": task.schedule,
            "priority": task.priority,
            "only_disarmed": task.only_disarmed,
            "verdict": record.verdict or None,
            "summary": record.summary,
            "ended_wall_ns": record.ended_wall_ns,
            "took_s": record.took_s,
            "failures": record.failures,
            "due_wall_ns": self._agenda.due_ns(name, self._now()),
        }

    # one run ----------------------------------------------------------------------------------------------

    async def _perform(self, pick: Pick) -> None:
        began = self._now()
        params = self._agenda.orders.pop(pick.name, {}) if pick.ordered else {}
        before = self._agenda.records[pick.name]
        self._running = _Running(pick.name, began.now_ns)
        try:
            self._agenda.begin(pick, began)
            await self.memory.save(pick.name)
            ending = await self._watch(pick.name, params, began)
        finally:
            self._running = None
        if ending is None:
            if pick.ordered:
                self._agenda.orders[pick.name] = params
            text = f"{pick.name}: ended because the robot was armed; it runs when it is disarmed again"
            self._daemon.events.put("maintenance", Level.SAFE, text, task=pick.name)
            self._agenda.put_back(pick.name)
            await self.memory.save(pick.name)
            return
        after = self._agenda.end(pick.name, ending, self._now())
        self._rows[pick.name] = self._row(pick.name)
        self._tell(before, after)
        await self.memory.save(pick.name)

    async def _watch(self, name: str, params: Row, began: Moment) -> Ending | None:
        """Run it until it ends, or must; None: it was ended because the robot was armed."""
        process = Process((*self._words, name), nice=_NICE)
        first = await asyncio.to_thread(self._first, self._daemon.acts.status(), params, began)
        job = asyncio.ensure_future(process.run(self._on_line, first))
        limit_s = self._agenda.settings[name].time_limit_s
        armed = late = False
        try:
            while not (armed or late):
                await asyncio.wait([job], timeout=_GLANCE_S)
                if job.done():
                    break
                armed = self._agenda.waits(name, armed=self._armed)
                late = self._clock.now_ns() - began.now_ns > limit_s * NS_PER_S
        finally:
            job.cancel()
            await asyncio.gather(job, return_exceptions=True)
        if armed:
            return None
        took_s = (self._clock.now_ns() - began.now_ns) / NS_PER_S
        if late:
            return Ending("failed", f"took longer than {limit_s:g} s, and was ended", took_s=took_s)
        return await self._ending(job, took_s)

    def _first(self, status: Row, params: Row, began: Moment) -> bytes:
        """All that the process is told; off the loop."""
        daemon = self._daemon
        told = {
            "settings": daemon.settings.model_dump_json(),
            "robot": daemon.robot.model_dump_json(),
            "config": str(daemon.config),
            "params": params,
            "status": status,
            "wall_ns": began.wall_ns,
        }
        return f"{to_json(told)}\n".encode()

    def _on_line(self, line: bytes) -> None:
        assert self._running is not None
        if line.startswith(_RESULT):
            self._running.result = line  # it may be long: it is read off the loop
        else:
            told = json.loads(line)
            self._running.progress, self._running.text = told["progress"], told["text"]

    async def _ending(self, job: asyncio.Future[int], took_s: float) -> Ending:
        assert self._running is not None
        with contextlib.suppress(json.JSONDecodeError):  # it was killed in the middle of it
            result = await asyncio.to_thread(json.loads, self._running.result)
            return Ending(result["verdict"], result["summary"], tuple(result["rows"]), took_s)
        if (error := job.exception()) is not None:
            return Ending("failed", f"{type(error).__name__}: {error}", took_s=took_s)
        status = job.result()
        why = f"by signal {-status}" if status < 0 else f"with status {status}"
        return Ending("failed", f"ended {why} and without a result; its error is in the log", took_s=took_s)

    def _tell(self, before: Record, after: Record) -> None:
        """Each result is an event, but that a task goes on failing."""
        if after.failures > 1:
            log.warning("%s failed again: %s", after.name, after.summary)
            return
        level = _LEVELS[after.verdict]
        if after.failures and self._agenda.settings[after.name].priority == "critical":
            level = Level.DANGER
        again = f" (after {before.failures} failures)" if before.failures else ""
        self._daemon.events.put(
            "maintenance", level, f"{after.name}: {after.verdict}{again}: {after.summary}",
            task=after.name, verdict=after.verdict, took_s=after.took_s,
        )  # fmt: skip
