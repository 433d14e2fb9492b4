"""vladctl doctor: everything that can be looked at, with the daemon running or not."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from rich.table import Table
from rich.text import Text

from vlad.config import OperatorSettings, PathSettings, RealtimeSettings, RecordSettings
from vlad.ctl.doctor.access import check_groups
from vlad.ctl.doctor.daemon import ask_daemon, check_daemon
from vlad.ctl.doctor.finding import Finding
from vlad.ctl.doctor.folders import check_database, check_disk, check_folder, check_latch, check_recordings
from vlad.ctl.doctor.libraries import check_libraries
from vlad.ctl.doctor.machine import check_clock, check_governor, check_realtime
from vlad.ctl.doctor.settings import check_bundle, check_outlets, check_settings, read_settings
from vlad.ctl.output import Output, clean, mark
from vlad.settings_files import DEFAULT_SETTINGS


def run(arguments: argparse.Namespace, out: Output) -> int:
    findings = list(_findings(arguments.config or DEFAULT_SETTINGS, arguments.run_dir))
    counts = Counter(finding.state for finding in findings)
    if out.json:
        out.data({"ok": not counts["problem"], "findings": [asdict(finding) for finding in findings]})
    else:
        out.show(_table(findings))
        out.show(Text(f"\n{counts['problem']} problems, {counts['warning']} warnings, {counts['ok']} ok"))
    return 1 if counts["problem"] else 0


def _findings(config: Path, run_dir: Path | None) -> Iterator[Finding]:
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


def _table(findings: list[Finding]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in findings:
        text = Text(clean(finding.what))
        if finding.mend:
            text.append(f"\n{clean(finding.mend)}", style="italic")
        table.add_row(mark(finding.state), Text(finding.topic, style="bold"), text)
    return table
