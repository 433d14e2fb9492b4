"""How each signal behaves over time: its rate, its gaps, what is refused of it, and whether it is frozen.

Counts are looked at over a window of a second, of ten periods where those last longer: one signal a turn,
four once something slows or stops the armed robot. What was found stays until the signal's next turn. Frozen
content is looked for with every new sample of the signals that may not freeze.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Callable, Mapping
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
_LONGEST_NS = 100_000_000
"""A turn accounts for no more moving time than this: what passes while nobody judges is not known."""
_LOOKED_AT_BYTES = 4096
_CLOSELY = 4

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
        """Take in one judgement's inputs. `moving`: measured or commanded; `closely`: look more often."""
        now_ns = inputs.now_ns
        step_ns = 0
        if moving and self._last_ns is not None:
            step_ns = min(max(0, now_ns - self._last_ns), _LONGEST_NS)
            self._moved_ns += step_ns
        self._last_ns = now_ns
        self.lost = 0 if self._overflows is None else max(0, inputs.overflows - self._overflows)
        self._overflows = inputs.overflows
        if moving or self.frozen:
            self._compare(inputs.samples, now_ns, step_ns)
        self._count(inputs, min(_CLOSELY, len(self._conducts)) if closely else 1)

    def _compare(self, samples: Mapping[str, Sample], now_ns: int, step_ns: int) -> None:
        for content in self._contents:
            sample = samples.get(content.topic)
            if sample is not content.sample and sample is not None:
                # Motion since it was received counts; before this step the robot may have stood.
                content.see(sample, self._moved_ns - min(now_ns - sample.received_ns, step_ns))
            still_ns = self._moved_ns - content.changed_ns
            if content.repeated and still_ns > content.frozen_ns:
                text = f"the same content for {still_ns / NS_PER_S:.2f} s of motion"
                self.frozen[content.topic] = text
            elif self.frozen:
                self.frozen.pop(content.topic, None)

    def _count(self, inputs: Inputs, at_once: int) -> None:
        if not self._conducts:
            return
        changed = False
        for _ in range(at_once):
            self._next = (self._next + 1) % len(self._conducts)
            conduct = self._conducts[self._next]
            counts = inputs.counts.get(conduct.topic)
            if counts is not None:
                before = conduct.findings
                conduct.look(counts, inputs.samples.get(conduct.topic), inputs.now_ns)
                changed = changed or before is not conduct.findings
        if changed:
            self.findings = tuple(found for conduct in self._conducts for found in conduct.findings)


class _Content:
    """What a signal that may not freeze said last, and on which moving time that was new."""

    __slots__ = ("changed_ns", "frozen_ns", "print", "repeated", "sample", "topic")

    def __init__(self, topic: str, settings: SignalSettings) -> None:
        self.topic = topic
        self.frozen_ns = round(settings.frozen_s * NS_PER_S)
        self.sample: Sample | None = None
        self.print: object = None
        self.changed_ns = 0
        self.repeated = False

    def see(self, sample: Sample, moved_ns: int) -> None:
        self.sample = sample
        found = fingerprint(sample.data)
        self.repeated = found == self.print
        if not self.repeated:
            self.print, self.changed_ns = found, moved_ns


