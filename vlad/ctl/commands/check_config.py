"""vladctl check-config: every mistake of the settings at once."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from vlad.config import ConfigError, Settings, SignalSettings, load_settings
from vlad.ctl.doctor.daemon import EVENT_TYPES
from vlad.ctl.output import Output, clean
from vlad.robot import Robot
from vlad.settings_files import DEFAULT_SETTINGS


def run(arguments: argparse.Namespace, out: Output) -> int:
    path = arguments.file or DEFAULT_SETTINGS
    try:
        settings, robot = load_settings(path)
    except ConfigError as error:
        if out.json:
            out.data({"ok": False, "problems": error.problems})
        else:
            for problem in error.problems:
                out.line(Text(clean(problem)))
            out.line(Text(f"\nmistakes: {len(error.problems)}", style="bold red"))
        return 1
    summary = _summary(path, settings, robot)
    if out.json:
        out.data({"ok": True, "problems": [], "summary": summary})
    else:
        out.show(_table(summary))
    return 0


def _summary(path: Path, settings: Settings, robot: Robot) -> dict[str, Any]:
    """What was understood, for a person who compares it with what they meant."""
    return {
        "files": [str(path), *map(str, sorted(Path(f"{path}.d").glob("*.toml"))), str(settings.robot.limits)],
        "robot": f"{robot.name} ({robot.type}), {robot.command.value}",
        "axes": list(robot.axes),
        "signals": {topic: _signal(signal) for topic, signal in settings.signals.items()},
        "policy": str(settings.policy.bundle) if settings.policy.bundle else None,
        "run_dir": str(settings.paths.run_dir),
        "state_dir": str(settings.paths.state_dir),
        "tick_hz": settings.realtime.tick_hz,
        "operators": settings.operator.group,
    }


def _signal(signal: SignalSettings) -> str:
    said = [signal.type, "required" if signal.required else "optional"]
    if signal.type not in EVENT_TYPES:
        said.append(f"at most {signal.max_age_s:g} s old")
    if signal.rate_hz:
        said.append(f"{signal.rate_hz:g} Hz")
    return ", ".join(said)


def _table(summary: dict[str, Any]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for key, value in summary.items():
        if isinstance(value, dict):
            shown = "\n".join(f"{name}: {about}" for name, about in value.items())
        else:
            shown = "\n".join(value) if isinstance(value, list) and key == "files" else _plain(value)
        table.add_row(key.replace("_", " "), Text("\n".join(clean(line) for line in shown.split("\n"))))
    table.add_row("", Text("no mistakes", style="bold green"))
    return table


def _plain(value: object) -> str:
    if value is None:
        return "none"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
