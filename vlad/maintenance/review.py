"""Did anything get worse? One span of days against the one before, of what was stored each minute. Pure.

Minutes of one day are alike, so that thousands of them prove little: each day is one value, the median of its
minutes. Whether the days of one span rank higher than those of the other by more than chance is told by the
exact permutation distribution of the rank sum (Wilcoxon 1945; ties share their ranks), at the allowed rate of
false alarms divided by the number of figures (Bonferroni). And it must be worse by a part that matters.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import comb
from statistics import median

import numpy as np

from vlad.clock import NS_PER_S
from vlad.maintenance.finding import Finding
from vlad.maintenance.settings_checks import PerformanceReviewSettings
from vlad.record.history import Minute

_DAY_NS = 86_400 * NS_PER_S
_LEAST_MINUTES = 30
_LEAST_S = 1800.0
_LOAD = "what else runs on this computer? vladctl top"
_MODEL = "was the policy, its server or the computer's cooling changed? vladctl model bench"


@dataclass(frozen=True, slots=True)
class Figure:
    """One kind of value of each minute (vlad/minutes.py).

    `least` is the smallest change that matters, whatever part of the value it is; `of` names the time that a
    count is divided by, to become one an hour.
    """

    name: str
    words: str
    unit: str
    least: float
    mend: str
    falls: bool = False
    of: str = ""


FIGURES = (
    Figure("inference_p50_ms", "inference, median", " ms", 1.0, _MODEL),
    Figure("inference_p99_ms", "inference, 99th percentile", " ms", 2.0, _MODEL),
    Figure("inference_hz", "inferences", " a second", 0.5, _MODEL, falls=True),
    Figure("age_p99_ms", "age of the frame behind a command, 99th percentile", " ms", 5.0, _MODEL),
    Figure("late_p99_ms", "lateness of the tick, 99th percentile", " ms", 0.1, _LOAD),
    Figure("missed_ticks", "missed ticks", " an hour", 1.0, _LOAD, of="seconds"),
    Figure("faults", "faults", " an hour armed", 0.5, "vladctl events says which", of="armed_s"),
    Figure(
        "interventions", "interventions", " an hour armed", 0.2, "vladctl events tells when", of="armed_s"
    ),
    Figure("process_mb", "memory of the daemon", " MB", 20.0, "vladctl report shows how it grew; restart it"),
    Figure("memory", "memory of the computer", "", 0.05, _LOAD),
    Figure("celsius", "hottest sensor", " degrees Celsius", 3.0, "dust, fans, the sun? vladctl health"),
    Figure("cpu", "processors", "", 0.05, _LOAD),
)


def review(minutes: Iterable[Minute], now_ns: int, settings: PerformanceReviewSettings) -> list[Finding]:
    """One finding a figure; those of which nothing at all is stored are left out."""
    days = _days(minutes, now_ns, 2 * settings.days)
    spans = {
        figure: (_values(figure, days[settings.days :]), _values(figure, days[: settings.days]))
        for figure in FIGURES
    }
    known = {figure: span for figure, span in spans.items() if span[0] or span[1]}
    if not known:
        how = "it is stored every minute while vlad runs; look again in a week"
        return [Finding("unknown", "performance", "no day has the half hour that it takes to count", how)]
    allowed = settings.false_alarms / len(known)
    return [_judge(figure, before, now, allowed, settings) for figure, (before, now) in known.items()]


def chance(before: Sequence[float], now: Sequence[float]) -> float:
    """How probable it is that `now` ranks at least as high as it does if both came from the same source."""
    ranks = _ranks([*now, *before])
    size, count = int(ranks.sum()), len(now)
    # ways[k, s]: how many choices of k of the ranks have the sum s
    ways = np.zeros((count + 1, size + 1))
    ways[0, 0] = 1
    for rank in ranks:
        ways[1:, rank:] += ways[:-1, : size + 1 - rank].copy()
    return float(ways[count, ranks[:count].sum() :].sum() / ways[count].sum())


def _ranks(values: Sequence[float]) -> np.ndarray:
    """Twice the rank of each: equal ones share the mean of theirs."""
    ordered = np.sort(values)
    return np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right") + 1


def _days(minutes: Iterable[Minute], now_ns: int, count: int) -> list[list[Minute]]:
    """The newest day first; what is of the future, by a clock that was set back, is left out."""
    days: list[list[Minute]] = [[] for _ in range(count)]
    for minute in minutes:
        day = (now_ns - minute.wall_ns) // _DAY_NS
        if 0 <= day < count:
            days[day].append(minute)
    return days


def _values(figure: Figure, days: Sequence[Sequence[Minute]]) -> list[float]:
    """One of each day on which enough was measured."""
    found = []
    for day in days:
        if figure.of:
            seconds = sum(minute.values.get(figure.of, 0.0) for minute in day)
            if seconds >= _LEAST_S:
                found.append(sum(minute.values.get(figure.name, 0.0) for minute in day) * 3600 / seconds)
            continue
        values = [minute.values[figure.name] for minute in day if figure.name in minute.values]
        if len(values) >= _LEAST_MINUTES:
            found.append(median(values))
    return found


def _judge(
    figure: Figure,
    before: Sequence[float],
    now: Sequence[float],
    allowed: float,
    settings: PerformanceReviewSettings,
) -> Finding:
    possible = 1 / comb(len(before) + len(now), len(now))
    if possible > allowed:
        what = f"{figure.words}: {len(now)} and, before, {len(before)} days are too few to tell"
        how = f"look again when there are {settings.days} days of each; a day needs half an hour"
        return Finding("unknown", figure.name, what, how)
    was, is_ = median(before), median(now)
    what = f"{figure.words}: {is_:.4g}{figure.unit}, before {was:.4g}{figure.unit}"
    sign = -1 if figure.falls else 1
    by = sign * (is_ - was)
    matters = by >= figure.least and by >= settings.worse * abs(was)
    by_chance = chance([sign * value for value in before], [sign * value for value in now])
    if not matters or by_chance > allowed:
        return Finding("ok", figure.name, what)
    part = f"{by / abs(was):.0%} worse" if was else "worse"
    return Finding(
        "warning", figure.name, f"{what}: {part}, by chance once in {1 / by_chance:,.0f}", figure.mend
    )
