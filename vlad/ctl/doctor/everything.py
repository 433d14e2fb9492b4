"""Everything that vladctl doctor looks at, one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from vlad.config import OperatorSettings, PathSettings, RealtimeSettings, RecordSettings
from vlad.ctl.doctor.access import check_groups
from vlad.ctl.doctor.daemon import ask_daemon, check_daemon
from vlad.ctl.doctor.finding import Finding
from vlad.ctl.doctor.folders import check_database, check_disk, check_folder, check_latch, check_recordings
from vlad.ctl.doctor.libraries import check_libraries
from vlad.ctl.doctor.machine import check_clock, check_governor, check_realtime
from vlad.ctl.doctor.settings import check_bundle, check_outlets, check_settings, read_settings


def look(config: Path, run_dir: Path | None) -> Iterator[Finding]:
    """Everything; where the settings cannot be read the rest is looked at with the defaults."""
    paths, realtime, operators = PathSettings(), RealtimeSettings(), OperatorSettings()
    record = RecordSettings()
    settings = None
    read = read_settings(config)
    if isinstance(read, list):
        yield from read
    else:
        settings, robot = read
        paths, realtime, operators = settings.paths, settings.realtime, settings.operator
        record = settings.record
        yield from check_settings(config, settings, robot)
        yield from check_bundle(settings, robot)
        yield from check_outlets(settings)
    run_dir = run_dir or paths.run_dir
    status = ask_daemon(run_dir)
    told = None if isinstance(status, Finding) else status.get("state_dir")
    state_dir = Path(told) if told else paths.state_dir
    yield from check_folder("run folder", run_dir)
    yield from check_folder("state folder", state_dir)
    yield from check_disk(state_dir)
    yield from check_recordings(state_dir, record)
    yield from check_latch(state_dir)
    yield from check_database(state_dir)
    yield from check_groups(operators.group)
    yield from check_libraries()
    yield from check_realtime(realtime)
    yield from check_clock()
    yield from check_governor()
    if isinstance(status, Finding):
        yield status
    else:
        yield from check_daemon(run_dir, status, settings)
