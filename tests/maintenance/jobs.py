"""A robot's folders with something in them, and a job for its tasks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vlad.clock import SystemClock
from vlad.config import load_settings
from vlad.maintenance.job import Job
from vlad.messages import Level
from vlad.policy.toml import write_toml
from vlad.record.events import EventLog

AXIS = {"velocity": 1.0, "acceleration": 1.0}


def make_job(folder: Path, wall_ns: int | None = None, **settings: Any) -> Job:
    """Settings in FOLDER/etc, state in FOLDER/state; `settings` are tables of vlad.toml."""
    etc = folder / "etc"
    etc.mkdir(exist_ok=True)
    (folder / "state").mkdir(exist_ok=True)
    robot = {"name": "rover 7", "type": "rover", "command": "twist"}
    axes = {"axes": {"linear_x": AXIS, "angular_z": AXIS}}
    (etc / "rover.toml").write_text(write_toml(robot | axes))
    paths = {"run_dir": str(folder / "run"), "state_dir": str(folder / "state")}
    values = {"robot": {"limits": "rover.toml"}, "signals": {"estop": {"type": "estop"}}, "paths": paths}
    config = etc / "vlad.toml"
    config.write_text(write_toml(values | settings))
    known, limits = load_settings(config)
    clock = SystemClock()
    now_ns = clock.wall_ns() if wall_ns is None else wall_ns
    status = {"maintenance": {"tasks": {"clean_up": {"ended_wall_ns": now_ns - 86_400 * 10**9}}}}
    return Job(known, limits, config, {}, status, now_ns, lambda part, text: None)


def write_state(job: Job, events: int = 100) -> None:
    """Some history, a calibration, a bundle, and what must not be in a backup."""
    state = job.settings.paths.state_dir
    log = EventLog(state / "vlad.db", SystemClock())
    for number in range(events):
        log.put("test", Level.SAFE, f"event {number}")
    log.close()
    for name, text in {
        "policy.json": "{}",
        "calibration/demo/1.toml": "limit = 1",
        "models/demo/1/policy.toml": 'name = "demo"',
        "models/demo/1/model.onnx": "weights",
        "estop.json": '{"reason": "test"}',
        "recordings/2026.mcap": "pictures",
    }.items():
        path = state / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (job.config.parent / "vlad.toml.d").mkdir(exist_ok=True)
    (job.config.parent / "vlad.toml.d" / "log.toml").write_text('[log]\nlevel = "debug"\n')
    (job.config.parent / "server.key_secret").write_text("secret")
