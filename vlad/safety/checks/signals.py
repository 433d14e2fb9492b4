"""Signals: missing, stale, without sense, and what their driver does wrong."""

from __future__ import annotations

from collections.abc import Iterator

from vlad.messages import LaserScan
from vlad.safety.reaction import Finding
from vlad.safety.view import View


def present(view: View) -> Iterator[Finding]:
    samples, now_ns = view.inputs.samples, view.inputs.now_ns
    for signal in view.rules.watched:
        sample = samples.get(signal.topic)
        if sample is None:
            yield Finding("estop_silent" if signal.estop else "signal_missing", signal.topic, "never came")
        elif problem := signal.age_problem(sample, now_ns):
            yield Finding("estop_silent" if signal.estop else "signal_stale", signal.topic, problem)


def feedback(view: View) -> Iterator[Finding]:
    if view.motion is not None and view.motion.problem:
        yield Finding("signal_invalid", view.rules.robot.feedback, view.motion.problem)


def scan(view: View) -> Iterator[Finding]:
    obstacle = view.rules.robot.obstacle
    sample = view.inputs.samples.get(obstacle.lasers[0].signal) if obstacle else None
    if obstacle is None or sample is None:
        return
    if not isinstance(sample.data, LaserScan) or not len(sample.data.ranges):
        yield Finding("signal_invalid", obstacle.lasers[0].signal, "is no laser scan with any beams")
