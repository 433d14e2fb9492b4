"""Signals: missing, stale, frozen, without sense, what their driver does wrong, and who stands in for them.

One word for one trouble: of a signal that something stands in for only that is told, and the rate of one that
is stale or missing is not told beside.
"""

from __future__ import annotations

from collections.abc import Iterator

from vlad.messages import LaserScan
from vlad.safety.reaction import Finding
from vlad.safety.view import View, Watched


def present(view: View) -> Iterator[Finding]:
    samples, now_ns, sources = view.inputs.samples, view.inputs.now_ns, view.sources
    some = bool(sources.topics or sources.estimates)
    for signal in view.rules.watched:
        if some and sources.stands_in(signal.topic):
            continue
        sample = samples.get(signal.topic)
        if sample is None:
            yield Finding("estop_silent" if signal.estop else "signal_missing", signal.topic, "never came")
        elif problem := signal.age_problem(sample, now_ns):
            yield Finding("estop_silent" if signal.estop else "signal_stale", signal.topic, problem)


def frozen(view: View) -> Iterator[Finding]:
    if not view.signals.frozen:
        return
    for signal in view.rules.watched:
        problem = view.signals.frozen.get(signal.topic)
        if problem and not view.sources.stands_in(signal.topic):
            yield Finding("signal_frozen", signal.topic, problem)


def conduct(view: View) -> Iterator[Finding]:
    """Rates and counts. A signal that is not insisted on and fell silent shows here only."""
    if not view.signals.findings:
        return
    told = {signal.topic for signal in view.rules.watched if _silent(view, signal)}
    for finding in view.signals.findings:
        if finding.fault != "signal_rate" or finding.subject not in told:
            yield finding


def _silent(view: View, signal: Watched) -> bool:
    """Whether `present` says that it is silent, or what stands in for it says so."""
    if view.sources.stands_in(signal.topic):
        return True
    sample = view.inputs.samples.get(signal.topic)
    return sample is None or bool(signal.age_problem(sample, view.inputs.now_ns))


def stand_ins(view: View) -> Iterator[Finding]:
    for topic, used in view.sources.replaced.items():
        yield Finding("signal_replaced", topic, f"by {used.source}: {used.problem}")
    for topic, used in view.sources.estimated.items():
        yield Finding("signal_estimated", topic, f"from {used.source}: {used.problem}", used.part)


def feedback(view: View) -> Iterator[Finding]:
    if view.motion is not None and view.motion.problem:
        yield Finding("signal_invalid", view.rules.robot.feedback, view.motion.problem)


def scan(view: View) -> Iterator[Finding]:
    obstacle = view.rules.robot.obstacle
    for laser in obstacle.lasers if obstacle else ():
        sample = view.inputs.samples.get(laser.signal)
        if sample is not None and not (isinstance(sample.data, LaserScan) and len(sample.data.ranges)):
            yield Finding("signal_invalid", laser.signal, "is no laser scan with any beams")
