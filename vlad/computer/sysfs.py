"""What the kernel shows under /sys: temperatures, power rails, and the GPU of an NVIDIA Jetson.

The files are looked for once, at the start: that takes longer than to read them all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import nan
from pathlib import Path

from vlad.computer.measured import Gpu

_FALSE_ZONES = ("PMIC-Die",)
"""On a Jetson it says 50 or 100 degrees, always."""
_GPU_LOADS = ("devices/gpu.0/load", "devices/platform/*.gpu/load", "devices/platform/bus@0/*.gpu/load",
              "devices/platform/gpu.0/load")  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Rail:
    """A power rail: microwatts, or millivolts and milliamperes."""

    name: str
    files: tuple[Path, ...]

    def watts(self) -> float:
        values = [_read(file) for file in self.files]
        return values[0] / 1e6 if len(values) == 1 else values[0] * values[1] / 1e6


class Sysfs:
    """Whatever of it this computer has."""

    def __init__(self, root: Path = Path("/sys")) -> None:
        hwmons = sorted((root / "class/hwmon").glob("hwmon*"))
        self._sensors = _apart(_zones(root / "class/thermal")) | _apart(_sensors(hwmons))
        self._rails = tuple(rail for hwmon in hwmons for rail in _rails(hwmon))
        self._load = next((file for name in _GPU_LOADS for file in sorted(root.glob(name))), None)

    def celsius(self) -> dict[str, float]:
        """By the name of the sensor; one that is asleep is left out."""
        measured = {name: _read(file) / 1_000 for name, file in self._sensors.items()}
        return {name: value for name, value in measured.items() if value == value}

    def watts(self) -> dict[str, float]:
        """By the name of the power rail."""
        measured = {rail.name: rail.watts() for rail in self._rails}
        return {name: value for name, value in measured.items() if value == value}

    def gpus(self) -> tuple[Gpu, ...]:
        """A Jetson's: it shares the memory of the computer, and its temperature is among the others."""
        return () if self._load is None else (Gpu("gpu", busy=_read(self._load) / 1_000),)


def _zones(folder: Path) -> Iterator[tuple[str, Path]]:
    for zone in sorted(folder.glob("thermal_zone*")):
        name = _text(zone / "type")
        if name and name not in _FALSE_ZONES:
            yield _plain(name), zone / "temp"


def _sensors(hwmons: list[Path]) -> Iterator[tuple[str, Path]]:
    """Of sensors that have no label, the number tells one from the other, unless there is but one."""
    for hwmon in hwmons:
        files = sorted(hwmon.glob("temp*_input"))
        for file in files:
            own = file.name.removesuffix("_input")
            label = _text(hwmon / f"{own}_label") or (own if len(files) > 1 else "")
            yield f"{_plain(_text(hwmon / 'name') or hwmon.name)} {label}".strip(), file


def _rails(hwmon: Path) -> Iterator[_Rail]:
    """Of an INA3221 and the like: one that measures watts itself, or volts and amperes of each channel."""
    chip = _text(hwmon / "name") or hwmon.name
    for file in sorted(hwmon.glob("power*_input")):
        number = file.name.removeprefix("power").removesuffix("_input")
        yield _Rail(_text(hwmon / f"power{number}_label") or f"{chip} {number}", (file,))
    for current in sorted(hwmon.glob("curr*_input")):
        number = current.name.removeprefix("curr").removesuffix("_input")
        volts, watts = hwmon / f"in{number}_input", hwmon / f"power{number}_input"
        if volts.exists() and not watts.exists():
            yield _Rail(_text(hwmon / f"in{number}_label") or f"{chip} {number}", (volts, current))


def _apart(found: Iterator[tuple[str, Path]]) -> dict[str, Path]:
    """Two disks of one kind have sensors of one name: the folder tells them apart."""
    files: dict[str, Path] = {}
    for name, file in found:
        files[f"{name} ({file.parent.name})" if name in files else name] = file
    return files


def _plain(name: str) -> str:
    """The kernel shows a thermal zone `cpu-thermal` once more as the sensor `cpu_thermal`."""
    return name.replace("-", "_")


def _text(file: Path) -> str:
    try:
        return file.read_text(errors="replace").strip()
    except OSError:
        return ""


def _read(file: Path) -> float:
    """The number in a file; NaN while it cannot be read, as of a sensor that is asleep."""
    try:
        return float(file.read_bytes())
    except (OSError, ValueError):
        return nan
