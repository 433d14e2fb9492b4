"""Numbers as text; what is not known is a dash."""

from __future__ import annotations

from collections.abc import Mapping

from vlad.ctl.output import clean


def counts(counted: Mapping[str, int]) -> str:
    """Of what there is any."""
    return ", ".join(f"{clean(what)} {count(number)}" for what, number in counted.items() if number)


def count(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def rate(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}/s"


def milliseconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} ms"


def pair(row: Mapping[str, float | None], name: str) -> str:
    """The median and the 99th percentile of NAME_p50_ms and NAME_p99_ms."""
    p50, p99 = row.get(f"{name}_p50_ms"), row.get(f"{name}_p99_ms")
    return f"p50 {milliseconds(p50)}, p99 {milliseconds(p99)}"


def span(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    if seconds < 1:
        return f"{seconds * 1_000:.0f} ms"
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7_200 else f"{seconds / 3_600:.1f} h"
