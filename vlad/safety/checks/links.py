"""The links to motor driver, guard and policy."""

from __future__ import annotations

from collections.abc import Iterator

from vlad.clock import NS_PER_S
from vlad.messages import CommandAck, CommandMode
from vlad.safety.reaction import Finding
from vlad.safety.view import FUTURE_NS, GuardReport, View

_GUARD_NS = 150_000_000
"""The guard speaks every 20 ms; a word of it that is older than this counts no more."""


def guard(view: View) -> Iterator[Finding]:
    """Is there a guard, and does it stop the robot? Once the daemon is well and rests, it ends by itself."""
    report = guard_word(view)
    if report is None:
        if view.rules.settings.guard.required:
            heard = view.inputs.guard is not None
            yield Finding("guard_silent", "guard", "fell silent" if heard else "was never heard")
    elif report.state == "stopping":
        yield Finding("guard_stop", "guard", report.reason)
    elif report.state == "estop":
        yield Finding("guard_estop", "guard", report.reason)


def guard_word(view: View) -> GuardReport | None:
    """What the guard says; None: nothing, or nothing for too long."""
    report = view.inputs.guard
    return None if report is None or view.inputs.now_ns - report.stamp_ns > _GUARD_NS else report


def policy(view: View) -> Iterator[Finding]:
    """The model fails, or its server is gone; or another drives in its place."""
    if view.inputs.policy_lost:
        yield Finding("policy_lost", "policy", view.inputs.policy_lost)
    if view.inputs.fallback:
        yield Finding("policy_fallback", "policy", view.inputs.fallback)


def driver(view: View) -> Iterator[Finding]:
    """Is there one that listens?"""
    if view.inputs.listeners == 0:
        yield Finding("no_driver", "commands", "nobody subscribed to `command`")


def applied(view: View) -> Iterator[Finding]:
    """Does the motor driver follow what is commanded? One that says nothing is a silent signal."""
    topic = view.rules.robot.acknowledged
    sample = view.inputs.samples.get(topic)
    if sample is None:
        return
    if not isinstance(sample.data, CommandAck):
        yield Finding("signal_invalid", topic, f"carries a {type(sample.data).__name__}")
    elif problem := _unapplied(view, sample.data):
        yield Finding("not_applied", topic, problem)


def _unapplied(view: View, ack: CommandAck) -> str:
    """Why the driver does not do what is commanded; empty: it does.

    It may come to rest for reasons of its own, but not for longer than the settings say, and it must never
    run when a stop is commanded. Which of the stops it makes is for the measured motion to confirm.
    """
    now_ns, limit_ns = view.inputs.now_ns, view.rules.settings.safety.ack_s * NS_PER_S
    age_ns = now_ns - ack.command_stamp_ns
    if ack.command_stamp_ns == 0:
        return "follows no command yet"
    if age_ns > limit_ns:
        return f"follows a command of {age_ns / NS_PER_S:.2f} s ago"
    if age_ns < -FUTURE_NS:
        return f"follows a command that is {-age_ns / NS_PER_S:.2f} s in the future"
    if now_ns - view.agreed_ns > limit_ns and not agrees(view):
        return f"is in {ack.mode}, commanded is {view.commanded}"
    return ""


def halted(view: View) -> bool:
    """Whether the motor driver says that it made a stop of its own though it shall run."""
    sample = view.inputs.samples.get(view.rules.robot.acknowledged)
    ack = sample.data if sample is not None else None
    run = CommandMode.RUN
    return isinstance(ack, CommandAck) and ack.mode is not run and view.commanded is run


def agrees(view: View) -> bool:
    """Whether the motor driver says that it runs when it shall, and does not when it shall not."""
    sample = view.inputs.samples.get(view.rules.robot.acknowledged)
    ack = sample.data if sample is not None else None
    run = CommandMode.RUN
    return isinstance(ack, CommandAck) and (ack.mode is run) is (view.commanded is run)
