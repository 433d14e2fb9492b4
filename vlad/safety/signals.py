"""How each signal behaves over time: its rate, its gaps, what is refused of it, and whether it is frozen.

Counts are looked at over a window of a second, of ten periods where those last longer: one or two signals a
turn, all of them in every turn once the robot is armed and something is wrong. What was found stays until the
signal's next turn. Frozen content is looked for with every new sample of the signals that may not freeze.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Mapping
from typing import Any, TypeAlias

from numpy.typing import NDArray

from vlad.clock import NS_PER_S
from vlad.config import SafetySettings, Settings, SignalSettings
from vlad.messages import CompressedImage, Data, Image, JointState, LaserScan, PointCloud, Sample
from vlad.safety.reaction import Finding
from vlad.safety.view import Counts, Inputs

_WINDOW_NS = NS_PER_S
_WINDOW_PERIODS = 10
_STEPS = 4
"""The window moves on in steps of this part of it."""
_AT_ONCE = 2
"""Signals looked at in a turn while all is well."""
_LONGEST_NS = 100_000_000
"""A turn accounts for no more moving time than this: what passes while nobody judges is not known."""
_LOOKED_AT_BYTES = 4096

_Mark: TypeAlias = tuple[int, int, int, int, int, int]
"""Time [ns]; then received, gaps, refused and off_clock as they stood, and when the newest sample came."""


class SignalMonitor:
    """Owned by the kernel, fed with the raw inputs of each judgement."""

    def __init__(self, settings: Settings) -> None:
        self.frozen: dict[str, str] = {}
        """Signals that repeat the same content while the robot moves, and since when."""
        self.findings: tuple[Finding, ...] = ()
        """What was found in the counts."""
        self.lost = 0
        """Entries that bounded queues lost since the judgement before."""
        self._moved_ns = 0
        self._last_ns: int | None = None
        self._overflows: int | None = None
        self._conducts = [
            _Conduct(topic, known, settings.safety) for topic, known in settings.signals.items()
        ]
        self._contents = [
            _Content(topic, known) for topic, known in settings.signals.items() if known.frozen_s
        ]
        self._next = 0

    def watch(self, inputs: Inputs, *, moving: bool, closely: bool) -> None:
        """Take in one judgement's inputs. `moving`: measured or commanded; `closely`: look at all signals."""
        now_ns = inputs.now_ns
        if moving and self._last_ns is not None:
            self._moved_ns += min(max(0, now_ns - self._last_ns), _LONGEST_NS)
        self._last_ns = now_ns
        self.lost = 0 if self._overflows is None else max(0, inputs.overflows - self._overflows)
        self._overflows = inputs.overflows
        self._compare(inputs.samples)
        self._count(inputs, closely)

    def _compare(self, samples: Mapping[str, Sample]) -> None:
        for content in self._contents:
            sample = samples.get(content.topic)
            if sample is None:
                continue
            if sample is not content.sample:
                content.see(sample, self._moved_ns)
            if content.repeats and self._moved_ns - content.changed_ns > content.frozen_ns:
                still_s = (self._moved_ns - content.changed_ns) / NS_PER_S
                self.frozen[content.topic] = f"the same content for {still_s:.2f} s of motion"
            else:
                self.frozen.pop(content.topic, None)

    def _count(self, inputs: Inputs, closely: bool) -> None:
        looked_at = len(self._conducts) if closely else min(_AT_ONCE, len(self._conducts))
        changed = False
        for _ in range(looked_at):
            conduct = self._conducts[self._next]
            self._next = (self._next + 1) % len(self._conducts)
            counts = inputs.counts.get(conduct.topic)
            if counts is not None:
                before = conduct.findings
                conduct.look(counts, inputs.samples.get(conduct.topic), inputs.now_ns)
                changed = changed or bool(before or conduct.findings)
        if changed:
            self.findings = tuple(found for conduct in self._conducts for found in conduct.findings)


class _Content:
    """What a signal that may not freeze said last, and on which moving time that was new."""

    __slots__ = ("changed_ns", "frozen_ns", "print", "repeats", "sample", "topic")

    def __init__(self, topic: str, settings: SignalSettings) -> None:
        self.topic = topic
        self.frozen_ns = round(settings.frozen_s * NS_PER_S)
        self.sample: Sample | None = None
        self.print: object = None
        self.changed_ns = 0
        self.repeats = 0

    def see(self, sample: Sample, moved_ns: int) -> None:
        self.sample = sample
        found = fingerprint(sample.data)
        if found == self.print:
            self.repeats += 1
        else:
            self.print, self.changed_ns, self.repeats = found, moved_ns, 0


