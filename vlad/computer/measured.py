"""What is measured of this computer. A number that is not known is NaN, a thing that is not known None."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import nan

from vlad.safety.view import Computer


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU: `memory` in use and `busy`, 0 to 1; memory errors since it started that stayed uncorrected."""

    name: str
    memory: float = nan
    busy: float = nan
    celsius: float = nan
    watts: float = nan
    ecc_errors: float = nan


@dataclass(frozen=True, slots=True)
class Interface:
    """A network interface; `lost` is the part of its packets that were dropped or damaged."""

    up: bool
    lost: float = nan
    bytes_per_s: float = nan


@dataclass(frozen=True, slots=True)
class Timekeeping:
    """What the kernel knows of its wall clock."""

    synchronised: bool
    offset_s: float
    """From the time that it is steered towards."""
    error_s: float
    """How far it may be off, as far as the kernel can tell."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One measurement of everything."""

    stamp_ns: int
    cpu: float = nan
    memory: float = nan
    disk: float = nan
    """Parts in use, 0 to 1."""
    celsius: Mapping[str, float] = field(default_factory=dict)
    """By the name of the sensor; without those of `gpus`."""
    rails: Mapping[str, float] = field(default_factory=dict)
    """Watts by the name of the power rail."""
    gpus: tuple[Gpu, ...] = ()
    interfaces: Mapping[str, Interface] = field(default_factory=dict)
    clock: Timekeeping | None = None

    @property
    def watts(self) -> float:
        """Of the whole board, as the largest of its rails says, and of GPUs of their own; NaN: unknown."""
        parts = [highest(self.rails.values()), *(gpu.watts for gpu in self.gpus)]
        known = [part for part in parts if part == part]
        return sum(known) if known else nan

    def for_the_kernel(self) -> Computer:
        """The little of it that the safety tick judges."""
        return Computer(
            stamp_ns=self.stamp_ns,
            cpu=self.cpu,
            memory=self.memory,
            gpu_memory=highest(gpu.memory for gpu in self.gpus),
            disk=self.disk,
            celsius=highest(self.celsius.values()),
        )


def highest(values: Iterable[float]) -> float:
    """The highest that is known; NaN where none is."""
    return max((value for value in values if value == value), default=nan)
