"""What the kernel counts, in /sys and /proc: memory errors, errors of file systems, throttling."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from vlad.maintenance.finding import Finding

_MEMORY = "replace the memory module; memtest86+ finds which one"
_COOL = "cool it better, or give it less to do; is its fan clean, and running?"
_PI_BITS = {
    0: "its voltage is too low", 1: "its clock is capped", 2: "it is throttled", 3: "it is too hot",
    16: "its voltage was too low", 17: "its clock was capped", 18: "it was throttled", 19: "it was too hot",
}  # fmt: skip
"""Of get_throttled, as Raspberry Pi's documentation has them; from 16 on: since it was started."""
_PI = "devices/platform/soc/soc:firmware/get_throttled"


def check_memory(root: Path = Path("/sys"), proc: Path = Path("/proc")) -> Iterator[Finding]:
    """Errors that ECC memory corrected or could not correct, and what the processor reported."""
    controllers = sorted((root / "devices/system/edac/mc").glob("mc[0-9]*"))
    for controller in controllers:
        uncorrected, corrected = _number(controller / "ue_count"), _number(controller / "ce_count")
        topic = f"memory {controller.name}"
        if uncorrected is None or corrected is None:
            yield Finding(
                "unknown", topic, "its counters cannot be read", f"cat {controller}/ue_count as root"
            )
        elif uncorrected:
            yield Finding("problem", topic, f"{uncorrected:,} errors could not be corrected", _MEMORY)
        elif corrected:
            yield Finding("warning", topic, f"{corrected:,} errors were corrected", _MEMORY)
        else:
            yield Finding("ok", topic, "no errors")
    if not controllers:
        how = "only ECC memory with a driver (EDAC) tells; else: memtest86+, or memtester beside vlad"
        yield Finding("unknown", "memory", "nothing counts its errors", how)
    yield from _machine_checks(proc / "interrupts")


def _machine_checks(interrupts: Path) -> Iterator[Finding]:
    """The processor's reports of errors of its own: Intel's and AMD's; others have no such line."""
    try:
        lines = interrupts.read_text(errors="replace").splitlines()
    except OSError:
        yield Finding("unknown", "processor", f"{interrupts} cannot be read", "journalctl -k | grep -i mce")
        return
    for words in map(str.split, lines):
        if words and words[0] == "MCE:":
            count = sum(int(word) for word in words[1:] if word.isdecimal())
            if count:
                mend = "journalctl -k | grep -i mce tells which part"
                yield Finding("problem", "processor", f"{count:,} machine check exceptions", mend)
            else:
                yield Finding("ok", "processor", "no machine check exceptions")


def check_file_systems(root: Path = Path("/sys")) -> Iterator[Finding]:
    """Errors that ext4 (until it is repaired) and btrfs (until they are reset) remember."""
    for file in sorted((root / "fs/ext4").glob("*/errors_count")):
        yield _file_system(file.parent.name, _number(file), f"fsck -f /dev/{file.parent.name}, unmounted")
    for file in sorted((root / "fs/btrfs").glob("*/devinfo/*/error_stats")):
        counts = [int(word) for word in _text(file).split() if word.isdecimal()]
        name = f"{file.parents[2].name} {file.parent.name}"
        yield _file_system(
            name, sum(counts) if counts else None, "btrfs scrub start, then btrfs device stats --reset"
        )


def _file_system(name: str, errors: int | None, mend: str) -> Finding:
    topic = f"file system {name}"
    if errors is None:
        return Finding("unknown", topic, "its errors cannot be read", "dmesg --level=err as root")
    if errors:
        return Finding("problem", topic, f"{errors:,} errors", f"back up now; {mend}; is the disk sound?")
    return Finding("ok", topic, "no errors")


def check_throttling(root: Path = Path("/sys")) -> Iterator[Finding]:
    """Whether the computer had to slow down for heat, current or voltage since it was started."""
    files = sorted((root / "devices/system/cpu").glob("cpu[0-9]*/thermal_throttle/*_throttle_count"))
    packages = [number for file in files if (number := _number(file)) is not None]
    if packages:
        yield _throttled("processor", max(packages), "it throttled itself for heat", _COOL)
    files = sorted((root / "class/hwmon").glob("hwmon*/oc[0-9]_event_cnt"))
    events = [number for file in files if (number := _number(file)) is not None]
    if events:
        yield _throttled(
            "module", sum(events), "it throttled itself for current", "a stronger supply, or nvpmodel"
        )
    bits = _number(root / _PI, 16)
    if bits is not None:
        yield _raspberry(bits)
    if not packages and not events and bits is None:
        how = "watch the temperatures: vladctl health"
        yield Finding("unknown", "throttling", "this computer does not count it", how)


def _throttled(part: str, count: int, what: str, mend: str) -> Finding:
    topic = f"throttling of the {part}"
    if count:
        return Finding("warning", topic, f"{count:,} times {what} since it was started", mend)
    return Finding("ok", topic, "never since it was started")


def _raspberry(bits: int) -> Finding:
    said = [what for bit, what in _PI_BITS.items() if bits >> bit & 1]
    if not said:
        return Finding("ok", "throttling of the board", "never since it was started")
    severe = bool(bits & 1)
    mend = "a stronger power supply and a shorter cable" if bits & 0x10001 else _COOL
    return Finding("problem" if severe else "warning", "throttling of the board", ", ".join(said), mend)


def _text(file: Path) -> str:
    try:
        return file.read_text(errors="replace").strip()
    except OSError:
        return ""


def _number(file: Path, base: int = 10) -> int | None:
    try:
        return int(_text(file), base)
    except ValueError:
        return None
