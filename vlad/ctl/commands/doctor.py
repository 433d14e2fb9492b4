"""vladctl doctor: everything that can be looked at, with the daemon running or not."""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import asdict

from rich.text import Text

from vlad.ctl.doctor.everything import look
from vlad.ctl.findings import findings_table
from vlad.ctl.output import Output
from vlad.settings_files import DEFAULT_SETTINGS


def run(arguments: argparse.Namespace, out: Output) -> int:
    findings = list(look(arguments.config or DEFAULT_SETTINGS, arguments.run_dir))
    counts = Counter(finding.state for finding in findings)
    if out.json:
        out.data({"ok": not counts["problem"], "findings": [asdict(finding) for finding in findings]})
    else:
        out.show(findings_table(map(asdict, findings)))
        out.show(Text(f"\n{counts['problem']} problems, {counts['warning']} warnings, {counts['ok']} ok"))
    return 1 if counts["problem"] else 0
