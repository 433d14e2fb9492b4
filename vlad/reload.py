"""New settings for a running daemon: what changed, what of it holds at once, and what needs a restart.

At any time: log.level and policy.rate_hz. While the robot is disarmed and nothing is latched, since another
safety kernel takes over for them: the robot's limits, and all that only the kernel goes by. The rest needs a
restart; what the guard reads, one of the guard.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from vlad.config import ConfigError, Settings, unfit
from vlad.logs import set_level
from vlad.messages import Level
from vlad.robot import Robot

if TYPE_CHECKING:
    from vlad.daemon import Daemon

Path: TypeAlias = tuple[str, ...]
Read: TypeAlias = Callable[[], tuple[Settings, Robot]]

_LIMITS = "limits"
_LEVEL = ("log", "level")
_NOW: tuple[Path, ...] = (_LEVEL, ("policy", "rate_hz"))
_DISARMED: tuple[Path, ...] = (
    ("safety",), ("computer",), (_LIMITS,), ("guard", "required"), ("policy", "deadline_s"),
    ("policy", "hung_s"), ("policy", "max_chunk_age_s"),
)  # fmt: skip
_BUILT_IN: tuple[Path, ...] = (
    ("safety", "command_ttl_ms"), *((_LIMITS, key) for key in ("name", "type", "command", "axes",
                                                               "feedback", "acknowledged")),
)  # fmt: skip
_OF_A_SIGNAL = ("required", "max_age_s", "rate_hz", "frozen_s", "backups", "estimate_s")


@dataclass(frozen=True, slots=True)
class Reloaded:
    """What became of new settings; their keys, and after `limits.` those of the limits file."""

    applied: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()
    """Would hold if the robot were disarmed, and nothing latched."""
    restart: tuple[str, ...] = ()
    """Hold after a restart."""
    problems: tuple[str, ...] = ()
    """Mistakes: nothing was changed."""

    def __str__(self) -> str:
        if self.problems:
            return "settings refused, the old ones hold: " + "; ".join(self.problems)
        parts = (
            ("applied", self.applied),
            ("not until the robot is disarmed, with nothing latched, and they are read again", self.waiting),
            ("not until a restart", self.restart),
        )
        told = [f"{what}: {', '.join(keys)}" for what, keys in parts if keys]
        return "settings read again; " + ("; ".join(told) or "nothing changed")


class Reloader:
    """Reads the settings again when it is told to, one after the other."""

    def __init__(self, daemon: Daemon, read: Read) -> None:
        """`read` gives the settings as they are now, or a ConfigError with every mistake."""
        self.outcome = Reloaded()
        """Of the last time; empty before the first."""
        self._daemon = daemon
        self._read = read
        self._turn = asyncio.Lock()

    async def reload(self, who: str) -> Reloaded:
        """Apply what may be applied now. Mistakes in the files change nothing."""
        daemon = self._daemon
        async with self._turn:
            daemon.notifier.reloading(daemon.clock.now_ns())
            try:
                self.outcome = self._apply(*await asyncio.to_thread(self._read))
            except ConfigError as error:
                self.outcome = Reloaded(problems=tuple(error.problems))
            finally:
                wrong = "; new settings refused, the old ones hold" if self.outcome.problems else ""
                daemon.notifier.ready(f"{daemon.robot.name}: {daemon.kernel.mode.value}{wrong}")
        level = Level.WARNING if self.outcome.problems else Level.SAFE
        daemon.events.put("reload", level, f"{who}: {self.outcome}", who=who)
        return self.outcome

    def _apply(self, settings: Settings, robot: Robot) -> Reloaded:
        daemon = self._daemon
        now, disarmed, restart = sort(differing((daemon.settings, daemon.robot), (settings, robot)))
        if _LEVEL in now:
            set_level(settings.log.level)
        daemon.go_by(_mix(daemon.settings, settings, now))
        if disarmed and not daemon.kernel.replaceable:
            return Reloaded(_named(now), _named(disarmed), _named(restart))
        mixed = _mix(daemon.settings, settings, disarmed)
        limits = robot if any(path[0] == _LIMITS for path in disarmed) else daemon.robot
        if unfit(mixed, limits):  # it makes sense only together with what needs a restart
            return Reloaded(_named(now), (), _named((*disarmed, *restart)))
        if disarmed:
            daemon.go_by(mixed, limits)
        return Reloaded(_named((*now, *disarmed)), (), _named(restart))


def _named(paths: tuple[Path, ...]) -> tuple[str, ...]:
    return tuple(".".join(path) for path in paths)


def differing(old: tuple[Settings, Robot], new: tuple[Settings, Robot]) -> tuple[Path, ...]:
    """Each key whose value is another one."""
    before, after = old[1].model_dump(), new[1].model_dump()
    renamed = [(_LIMITS, "axes")] if list(before["axes"]) != list(after["axes"]) else []
    return (
        *_differing(old[0].model_dump(), new[0].model_dump(), ()),
        *_differing(before, after, (_LIMITS,)),
        *renamed,
    )


def sort(paths: tuple[Path, ...]) -> tuple[tuple[Path, ...], tuple[Path, ...], tuple[Path, ...]]:
    """Those that may hold now, those that may once the robot is disarmed, and those that need a restart.

    The limits file is taken as a whole or not at all.
    """
    now = tuple(path for path in paths if path in _NOW)
    disarmed = tuple(path for path in paths if path not in now and _only_for_the_kernel(path))
    if any(path == ("robot", "limits") or (path in _BUILT_IN and path[0] == _LIMITS) for path in paths):
        disarmed = tuple(path for path in disarmed if path[0] != _LIMITS)
    return now, disarmed, tuple(path for path in paths if path not in now and path not in disarmed)


def _only_for_the_kernel(path: Path) -> bool:
    if path[0] == "signals":
        return len(path) == 3 and path[2] in _OF_A_SIGNAL
    return path not in _BUILT_IN and any(path[: len(known)] == known for known in _DISARMED)


def _differing(old: dict[str, Any], new: dict[str, Any], above: Path) -> Iterator[Path]:
    for key in dict.fromkeys((*old, *new)):
        before, after = old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            yield from _differing(before, after, (*above, key))
        elif before != after:
            yield (*above, key)


def _mix(old: Settings, new: Settings, paths: tuple[Path, ...]) -> Settings:
    """`old` with the values that `new` has at `paths`; those of the limits file are not in it."""
    mixed: Settings = old
    for path in paths:
        if path[0] != _LIMITS:
            mixed = _put(mixed, new, path)
    return mixed


def _put(old: Any, new: Any, path: Path) -> Any:
    if not path:
        return new
    key, rest = path[0], path[1:]
    if isinstance(old, dict):
        return {**old, key: _put(old[key], new[key], rest)}
    return old.model_copy(update={key: _put(getattr(old, key), getattr(new, key), rest)})
