"""Look at everything that vladctl doctor looks at."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict

from vlad.ctl.doctor.everything import look
from vlad.ctl.doctor.finding import Finding
from vlad.maintenance.job import Job, Result

_ABOUT = 30
"""How many findings there are, more or less, for how far it is."""


def run(job: Job) -> Result:
    """Warnings alone are well: some robots have them for good. The first problem is in the summary."""
    findings: list[Finding] = []
    for finding in look(job.config, job.settings.paths.run_dir):
        findings.append(finding)
        job.progress(min(0.95, len(findings) / _ABOUT), finding.topic)
    counts = Counter(finding.state for finding in findings)
    summary = f"{counts['problem']} problems, {counts['warning']} warnings, {counts['ok']} ok"
    problems = [finding for finding in findings if finding.state == "problem"]
    if problems:
        summary += f"; {problems[0].topic}: {problems[0].what}"
    rows = tuple(asdict(finding) for finding in findings if finding.state != "ok")
    return Result("warning" if problems else "ok", summary, rows)
