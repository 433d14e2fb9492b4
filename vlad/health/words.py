"""How long something takes, in words; for the daemon and for vladctl, so without other libraries."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """In words, roughly: to two or three digits."""
    for unit, length_s in (("days", 86_400.0), ("h", 3_600.0), ("min", 60.0)):
        if seconds >= 2 * length_s:
            return f"{seconds / length_s:.1f} {unit}"
    return f"{seconds:.0f} s"
