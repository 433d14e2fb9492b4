"""The words and numbers of the live display."""

from __future__ import annotations

from typing import Any

from tools.demonstration.blocks import (
    FAINT,
    LABEL,
    LEVELS,
    PLAIN,
    STRONG,
    Block,
    gauge,
    meter,
    paragraph,
    row,
)
from tools.demonstration.pictures import Row
from tools.demonstration.view import View

_LABEL_WIDTH = 9
_BAR_WIDTH = 13
_RISKY = 0.5
_MODES = {
    "active": "bold #0b1a10 on #5fd38d",
    "degraded": "bold #1f1a05 on #f2d45c",
    "stopping": "bold #241304 on #ff9f43",
    "stopped": "bold #241304 on #ff9f43",
    "estop": "bold #ffffff on #c01c28",
}
_OTHER_MODE = "bold #ffffff on #4b5566"
_NOTHING = "-"


def clock(seconds: float) -> str:
    """Minutes and seconds."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def header(view: View, width: int) -> Row:
    """One line: mode, level, score, time."""
    score, mode, level = view.referee.score, view.look("mode") or "starting", view.look("level") or "SAFE"
    left = [
        (" vlad ", "bold #ffffff on #2d5fa8"),
        (" demo  ", LABEL),
        (f" {mode.upper()} ", _MODES.get(mode, _OTHER_MODE)),
        (f"  {level}  ", LEVELS.get(level, PLAIN)),
    ]
    right = [
        ("episode ", LABEL), (f"{score.episodes}", STRONG),
        ("  reached ", LABEL), (f"{score.successes}", LEVELS["SAFE"]),
        ("  collisions ", LABEL), (f"{score.collisions}", LEVELS["DANGER"] if score.collisions else STRONG),
        (f"  {clock(view.elapsed_s)} ", PLAIN),
    ]  # fmt: skip
    for shown in (right, right[2:4] + right[-1:], []):
        gap = width - sum(len(text) for text, _ in left + shown)
        if gap >= 0:
            return row(width, *left, (" " * gap, PLAIN), *shown)
    return row(width, *left)


def panel(view: View, width: int, height: int, full_speed: tuple[float, float]) -> Block:
    """Task, faults, motion, policy and tick; before the daemon answers, what is waited for.

    The groups stand apart if `height` allows it.
    """
    if not view.status:
        return [row(width), *paragraph(width, view.waiting, PLAIN, indent=1)]
    groups = (
        _task(view, width),
        _faults(view, width),
        _motion(view, width, full_speed),
        _policy(view, width),
        _tick(view, width),
    )
    rows = [line for group in groups for line in group]
    apart = [line for group in groups for line in (*group, row(width))][:-1]
    return apart if len(apart) <= height else rows


def events(view: View, width: int, height: int) -> Block:
    """The newest lines of the event list, the newest last."""
    newest = list(view.happenings)[-height:]
    return [
        row(
            width,
            (f" {clock(happening.at_s):>5}  ", FAINT),
            ("● ", LEVELS.get(happening.level, PLAIN)),
            (happening.text, PLAIN),
        )
        for happening in newest
    ]


def _label(text: str) -> tuple[str, str]:
    return f" {text:<{_LABEL_WIDTH}}", LABEL


def _number(value: Any, form: str) -> str:
    return _NOTHING if value is None else format(value, form)


def _task(view: View, width: int) -> Block:
    referee = view.referee
    gap = referee.gap_m(view.truth.pose) if view.truth else None
    return [
        row(width, _label("task"), (view.look("task") or view.waiting or _NOTHING, STRONG)),
        row(
            width,
            _label("goal"),
            (referee.goal.name if referee.goal else _NOTHING, PLAIN),
            ("" if gap is None else f"   {gap:.2f} m away", LABEL),
        ),
    ]


def _motion(view: View, width: int, full_speed: tuple[float, float]) -> Block:
    measured = view.truth.twist if view.truth else (0.0, 0.0)
    rows = []
    for index, (name, unit) in enumerate((("speed", "m/s"), ("turn", "rad/s"))):
        now, wanted = measured[index], view.commanded[index]
        bar = gauge(_BAR_WIDTH, now, wanted, full_speed[index], "#6cb6ff")
        texts = (f" {now:+.2f}", STRONG), (f" / {wanted:+.2f} {unit}", LABEL)
        rows.append(row(width, _label(name), *bar, *texts))
    return rows


def _policy(view: View, width: int) -> Block:
    policy = view.look("policy") or {}
    if policy.get("error"):
        why = paragraph(width, policy["error"], PLAIN, indent=_LABEL_WIDTH + 1)
        return [row(width, _label("policy"), ("in trouble", LEVELS["DANGER"])), *why]
    risk = policy.get("collision")
    how = LEVELS["WARNING"] if (risk or 0.0) >= _RISKY else LEVELS["SAFE"]
    name = f"{policy.get('bundle') or 'none'} {policy.get('version') or ''}"
    rate = f"   {_number(policy.get('rate_hz'), '.1f')} chunks/s"
    return [
        row(width, _label("policy"), (name, PLAIN), (rate, LABEL)),
        _percentiles(width, "model", policy, "latency"),
        _percentiles(width, "age", policy, "age"),
        row(
            width,
            _label("risk"),
            *meter(_BAR_WIDTH, risk or 0.0, how),
            (f" {_number(risk, '4.0%')}", STRONG),
            (" of collision", LABEL),
        ),
    ]


def _percentiles(width: int, name: str, values: dict[str, Any], key: str, form: str = ".1f") -> Row:
    middle, worst = (_number(values.get(f"{key}_p{q}_ms"), form) for q in (50, 99))
    texts = (f"{middle:>6}", STRONG), (" ms   p99 ", LABEL), (f"{worst:>5}", PLAIN), (" ms", LABEL)
    return row(width, _label(name), *texts)


def _tick(view: View, width: int) -> Block:
    tick = view.look("tick") or {}
    missed, late = tick.get("missed") or 0, tick.get("late_1ms") or 0
    return [
        row(
            width,
            _label("tick"),
            (f"{tick.get('count', 0):>6}", STRONG),
            (f" at {tick.get('hz', 0)} Hz", LABEL),
            ("   missed ", LABEL),
            (f"{missed}", LEVELS["WARNING"] if missed else PLAIN),
        ),
        _percentiles(width, "late", tick, "late", ".2f"),
        row(width, _label(""), (f"{late:>6}", STRONG), (" by more than 1 ms", LABEL)),
    ]


def _faults(view: View, width: int) -> Block:
    faults = view.look("faults") or []
    if not faults:
        return [row(width, _label("faults"), ("none", LEVELS["SAFE"]))]
    rows: Block = []
    for fault in faults:
        name = " ".join(part for part in (fault["id"], fault["subject"]) if part)
        colour = LEVELS.get(fault["level"], PLAIN)
        rows.append(row(width, (" ● ", colour), (name, STRONG), (f"  {fault['detail']}", PLAIN)))
        rows += paragraph(width, fault["hint"], LABEL, indent=3)
    return rows
