"""Findings as `vladctl doctor` and the checks of maintenance show them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from vlad.ctl.output import clean, mark


def findings_table(rows: Iterable[Mapping[str, Any]]) -> Table:
    """`rows` have state, topic, what was seen, and how to mend it."""
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for row in rows:
        text = Text(clean(row["what"]))
        if row["mend"]:
            text.append(f"\n{clean(row['mend'])}", style="italic")
        table.add_row(mark(row["state"]), Text(clean(row["topic"]), style="bold"), text)
    return table
