"""The components of this computer."""

from __future__ import annotations

from collections.abc import Iterator

from vlad.computer.measured import Gpu, Interface, Measured, highest
from vlad.health.reading import Reading, Readings
from vlad.health.settings import HealthSettings

_MINUTES_S, _HOURS_S = 600.0, 6 * 3600.0
"""Memory and heat change within minutes, a disk fills within days."""
_LOST, _ECC, _OFFSET_S = (0.01, 0.05, 0.2), (0.5, 2.0, 10.0), (0.1, 1.0, 10.0)
_NOT_RIGHT = (0.5, 3.0)
"""For what is 1 when it is not right, and seldom matters: a score of 0.8, CAUTION."""
_DOWN = (0.5, 0.75, 1.0)


def machine_readings(measured: Measured, settings: HealthSettings) -> Readings:
    """Whatever of it this computer has."""
    rails = tuple(Reading(name, watts, f"{name} {watts:.1f} W") for name, watts in measured.rails.items())
    return {
        "cpu": (
            Reading(
                "used", measured.cpu, f"{measured.cpu:.0%} used", settings.cpu, unit="part",
                action="Look for other load on this computer (top), or use a faster backend.",
            ),
        ),
        "memory": (
            Reading(
                "used", measured.memory, f"{measured.memory:.0%} used", settings.memory, unit="part",
                window_s=_MINUTES_S,
                action="Look for what takes it (ps aux --sort=-rss); a smaller policy takes less.",
            ),
        ),
        "disk": (
            Reading(
                "used", measured.disk, f"{measured.disk:.0%} used", settings.disk, unit="part",
                window_s=_HOURS_S,
                action="Free space on the disk with the state folder: old logs, recordings, models.",
            ),
        ),
        "temperature": _temperature(measured, settings),
        **({"power": rails} if rails else {}),
        **{gpu.name: _gpu(gpu, settings) for gpu in measured.gpus},
        **{f"network {name}": _network(name, seen) for name, seen in measured.interfaces.items()},
        "clock": tuple(_clock(measured)),
    }  # fmt: skip


def _temperature(measured: Measured, settings: HealthSettings) -> tuple[Reading, ...]:
    """The hottest sensor is judged; the others are told."""
    degrees = highest(measured.celsius.values())
    where = max(measured.celsius, key=lambda name: measured.celsius[name], default="no sensor")
    hottest = Reading(
        "hottest", degrees, f"{degrees:.0f} degrees ({where})", settings.temperature, unit="degrees",
        window_s=_MINUTES_S,
        action="Let the fan turn freely, give the computer air, or put less load on it.",
    )  # fmt: skip
    return hottest, *(Reading(name, value, "") for name, value in measured.celsius.items())


def _gpu(gpu: Gpu, settings: HealthSettings) -> tuple[Reading, ...]:
    """How busy it is and what it draws say nothing of its health: those are told."""
    return (
        Reading(
            "memory", gpu.memory, f"memory {gpu.memory:.0%} used", settings.gpu_memory, unit="part",
            window_s=_MINUTES_S,
            action="Look for what else uses the GPU (nvidia-smi), or set policy.onnx.arena_mb.",
        ),
        Reading(
            "temperature", gpu.celsius, f"{gpu.celsius:.0f} degrees", settings.temperature, unit="degrees",
            window_s=_MINUTES_S,
            action="Let its fan turn freely, give it air, or put less load on it.",
        ),
        Reading(
            "ecc", gpu.ecc_errors, f"{gpu.ecc_errors:.0f} memory errors" if gpu.ecc_errors else "", _ECC,
            action="Its memory fails: restart the computer, and have the GPU replaced if it happens again.",
        ),
        Reading("busy", gpu.busy, f"busy {gpu.busy:.0%}"),
        Reading("power", gpu.watts, f"{gpu.watts:.0f} W"),
    )  # fmt: skip


def _network(name: str, seen: Interface) -> tuple[Reading, ...]:
    return (
        Reading(
            "down", 0.0 if seen.up else 1.0, "up" if seen.up else "down", _DOWN,
            action=f"Look at the cable, the switch or the radio; ip link show {name}.",
        ),
        Reading(
            "lost", seen.lost, f"{seen.lost:.1%} of packets lost" if seen.lost else "", _LOST, unit="part",
            action=f"Look at the cable, the switch or the radio; ip -s link show {name}.",
        ),
        Reading("traffic", seen.bytes_per_s, f"{seen.bytes_per_s / 1e6:.1f} MB/s"),
    )  # fmt: skip


def _clock(measured: Measured) -> Iterator[Reading]:
    """The wall clock: logs, and stamps of drivers on other computers, go by it; nothing here does."""
    clock = measured.clock
    if clock is None:
        return
    steered = clock.synchronised
    text = "synchronised" if steered else "nothing sets it right"
    action = "Start a time service, such as timedatectl set-ntp true, and see that it reaches a server."
    yield Reading("unsynchronised", 0.0 if steered else 1.0, text, _NOT_RIGHT, action)
    off_s = abs(clock.offset_s)
    yield Reading("offset", off_s, f"{off_s * 1e3:.1f} ms off" if off_s else "", _OFFSET_S, action)
