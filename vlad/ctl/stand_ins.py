"""What runs in place of the policy that was asked for, in a status, as lines of text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from vlad.ctl.output import clean


def stand_ins(policy: Mapping[str, Any]) -> Iterator[str]:
    """A lower resolution, a fallback, what else is loaded, and what was given up for want of memory."""
    if policy.get("resolution_why"):
        sizes = ", ".join(clean(size) for size in policy.get("resolutions") or ())
        why = clean(policy["resolution_why"])
        yield f"resolution {clean(policy.get('resolution') or '-')} of {sizes}: {why}"
    if fallback := policy.get("fallback"):
        about = clean(fallback.get("error") or fallback.get("cause") or "")
        line = f"fallback {clean(fallback.get('bundle') or '-')} {clean(fallback.get('state') or '-')}"
        if fallback.get("in_place_of"):
            line += f" in place of {clean(fallback['in_place_of'])}"
        yield f"{line}: {about}" if about else line
    if residents := policy.get("residents"):
        names = (f"{clean(row.get('bundle') or '-')} ({row.get('memory_mb', '-')} MB)" for row in residents)
        yield f"also loaded: {', '.join(names)}"
    if policy.get("relief"):
        yield f"memory is short: {', '.join(clean(step) for step in policy['relief'])}"
