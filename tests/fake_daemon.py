"""A stand-in for the daemon behind the control socket."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from pathlib import Path
from typing import Any

from vlad.clock import SystemClock
from vlad.config import Settings
from vlad.control import Control
from vlad.maintenance.scheduler import MaintenanceError
from vlad.messages import Level
from vlad.policy.bundle import BundleRefused
from vlad.record.events import EventLog
from vlad.record.orders import RecordError

Row = dict[str, Any]


def settings_for(folder: Path, group: str = "vlad-operator") -> Settings:
    return Settings.model_validate(
        {
            "robot": {"limits": folder / "robot.toml"},
            "paths": {"run_dir": folder, "state_dir": folder},
            "signals": {},
            "operator": {"group": group},
        }
    )


class FakeActions:
    """Remembers what it was asked to do."""

    def __init__(self, folder: Path) -> None:
        self.events = EventLog(folder / "vlad.db", SystemClock())
        self.done: list[tuple[str, ...]] = []
        self.refusals: list[Row] = []
        self.takes_tasks = True
        self.fails = False
        self.padding = ""
        self.bundles: list[Row] = []
        self.files: list[Row] = []
        self.recording_off = False
        self.upkeep: Row = {"running": None, "ordered": [], "problem": "", "tasks": {}}
        self.report: Row | None = None
        self.status_calls = 0
        self.waits = 0
        """How often it was asked for room for a report."""
        self.reloaded: Row = {"applied": [], "waiting": [], "restart": [], "problems": []}

    async def room(self) -> None:
        self.waits += 1

    def status(self) -> Row:
        self.status_calls += 1
        if self.fails:
            raise ZeroDivisionError("a mistake in the daemon")
        if self.report is not None:
            return self.report
        return {"schema": 1, "mode": "disarmed", "padding": self.padding}

    def metrics(self) -> Row:
        return {"uptime_s": 1.5}

    def arm(self, who: str) -> list[Row]:
        self.done.append(("arm", who))
        return self.refusals

    def disarm(self, who: str) -> None:
        self.done.append(("disarm", who))

    def estop(self, who: str, reason: str) -> None:
        self.done.append(("estop", who, reason))

    def reset(self, who: str) -> list[Row]:
        self.done.append(("reset", who))
        return self.refusals

    def task(self, text: str, who: str) -> None:
        if not self.takes_tasks:
            raise ValueError("no signal of type instruction in the settings")
        self.done.append(("task", who, text))

    async def models(self) -> list[Row]:
        return self.bundles

    async def model(self, name: str, version: str) -> Row:
        if version != "1":
            raise BundleRefused([f"no bundle {name} {version} is installed"])
        image = {"name": "image", "kind": "image", "mean": [0.123]}
        manifest = {"name": name, "inputs": [image], "output": {"horizon": 20}, "files": {"model.onnx": "0f"}}
        return {"folder": f"/m/{name}/1", "manifest": {**manifest, "provenance": {"trained": "today"}}}

    async def activate(self, name: str, version: str, who: str) -> Row:
        await self.model(name, version)
        self.done.append(("activate", who, name, version))
        return {"bundle": f"{name} {version}", "chunks": 10, "latency_p50_ms": 2.5}

    async def reload(self, who: str) -> Row:
        self.done.append(("reload", who))
        return self.reloaded

    async def rollback(self, who: str) -> Row:
        self.done.append(("rollback", who))
        return {"bundle": "demo 0", "chunks": 0, "latency_p50_ms": None}

    def maintenance(self) -> Row:
        return self.upkeep

    def maintain(self, name: str, params: Row, who: str) -> bool:
        if name not in self.upkeep["tasks"]:
            raise MaintenanceError(f"there is no task {name!r}")
        self.done.append(("maintain", who, name, str(params)))
        return self.upkeep["tasks"][name]["only_disarmed"]

    async def recordings(self) -> list[Row]:
        return self.files

    def record(self, what: str, note: str, who: str) -> None:
        if self.recording_off:
            raise RecordError('record.mode is "off"')
        self.done.append(("record", who, what, note))


class Served:
    """A control socket in a thread of its own, for commands that run as processes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.actions = FakeActions(folder)
        self._control = Control(settings_for(folder), self.actions)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Served:
        self._thread.start()
        while not self._control.listening.is_set():
            time.sleep(0.005)
        return self

    def __exit__(self, *error: object) -> None:
        self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join()
        self.actions.events.close()

    def put(self, kind: str, text: str) -> None:
        """An event, from the loop's thread as the daemon does."""
        self._loop.call_soon_threadsafe(self.actions.events.put, kind, Level.CAUTION, text)

    def _serve(self) -> None:
        self._task = self._loop.create_task(self._control.run())
        with contextlib.suppress(asyncio.CancelledError):
            self._loop.run_until_complete(self._task)
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()
