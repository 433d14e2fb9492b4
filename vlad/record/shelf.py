"""The folder of recordings: what they are called, how much there may be, and what goes first."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vlad.record.trigger import Cause

PART = ".mcap.part"
_LONGEST_DETAIL = 48


class NoRoomError(OSError):
    """The disk, or what recordings may take of it, is used up, and nothing on it may be deleted."""


@dataclass(frozen=True, slots=True)
class Recording:
    """A file of the folder. `ended_ns` is its wall-clock time; `whole`: finished, and not being written."""

    path: Path
    size: int
    ended_ns: int
    whole: bool

    @property
    def kept(self) -> bool:
        """Whether something happened in it: such a one is not deleted while it is young."""
        return "_continuous" not in self.path.name


class Shelf:
    """Makes room by deleting the oldest first, but none that is young and shows something that happened."""

    def __init__(self, folder: Path, most_bytes: int, free_bytes: int, protected_s: float) -> None:
        """`most_bytes` for all together, `free_bytes` of the disk stay free."""
        self.folder = folder
        self._most_bytes = most_bytes
        self._free_bytes = free_bytes
        self._protected_s = protected_s

    def recordings(self) -> list[Recording]:
        """All, the oldest first; OSError where the folder cannot be read."""
        if not self.folder.exists():
            return []
        return sorted(self._found(), key=lambda recording: recording.path.name)

    def _found(self) -> Iterator[Recording]:
        with os.scandir(self.folder) as entries:
            for entry in entries:
                if entry.name.endswith((".mcap", PART)):
                    try:
                        known = entry.stat()
                    except FileNotFoundError:
                        continue
                    whole = not entry.name.endswith(PART)
                    yield Recording(Path(entry.path), known.st_size, known.st_mtime_ns, whole)

    def new(self, wall_ns: int) -> Path:
        """The path of a file that begins now; it has its cause in its name once it is finished."""
        return self._unused(_moment(wall_ns), PART)

    def final(self, part: Path, causes: tuple[Cause, ...]) -> Path:
        """What a finished file is called: after the first thing that happened in it."""
        cause = next((cause for cause in causes if cause.kind != "continuous"), causes[0])
        detail = re.sub(r"[^A-Za-z0-9.]+", "-", cause.detail)[:_LONGEST_DETAIL].strip("-.")
        moment = part.name.removesuffix(PART).partition("_")[0]
        return self._unused("_".join(filter(None, (moment, cause.kind, detail))), ".mcap")

    def mended(self, part: Path) -> Path:
        """What a file is called that was repaired."""
        return self._unused(part.name.removesuffix(PART) + "_repaired", ".mcap")

    def make_room(self) -> None:
        """Delete until budget and disk have room again; NoRoomError where nothing is left to delete."""
        recordings = self.recordings()
        total = sum(recording.size for recording in recordings)
        while recordings and (total > self._most_bytes or self.free_bytes() < self._free_bytes):
            oldest = next((known for known in recordings if known.whole and not self._protects(known)), None)
            if oldest is None:
                break
            recordings.remove(oldest)
            oldest.path.unlink(missing_ok=True)
            total -= oldest.size
        if total > self._most_bytes:
            raise NoRoomError(f"the recordings take {total / 1e6:.0f} MB, and none is old enough to delete")
        if (free := self.free_bytes()) < self._free_bytes:
            raise NoRoomError(f"only {free / 1e6:.0f} MB are free")

    def free_bytes(self) -> int:
        return shutil.disk_usage(self.folder).free

    def _protects(self, recording: Recording) -> bool:
        return recording.kept and time.time() - recording.ended_ns / 1e9 < self._protected_s

    def _unused(self, name: str, suffix: str) -> Path:
        """A path that nobody has."""
        path, number = self.folder / f"{name}{suffix}", 2
        while path.exists():
            path, number = self.folder / f"{name}_{number}{suffix}", number + 1
        return path


def _moment(wall_ns: int) -> str:
    """UTC to the millisecond: sorts as text, and has nothing that other systems refuse in names."""
    seconds, rest_ns = divmod(wall_ns, 1_000_000_000)
    return time.strftime("%Y-%m-%dT%H-%M-%S", time.gmtime(seconds)) + f".{rest_ns // 1_000_000:03d}Z"
