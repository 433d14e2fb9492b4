"""A stand-in for the daemon behind the control socket."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vlad.clock import SystemClock
from vlad.config import Settings
from vlad.record.events import EventLog

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
        self.status_calls = 0

    def status(self) -> Row:
        self.status_calls += 1
        if self.fails:
            raise ZeroDivisionError("a mistake in the daemon")
        return {"schema": 1, "mode": "disarmed", "padding": self.padding}

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
        return [{"name": "demo", "version": "1", "active": True}]
