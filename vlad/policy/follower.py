"""Following action chunks: what they say for this very moment, without a jump from one to the next.

Pure: no I/O, no clock. Row k of a chunk is meant for `stamp + (k + 1) * step`, so the rows whose time
passed while the model ran are skipped. Between rows the values are interpolated, whatever their kind: a
joint_delta is the change over one step, thus a rate like a twist, and is never summed up here.
"""

from __future__ import annotations

import numpy as np

from vlad.messages import Chunk, Floats, Step


class Follower:
    """Holds the newest chunk and joins each new one to what was said before it.

    At a join the difference between old and new is added to the new chunk and faded out, linearly, within
    `blend_ns`. So the values are continuous, and their slope exceeds that of the chunk by at most the
    difference / blend. The first chunk is not blended, nor one that follows a chunk whose end is longer ago
    than the blend: the robot is at rest then, or ought to be, and the kernel's ramp leads it from there.
    """

    def __init__(self, blend_ns: int) -> None:
        if blend_ns < 0:
            raise ValueError(f"the blend must not be negative, got {blend_ns} ns")
        self._blend_ns = blend_ns
        self._chunk: Chunk | None = None
        self._joined_ns = 0
        self._difference: Floats | None = None

    def put(self, chunk: Chunk, now_ns: int) -> bool:
        """Follow `chunk` from now on; False where it is not newer than the one that is followed."""
        old = self._chunk
        if old is not None and (chunk.stamp_ns, chunk.seq) <= (old.stamp_ns, old.seq):
            return False
        difference = None
        if old is not None and self._joins(old, chunk, now_ns):
            difference = self._values(old, now_ns) - _at(chunk, now_ns)
        self._difference = difference
        self._chunk, self._joined_ns = chunk, now_ns
        return True

    def step(self, now_ns: int) -> Step | None:
        """What is due at `now_ns`, which does not go back between calls; None without a chunk.

        Before its first row a chunk says its first row, after its last row the last: it never extrapolates.
        """
        chunk = self._chunk
        if chunk is None:
            return None
        return Step(
            stamp_ns=chunk.stamp_ns,
            remaining_ns=_end_ns(chunk) - now_ns,
            kind=chunk.kind,
            names=chunk.names,
            values=self._values(chunk, now_ns),
            collision=chunk.collision,
            uncertainty=chunk.uncertainty,
        )

    def clear(self) -> None:
        """Forget everything: the task changed, or the robot was stopped."""
        self._chunk = self._difference = None

    def _joins(self, old: Chunk, new: Chunk, now_ns: int) -> bool:
        same = (old.kind, old.names) == (new.kind, new.names)
        return same and self._blend_ns > 0 and now_ns - _end_ns(old) < self._blend_ns

    def _values(self, chunk: Chunk, now_ns: int) -> Floats:
        values = _at(chunk, now_ns)
        left = 1 - (now_ns - self._joined_ns) / self._blend_ns if self._difference is not None else 0.0
        if self._difference is not None and left > 0:
            values = values + self._difference * np.float32(min(left, 1.0))
        return values


def _end_ns(chunk: Chunk) -> int:
    return chunk.stamp_ns + len(chunk.actions) * chunk.step_ns


def _at(chunk: Chunk, now_ns: int) -> Floats:
    """The chunk's own values at a time, linear between its rows."""
    row, rest_ns = divmod(now_ns - chunk.stamp_ns - chunk.step_ns, chunk.step_ns)
    last = len(chunk.actions) - 1
    before: Floats = chunk.actions[min(max(row, 0), last)]
    if row < 0 or row >= last:
        return before
    after: Floats = chunk.actions[row + 1]
    return before + (after - before) * np.float32(rest_ns / chunk.step_ns)
