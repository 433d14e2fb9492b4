"""The report as one HTML file: no script, nothing from elsewhere, for light and dark, for wide and narrow.

It is well-formed XML too, apart from its first line.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import vlad
from vlad.clock import NS_PER_S
from vlad.health.words import duration
from vlad.messages import Level
from vlad.operation import unclean_ends
from vlad.report.contents import Contents
from vlad.report.plots import Line, bars, levels, lines, number, text
from vlad.report.series import Span, bands, line
from vlad.report.style import STYLE

_MOST_ROWS = 200
_HOUR_S = 3_600.0


@dataclass(frozen=True, slots=True)
class _Measure:
    """A line of a plot: the name of its values, what to multiply them by, and how to thin them out."""

    title: str
    name: str
    factor: float = 1.0
    highest: bool = False


_PLOTS = (
    ("Inference [ms]", (_Measure("p50", "inference_p50_ms"),
                        _Measure("p99", "inference_p99_ms", highest=True))),
    ("Throughput [inferences/s]", (_Measure("answers of the policy", "inference_hz"),)),
    ("From a frame to the command [ms]", (_Measure("p50", "age_p50_ms"),
                                          _Measure("p99", "age_p99_ms", highest=True))),
    ("Lateness of the safety tick [ms]", (_Measure("p50", "late_p50_ms"),
                                          _Measure("p99", "late_p99_ms", highest=True))),
    ("Processor and memory [%]", (_Measure("processor", "cpu", 100), _Measure("memory", "memory", 100),
                                  _Measure("disk", "disk", 100))),
    ("GPU [%]", (_Measure("busy", "gpu_busy", 100), _Measure("memory", "gpu_memory", 100))),
    ("Power [W]", (_Measure("computer", "power_w"), _Measure("GPU", "gpu_w"), _Measure("robot", "robot_w"))),
    ("Hottest sensor [degrees Celsius]", (_Measure("highest", "celsius", highest=True),)),
    ("Battery [%]", (_Measure("charge", "battery", 100),)),
    ("Memory of the daemon [MB]", (_Measure("resident", "process_mb"),)),
    ("Health", (_Measure("score: 1 is well", "health"),)),
)  # fmt: skip

_COUNTED = (
    ("uptime_s", "vlad ran"), ("armed_s", "armed"), ("moving_s", "moving"),
    ("distance_m", "distance"), ("joint_travel_rad", "way of all joints"),
    ("tasks", "tasks given"), ("tasks_done", "tasks done"), ("tasks_failed", "tasks failed"),
    ("inferences", "inferences"), ("interventions", "interventions"), ("estops", "emergency stops"),
    ("stops_category_2", "stops, category 2"), ("stops_category_1", "stops, category 1"),
    ("stops_category_0", "stops, category 0"), ("faults", "faults while armed"),
    ("errors", "of these from DANGER up"), ("missed_ticks", "ticks missed"), ("starts", "starts"),
)  # fmt: skip


def page(contents: Contents, running: bool, now_ns: int) -> str:
    """All of it. `running`: the daemon runs now, so that the newest minute is still to come."""
    robot = contents.robot or "robot"
    span = f"{moment(contents.since_ns)} to {moment(contents.until_ns)}"
    state = "vlad runs" if running else "vlad does not run"
    stored = (
        "nothing was stored in this time" if not contents.minutes else f"{len(contents.minutes):,} minutes"
    )
    about = f"{state}; {stored}; from {contents.path}; written {moment(now_ns)} by vlad {vlad.__version__}"
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8"/>',
            '<meta name="viewport" content="width=device-width, initial-scale=1"/>',
            f"<title>{text(robot)}: {text(span)}</title><style>{STYLE}</style></head><body>",
            f"<h1>{text(robot)}</h1><p>{text(span)}<br/><small>{text(about)}</small></p>",
            *_totals(contents),
            "<h2>Over time</h2>",
            '<div class="plots">',
            *_levels(contents),
            *_plots(contents),
            "</div>",
            *_faults(contents),
            *_tables(contents),
            "</body></html>\n",
        ]
    )


def moment(wall_ns: int) -> str:
    """Local time with its zone."""
    at = datetime.fromtimestamp(wall_ns // NS_PER_S).astimezone()
    return f"{at:%Y-%m-%d %H:%M:%S} {at:%Z}"


def _amount(name: str, value: float) -> str:
    if name.endswith("_s"):
        return duration(value)
    unit = {"distance_m": " m", "joint_travel_rad": " rad"}.get(name, "")
    return f"{number(value)}{unit}" if unit else f"{value:,.0f}"


def _totals(contents: Contents) -> Iterator[str]:
    since_s, sums, totals = contents.totals.get("counted_since_s"), contents.sums, contents.totals
    yield '<h2>What it did</h2><ul class="tiles">'
    done, failed = sums.get("tasks_done", 0.0), sums.get("tasks_failed", 0.0)
    armed_s, stopped = sums.get("armed_s", 0.0), sums.get("interventions", 0.0)
    for value, what in (
        (duration(armed_s), "armed"),
        (f"{done:,.0f} of {done + failed:,.0f}" if done + failed else "none", "judged tasks done"),
        (f"{stopped:,.0f}", "interventions"),
        (duration(armed_s / stopped) if stopped else "-", "armed time between interventions"),
        (f"{sums.get('errors', 0.0):,.0f}", "faults from DANGER up"),
    ):
        yield f"<li><b>{text(value)}</b> {text(what)}</li>"
    yield "</ul>"
    when = "ever" if since_s is None else f"since {moment(round(since_s) * NS_PER_S)[:10]}"
    rows = [
        (what, _amount(name, sums.get(name, 0.0)), _amount(name, totals.get(name, 0.0)))
        for name, what in _COUNTED
        if totals.get(name)
    ]
    if ends := unclean_ends(totals):
        rows.append(("ended without a word (killed, power cut)", "", f"{ends}"))
    yield from _table(("", "in this time", when), rows, numbers=True)


def _span(contents: Contents) -> Span:
    return Span(contents.since_ns, contents.until_ns)


def _levels(contents: Contents) -> Iterator[str]:
    span = _span(contents)
    mostly, worst = (bands(contents.minutes, span, worst=worst) for worst in (False, True))
    starts_ns = [event["wall_ns"] for event in contents.of("start")]
    drawn = levels("Safety level", (("mostly", mostly), ("worst", worst)), span, starts_ns)
    if drawn:
        spent = {level: contents.sums.get(f"level_{level.name.lower()}_s", 0.0) for level in Level}
        key = "".join(
            f'<span><i class="{level.name.lower()}"></i>{level.name} {duration(spent_s)}</span> '
            for level, spent_s in spent.items()
            if spent_s
        )
        yield _figure(
            "Safety level", drawn, key + ("<span>dashed: starts of vlad</span>" if starts_ns else "")
        )


def _plots(contents: Contents) -> Iterator[str]:
    span = _span(contents)
    for title, measures in _PLOTS:
        drawn = [
            Line(one.title, line(contents.minutes, one.name, span, factor=one.factor, highest=one.highest))
            for one in measures
        ]
        svg = lines(title, drawn, span)
        if svg:
            key = "".join(_key(place, one) for place, one in enumerate(drawn) if one.runs)
            yield _figure(title, svg, key)


def _key(place: int, drawn: Line) -> str:
    values = [value for run in drawn.runs for _, value in run]
    usual = sorted(values)[len(values) // 2]
    told = f"{drawn.name} (median {number(usual)}, highest {number(max(values))})"
    return f'<span><i class="c{place}"></i>{text(told)}</span> '


def _figure(title: str, svg: str, key: str) -> str:
    return f"<figure><figcaption>{text(title)}</figcaption>{svg}<small>{key}</small></figure>"


def _faults(contents: Contents) -> Iterator[str]:
    rows = contents.faults()
    yield "<h2>Faults</h2>"
    if not rows:
        yield "<p>none</p>"
        return
    drawn = bars("Faults", [(row.id, row.count, row.level.lower()) for row in rows])
    yield f'<div class="plots">{_figure("How often each fault began", drawn, "")}</div>'
    yield from _table(
        ("fault", "level", "times", "last", "where", "what to do"),
        [
            (row.id, row.level, f"{row.count:,}", moment(row.last_ns), ", ".join(row.subjects), row.hint)
            for row in rows
        ],
    )


def _tables(contents: Contents) -> Iterator[str]:
    alerts = [
        (moment(alert.wall_ns), alert.level, alert.component, alert.text,
         "-" if alert.lasted_s is None else duration(alert.lasted_s))
        for alert in contents.alerts()
    ]  # fmt: skip
    yield from _section("Alerts", ("when", "level", "component", "what", "lasted"), alerts)
    for title, kinds in (
        ("Tasks", ("task", "task_result")),
        ("Maintenance", ("maintenance", "calibration")),
        ("Changes of mode", ("mode",)),
        ("What people did", ("act",)),
        ("Starts, policies, failures", ("start", "stop", "model", "part_failed")),
    ):
        rows = [
            (moment(event["wall_ns"]), event["level"], event["text"])
            for event in reversed(contents.of(*kinds))
        ]
        yield from _section(title, ("when", "level", "what"), rows)


def _section(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Folded where it is long: a report is read from above."""
    opened = ' open=""' if 0 < len(rows) <= 10 else ""
    yield f"<details{opened}><summary><h2>{text(title)}</h2> {len(rows):,}</summary>"
    if rows:
        yield from _table(head, rows[:_MOST_ROWS])
    if len(rows) > _MOST_ROWS:
        yield f"<p>and {len(rows) - _MOST_ROWS:,} before; --json has them all</p>"
    yield "</details>"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: bool = False) -> Iterator[str]:
    kind = ' class="numbers"' if numbers else ""
    yield f'<div class="wide"><table{kind}><thead><tr>'
    yield "".join(f"<th>{text(name)}</th>" for name in head) + "</tr></thead><tbody>"
    for row in rows:
        yield "<tr>" + "".join(_cell(value) for value in row) + "</tr>"
    yield "</tbody></table></div>"


def _cell(value: str) -> str:
    kind = f' class="level {value.lower()}"' if value in Level.__members__ else ""
    return f"<td{kind}>{text(value)}</td>"