class _Conduct:
    """The counts of one signal as they stood over the last window, and what is wrong with them."""

    __slots__ = ("_limits", "_marks", "_rate_hz", "_window_ns", "findings", "topic")

    def __init__(self, topic: str, settings: SignalSettings, limits: SafetySettings) -> None:
        self.topic = topic
        self.findings: tuple[Finding, ...] = ()
        self._rate_hz = settings.rate_hz
        periods_ns = round(_WINDOW_PERIODS * NS_PER_S / self._rate_hz) if self._rate_hz else 0
        self._window_ns = max(_WINDOW_NS, periods_ns)
        self._limits = limits
        self._marks: deque[_Mark] = deque()

    def look(self, counts: Counts, sample: Sample | None, now_ns: int) -> None:
        """Compare the counts with those of a window ago."""
        received_ns = sample.received_ns if sample is not None else 0
        mark = (now_ns, counts.received, counts.gaps, counts.refused, counts.off_clock, received_ns)
        marks = self._marks
        if not marks or now_ns - marks[-1][0] >= self._window_ns // _STEPS:
            marks.append(mark)
        while len(marks) > 1 and now_ns - marks[1][0] >= self._window_ns:
            marks.popleft()
        if now_ns - marks[0][0] >= self._window_ns:
            self.findings = self._judge(marks[0], mark)

    def _judge(self, before: _Mark, now: _Mark) -> tuple[Finding, ...]:
        limits, found = self._limits, []
        received, gaps, refused, off_clock = (now[k] - before[k] for k in range(1, 5))
        if before[1] and self._rate_hz:
            rate_hz = _rate_hz(before, now)
            low, high = (
                self._rate_hz * (1 - limits.rate_tolerance),
                self._rate_hz * (1 + limits.rate_tolerance),
            )
            if not low <= rate_hz <= high:
                text = f"{rate_hz:.1f} Hz, nominal {self._rate_hz:.1f} Hz"
                found.append(Finding("signal_rate", self.topic, text))
        if gaps and gaps > limits.gap_fraction * (received + gaps):
            text = f"{gaps} of {received + gaps} messages missing"
            found.append(Finding("signal_gaps", self.topic, text, gaps / (received + gaps)))
        if refused * NS_PER_S > limits.bad_hz * (now[0] - before[0]):
            text = f"{refused * NS_PER_S / (now[0] - before[0]):.1f} messages/s refused"
            found.append(Finding("signal_bad", self.topic, text))
        if off_clock:
            text = f"{off_clock} messages with a stamp that cannot be"
            found.append(Finding("signal_clock", self.topic, text))
        return tuple(found)


def _rate_hz(before: _Mark, now: _Mark) -> float:
    """Samples a second between the newest ones of two marks; less once the next one is overdue."""
    received = now[1] - before[1]
    came_ns = now[5] - before[5]
    overdue_ns = (now[0] - before[5]) * received // (received + 1)
    return received * NS_PER_S / max(1, came_ns, overdue_ns)


def fingerprint(data: Data) -> object:
    """Something that is equal for equal content, and hardly ever otherwise. Cheap: arrays are sampled.

    NaN differs from itself, so that what is not measured never counts as frozen.
    """
    match data:
        case Image():
            return data.encoding, data.pixels.shape, _checksum(data.pixels)
        case CompressedImage():
            return len(data.data), zlib.crc32(data.data[-_LOOKED_AT_BYTES:])
        case LaserScan():
            return data.angle_min, data.angle_increment, data.range_max, _checksum(data.ranges)
        case PointCloud():
            return data.fields, data.points.shape, _checksum(data.points)
        case JointState():
            rows = (data.position, data.velocity, data.effort, data.temperature, data.current)
            return data.names, *(None if row is None else _checksum(row) for row in rows)
        case _:
            return data


def _checksum(array: NDArray[Any]) -> int:
    """CRC-32 of all of a small array, else of values that lie evenly all over it.

    The step is odd: an even one would meet the same columns of each row.
    """
    flat = array.reshape(-1)
    step = -(-flat.nbytes // _LOOKED_AT_BYTES)
    return zlib.crc32(flat[:: step | 1].tobytes())
