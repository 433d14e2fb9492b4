"""Following action chunks: what they say for this very moment, however late they come and overlap.

Pure: no I/O, no clock. Row k of a chunk is meant for `stamp + (k + 1) * step`, so the rows whose time
passed while the model ran are skipped: by the clock, not by an estimate of the latency. Between rows the
values are interpolated, whatever their kind: a joint_delta is the change over one step, thus a rate like a
twist, and is never summed up here.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from vlad.messages import Chunk, Kind, Step
from vlad.policy.merge import Merge
from vlad.policy.plan import Plan
from vlad.policy.prefix import Prefix
from vlad.policy_settings import PolicySettings

_REMEMBERED = 10


class Follower:
    """Merges each new chunk into the plan, once, and then says at any moment what the plan says.

    `policy.follow` says how. A plan of another kind or for other axes is not merged with, nor one that ended
    longer than `policy.blend_s` ago: the robot is at rest then, or ought to be, and the kernel's ramp leads
    it from there.
    """

    def __init__(self, settings: PolicySettings) -> None:
        self._merge = Merge(settings)
        self._commits = settings.follow == "rtc"
        self._chunk: Chunk | None = None
        self._plan: Plan | None = None
        self._joined_ns: int | None = None
        """When the chunk was joined to the plan, if that has yet to be made of both."""
        self._promised_ns: int | None = None
        """The frame whose chunk was made in the knowledge of what is done until it comes."""
        self._used: deque[int] = deque(maxlen=_REMEMBERED)
        """How many rows of each of the last chunks were for moments before it came, or just about to be."""

    def put(self, chunk: Chunk, now_ns: int) -> bool:
        """Follow `chunk` from now on; False where it is not newer than the one that is followed."""
        old = self._chunk
        if old is not None and (chunk.stamp_ns, chunk.seq) <= (old.stamp_ns, old.seq):
            return False
        self._take_over()
        self._used.append(-(-(now_ns - chunk.stamp_ns) // chunk.step_ns))
        if old is None or not self._joins(old, chunk, now_ns):
            self._plan = None
        self._chunk, self._joined_ns = chunk, now_ns
        if self._plan is None or not self._merge.begins_with_the_old:
            self._take_over()
        return True

    def step(self, now_ns: int) -> Step | None:
        """What is due at `now_ns`; None without a chunk.

        Before its first row a chunk says its first row, after its last row the last: it never extrapolates.
        """
        if self._joined_ns is not None and now_ns > self._joined_ns:
            self._take_over()
        chunk, plan = self._chunk, self._plan
        if chunk is None or plan is None:
            return None
        return Step(
            stamp_ns=chunk.stamp_ns,
            remaining_ns=_end_ns(chunk) - now_ns,
            kind=chunk.kind,
            names=chunk.names,
            values=plan.at(now_ns),
            collision=chunk.collision,
            uncertainty=chunk.uncertainty,
            doubts=chunk.doubts,
        )

    def ahead(self, stamp_ns: int, step_ns: int, count: int) -> Prefix | None:
        """What will be done from `stamp_ns` on, at most `count` rows: what a new chunk has to go on from.

        None where nothing is planned, or policy.follow is not "rtc": nothing is promised then. As many rows
        are committed as at most were used up by the time that one of the last chunks came. Black et al. 2025,
        "Real-Time Execution of Action Chunking Flow Policies", arXiv 2506.07339.
        """
        self._take_over()
        chunk, plan = self._chunk, self._plan
        if not self._commits or chunk is None or plan is None:
            return None
        rows = min(count, (_end_ns(chunk) - stamp_ns) // step_ns)
        if rows <= 0:
            return None
        self._promised_ns = stamp_ns
        times_ns = stamp_ns + step_ns * np.arange(1, rows + 1)
        return Prefix(plan.at_all(times_ns), committed=min(max(0, *self._used), rows))

    def clear(self) -> None:
        """Forget everything: the task changed, or the robot was stopped."""
        self._chunk = self._plan = self._joined_ns = None

    def _take_over(self) -> None:
        """Make the newest chunk part of the plan, if it is not yet.

        Not at the moment of the join: merging takes longer than all else between a chunk and the command that
        it leads to, and a plan that fades over to it begins with what was planned before.
        """
        chunk, joined_ns = self._chunk, self._joined_ns
        if chunk is None or joined_ns is None:
            return
        own = _own_plan(chunk)
        if self._plan is not None:
            catches_up = chunk.kind is not Kind.JOINT_POSITION and chunk.stamp_ns != self._promised_ns
            own = self._merge(self._plan, own, chunk.stamp_ns, joined_ns, _end_ns(chunk), catches_up)
        self._plan, self._joined_ns = own, None

    def _joins(self, old: Chunk, new: Chunk, now_ns: int) -> bool:
        same = (old.kind, old.names) == (new.kind, new.names)
        return same and now_ns - _end_ns(old) < self._merge.blend_ns


def _end_ns(chunk: Chunk) -> int:
    return chunk.stamp_ns + len(chunk.actions) * chunk.step_ns


def _own_plan(chunk: Chunk) -> Plan:
    """What the chunk says by itself."""
    rows = np.arange(1, len(chunk.actions) + 1)
    return Plan(chunk.stamp_ns + chunk.step_ns * rows, chunk.actions, np.ones(len(rows), np.int64))