class _Conduct:
    """The counts of one signal as they stood over the last window, and what is wrong with them."""

    __slots__ = ("_high_hz", "_limits", "_low_hz", "_marks", "_rate_hz", "_step_ns", "_window_ns", "findings",
                 "topic")  # fmt: skip

    def __init__(self, topic: str, settings: SignalSettings, limits: SafetySettings) -> None:
        self.topic = topic
        self.findings: tuple[Finding, ...] = ()
        self._rate_hz = settings.rate_hz
        self._low_hz = settings.rate_hz * (1 - limits.rate_tolerance)
        self._high_hz = settings.rate_hz * (1 + limits.rate_tolerance)
        periods_ns = round(_WINDOW_PERIODS * NS_PER_S / settings.rate_hz) if settings.rate_hz else 0
        self._window_ns = max(_WINDOW_NS, periods_ns)
        self._step_ns = self._window_ns // _STEPS
        self._limits = limits
        self._marks: deque[_Mark] = deque()

    def look(self, counts: Counts, sample: Sample | None, now_ns: int) -> None:
        """Compare the counts with those of a window ago."""
        came_ns = sample.received_ns if sample is not None else 0
        now = (now_ns, counts.received, counts.gaps, counts.refused, counts.off_clock, came_ns)
        marks = self._marks
        if not marks or now_ns - marks[-1][0] >= self._step_ns:
            marks.append(now)
            while len(marks) > 1 and now_ns - marks[1][0] >= self._window_ns:
                marks.popleft()
        if now_ns - marks[0][0] >= self._window_ns:
            self.findings = self._judge(marks[0], now)

    def _judge(self, before: _Mark, now: _Mark) -> tuple[Finding, ...]:
        began_ns, received, gaps, refused, off_clock, came_ns = before
        found: tuple[Finding, ...] = ()
        if received and self._rate_hz:
            rate_hz = _rate_hz(now[1] - received, now[5] - came_ns, now[0] - came_ns)
            if not self._low_hz <= rate_hz <= self._high_hz:
                text = f"{rate_hz:.1f} Hz, nominal {self._rate_hz:.1f} Hz"
                found += (Finding("signal_rate", self.topic, text),)
        if now[2] != gaps:
            found += self._gaps(now[2] - gaps, now[1] - received)
        if now[3] != refused:
            bad_hz = (now[3] - refused) * NS_PER_S / (now[0] - began_ns)
            if bad_hz > self._limits.bad_hz:
                found += (Finding("signal_bad", self.topic, f"{bad_hz:.1f} messages/s refused"),)
        if now[4] != off_clock:
            text = f"{now[4] - off_clock} messages with a stamp that cannot be"
            found += (Finding("signal_clock", self.topic, text),)
        return found

    def _gaps(self, missing: int, received: int) -> tuple[Finding, ...]:
        part = missing / (received + missing)
        if part <= self._limits.gap_fraction:
            return ()
        text = f"{missing} of {received + missing} messages missing"
        return (Finding("signal_gaps", self.topic, text, part),)


def _rate_hz(received: int, came_ns: int, passed_ns: int) -> float:
    """Samples a second: `received` in `came_ns` from newest to newest; less once the next one is overdue."""
    return received * NS_PER_S / max(1, came_ns, passed_ns * received // (received + 1))


def fingerprint(data: Data) -> object:
    """Something that is equal for equal content, and hardly ever otherwise. Cheap: large arrays are sampled.

    A number that is NaN differs from itself, so that what is not measured never counts as frozen.
    """
    make = _PRINTS.get(type(data))
    return data if make is None else make(data)


def _of_jpeg(image: CompressedImage) -> object:
    """Its end is enough: in a compressed file every change runs on to it."""
    return len(image.data), zlib.crc32(image.data[-_LOOKED_AT_BYTES:])


def _of_joints(joints: JointState) -> object:
    rows = (joints.position, joints.velocity, joints.effort, joints.temperature, joints.current)
    return joints.names, *[None if row is None else row.tobytes() for row in rows]


def _content(array: NDArray[Any]) -> object:
    """All of a small array; of a large one the CRC-32 of values that lie evenly all over it.

    The step is odd: an even one would meet the same columns of each row.
    """
    if array.nbytes <= _LOOKED_AT_BYTES:
        return array.tobytes()
    step = -(-array.nbytes // _LOOKED_AT_BYTES) | 1
    return zlib.crc32(array.ravel()[::step].tobytes())


_PRINTS: dict[type[Data], Callable[[Any], object]] = {
    Image: lambda image: (image.encoding, image.pixels.shape, _content(image.pixels)),
    CompressedImage: _of_jpeg,
    LaserScan: lambda scan: (scan.angle_min, scan.angle_increment, scan.range_max, _content(scan.ranges)),
    PointCloud: lambda cloud: (cloud.fields, cloud.points.shape, _content(cloud.points)),
    JointState: _of_joints,
}
"""Where the data itself will not do: comparing arrays gives arrays."""
