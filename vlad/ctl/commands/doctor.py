"""vladctl doctor: everything that can be looked at, with the daemon running or not."""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import asdict

from rich.table import Table
from rich.text import Text

from vlad.ctl.doctor.everything import look
from vlad.ctl.doctor.finding import Finding
from vlad.ctl.output import Output, clean, mark
from vlad.settings_files import DEFAULT_SETTINGS


def run(arguments: argparse.Namespace, out: Output) -> int:
    findings = list(look(arguments.config or DEFAULT_SETTINGS, arguments.run_dir))
    counts = Counter(finding.state for finding in findings)
    if out.json:
        out.data({"ok": not counts["problem"], "findings": [asdict(finding) for finding in findings]})
    else:
        out.show(_table(findings))
        out.show(Text(f"\n{counts['problem']} problems, {counts['warning']} warnings, {counts['ok']} ok"))
    return 1 if counts["problem"] else 0


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
