"""The computer and the parts of the daemon."""

from __future__ import annotations

from collections.abc import Iterator

from vlad.clock import NS_PER_S
from vlad.safety.reaction import Finding
from vlad.safety.view import View


def compute(view: View) -> Iterator[Finding]:
    inputs, settings = view.inputs, view.rules.settings
    if inputs.inference_since_ns is not None:
        taken_s = (inputs.now_ns - inputs.inference_since_ns) / NS_PER_S
        if taken_s > settings.policy.deadline_s:
            yield Finding("inference_late", "policy", f"runs for {taken_s:.2f} s")
    if view.overruns >= settings.safety.overruns_stop:
        yield Finding("overrun_stop", "tick", f"{view.overruns} missed")
    elif view.overruns >= settings.safety.overruns_slow:
        yield Finding("overrun", "tick", f"{view.overruns} missed")
    for part in inputs.failed_parts:
        yield Finding("part_failed", part, "died")
