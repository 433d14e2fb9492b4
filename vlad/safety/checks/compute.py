"""The computer and the parts of the daemon."""

from __future__ import annotations

from collections.abc import Iterator

from vlad.clock import NS_PER_S
from vlad.config import ComputerSettings
from vlad.safety.reaction import Finding
from vlad.safety.view import Computer, View

_OLDEST_NS = 5 * NS_PER_S
"""A measurement of the computer is no news after this: it is not judged any more."""
_PART_BELOW, _DEGREES_BELOW = 0.05, 5.0
"""What is too high must fall this far below its limit before it is right again."""


def inference(view: View) -> Iterator[Finding]:
    inputs, settings = view.inputs, view.rules.settings
    if inputs.inference_since_ns is None:
        return
    taken_s = (inputs.now_ns - inputs.inference_since_ns) / NS_PER_S
    if taken_s > settings.policy.deadline_s:
        fault = "inference_hung" if taken_s > settings.policy.hung_s else "inference_late"
        yield Finding(fault, "policy", f"runs for {taken_s:.2f} s")


def tick(view: View) -> Iterator[Finding]:
    safety = view.rules.settings.safety
    if view.overruns >= safety.overruns_stop:
        yield Finding("overrun_stop", "tick", f"{view.overruns} missed")
    elif view.overruns >= safety.overruns_slow:
        yield Finding("overrun", "tick", f"{view.overruns} missed")


def parts(view: View) -> Iterator[Finding]:
    for part in view.inputs.failed_parts:
        yield Finding("part_failed", part, "does not run")
    if view.signals.lost:
        yield Finding("queue_overflow", "queues", f"{view.signals.lost} entries lost")


def computer(view: View) -> Iterator[Finding]:
    """What is used up, and how hot it is. NaN, not measured, is above no limit."""
    sample = view.inputs.computer
    if sample is None or view.inputs.now_ns - sample.stamp_ns > _OLDEST_NS:
        return
    yield from _high(view, sample, view.rules.settings.computer)


def _high(view: View, sample: Computer, limits: ComputerSettings) -> Iterator[Finding]:
    used = (
        ("cpu_high", sample.cpu, limits.cpu),
        ("memory_high", sample.memory, limits.memory),
        ("gpu_memory_high", sample.gpu_memory, limits.gpu_memory),
        ("disk_full", sample.disk, limits.disk),
    )
    for fault, part, limit in used:
        if part > (limit - _PART_BELOW if fault in view.acting else limit):
            yield Finding(fault, "computer", f"{part:.0%} used")
    limit = limits.temperature - (_DEGREES_BELOW if "computer_hot" in view.acting else 0)
    if sample.celsius > limit:
        yield Finding("computer_hot", "computer", f"{sample.celsius:.0f} degrees")
