"""The whole daemon as it is installed, with the sensors of the demo: settings, processes, what they use."""

from __future__ import annotations

import contextlib
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tools.benchmarks.rig import ROOT, Rig
from vlad.policy.toml import write_toml

_MB = 1e6


def write_demo_settings(bench: Rig, **sections: dict[str, Any]) -> Path:
    """The demo's settings in the rig's folder, with keys of these sections changed; the path."""
    values = tomllib.loads((ROOT / "etc" / "demo.toml").read_text())
    values["robot"]["limits"] = str(ROOT / "etc" / "robots" / "rover.toml")
    values["policy"]["bundle"] = str(ROOT / "tools" / "models" / "demo" / "1")
    values["paths"] = {"run_dir": str(bench.run_dir), "state_dir": str(bench.folder / "state")}
    for section, keys in sections.items():
        values[section] = {**values.get(section, {}), **keys}
    path = bench.folder / "vlad.toml"
    path.write_text(write_toml(values))
    return path


@dataclass(frozen=True, slots=True)
class Used:
    """What one process uses: time of a CPU since its start, memory and open files as of now."""

    cpu_s: float
    resident_mb: float
    proportional_mb: float
    """Memory that it shares with others counts for its part of it (PSS)."""
    descriptors: int


def used(daemon: psutil.Process) -> dict[str, Used]:
    """Of the daemon, `vlad`, and its other processes by their modules; what ended meanwhile is left out."""
    found = {}
    for process in (daemon, *daemon.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            words = process.cmdline()
            name = words[words.index("-m") + 1] if "-m" in words else Path(words[0]).name
            name = "vlad" if process is daemon else name
            memory = process.memory_full_info()
            times = process.cpu_times()
            found[name] = Used(
                times.user + times.system, memory.rss / _MB, memory.pss / _MB, process.num_fds()
            )
    return found
