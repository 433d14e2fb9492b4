"""The recorder's second half: brings what is wanted from the ring to the disk. It alone touches files."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import threading
from collections.abc import Callable
from pathlib import Path

from vlad.clock import NS_PER_S, Clock
from vlad.files import sync_folder
from vlad.messages import Level
from vlad.record.mcapfile import McapFile, Topic
from vlad.record.repair import repair
from vlad.record.ring import Ring
from vlad.record.shelf import Shelf
from vlad.record.trigger import Cause, Trigger, Wanted

log = logging.getLogger(__name__)

_PERIOD_S = 0.05
_SYNC_NS = NS_PER_S
_CHECK_NS = 5 * NS_PER_S
_RETRY_NS = 10 * NS_PER_S
_LINGER_NS = NS_PER_S // 2
"""The last chunk of what is wanted is in the ring so long after it ended."""
_MOST_BYTES = 256 * 1024 * 1024
_LONGEST_NS = 600 * NS_PER_S
"""A recording that goes on beyond either continues in a new file."""

Tell = Callable[[Level, str, str], None]
"""Level, text and file of what the event log should know; safe from any thread."""


class Writer:
    """`run` goes on until `stopping`. A disk that is full or read-only is told of once and tried again."""

    def __init__(
        self,
        ring: Ring,
        trigger: Trigger,
        shelf: Shelf,
        topics: list[Topic],
        about: dict[str, str],
        offset_ns: Callable[[], int],
        clock: Clock,
        tell: Tell,
    ) -> None:
        self.problem = ""
        """Why nothing reaches the disk; empty: it does, or nothing was wanted yet."""
        self.path: Path | None = None
        """The file that is being written."""
        self.finished = 0
        self._ring = ring
        self._trigger = trigger
        self._shelf = shelf
        self._topics = topics
        self._about = about
        self._offset_ns = offset_ns
        self._clock = clock
        self._tell = tell
        self._file: McapFile | None = None
        self._causes: dict[Cause, None] = {}
        self._seen: tuple[Cause, ...] = ()
        self._continues, self._untidy = False, True
        self._file_offset_ns = 0
        self._began_ns = self._since_ns = self._synced_ns = self._checked_ns = self._retry_ns = 0

    def run(self, stopping: threading.Event) -> None:
        """Write what is wanted; at the end, when the ring has all that it ever will, finish the file."""
        while not stopping.wait(_PERIOD_S):
            self._try(self.turn)
        self._try(self.turn)
        self._try(self._finish)

    def turn(self) -> None:
        """Begin, continue or end a file. OSError where the disk does not take it."""
        now_ns, wanted = self._clock.now_ns(), self._trigger.wanted
        if now_ns < self._retry_ns:
            return
        if self._untidy or self.problem:
            self._tidy()
        over = wanted is None or now_ns > wanted.until_ns + _LINGER_NS
        if wanted is None or (over and self._file is None):
            return
        if self._file is None:
            self._begin(wanted, now_ns)
        if self._file is not None:
            self._write(self._file, wanted, now_ns)
            if over or self._is_done(self._file, now_ns):
                self._finish()
                self._continues = not over
        if over:
            self._ring.end()

    def _is_done(self, file: McapFile, now_ns: int) -> bool:
        """Whether a new file shall go on, for this one is long, or the wall clock was set."""
        long = file.size > _MOST_BYTES or now_ns - self._began_ns > _LONGEST_NS
        return long or self._file_offset_ns != self._offset_ns()

    def _begin(self, wanted: Wanted, now_ns: int) -> None:
        self._shelf.make_room()
        self._file_offset_ns = offset_ns = self._offset_ns()
        self.path = self._shelf.new(self._clock.wall_ns())
        file = self.path.open("xb", buffering=0)
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._file = McapFile(file)
        cause = wanted.causes[-1]
        about = {
            **self._about,
            "cause": f"{cause.kind} {cause.detail}".rstrip(),
            "monotonic_to_log_ns": str(offset_ns),
        }
        self._file.begin(self._topics, about)
        if not self._continues:
            self._ring.begin(wanted.from_ns + offset_ns)
        self._since_ns = now_ns if self._continues else 0
        self._began_ns = self._checked_ns = now_ns
        self._seen = ()

    def _write(self, file: McapFile, wanted: Wanted, now_ns: int) -> None:
        """All that came since; durable at once where there is a new cause, and every second."""
        for chunk in self._ring.read():
            file.add(chunk)
        if wanted.causes is not self._seen or now_ns - self._synced_ns >= _SYNC_NS:
            file.sync()
            self._causes |= {cause: None for cause in wanted.causes if cause.at_ns >= self._since_ns}
            self._seen, self._synced_ns = wanted.causes, now_ns
        if now_ns - self._checked_ns >= _CHECK_NS:
            self._checked_ns = now_ns
            self._shelf.make_room()

    def _finish(self) -> None:
        """Write the index, and give the file its name."""
        file, part = self._file, self.path
        if file is None or part is None:
            return
        causes = tuple(self._causes) or self._seen[:1]
        said = [f"{cause.kind} {cause.detail}".rstrip() for cause in causes]
        file.note("causes", {str(number): cause for number, cause in enumerate(said)})
        file.finish()
        final = self._shelf.final(part, causes)
        part.rename(final)
        self._leave()
        sync_folder(final.parent)
        self.finished += 1
        if said != ["continuous"]:
            self._tell(Level.SAFE, f"recorded {final.name}: {'; '.join(said[:5])}", str(final))

    def _leave(self) -> None:
        """Have no file open any more."""
        file, self._file, self.path = self._file, None, None
        self._causes = {}
        if file is not None:
            file.file.close()

    def _tidy(self) -> None:
        """Mend what a crash or a full disk left unfinished, and see whether there is room."""
        folder = self._shelf.folder
        folder.mkdir(parents=True, exist_ok=True)
        self._untidy = False
        for recording in self._shelf.recordings():
            if not recording.whole and recording.path != self.path:
                self._mend(recording.path)
        self._shelf.make_room()
        if self.problem:
            self.problem = ""
            self._tell(Level.SAFE, f"{folder}: recordings can be stored again", str(folder))

    def _mend(self, part: Path) -> None:
        """Unless the recorder of a daemon that was killed is still at it: then look again."""
        try:
            with part.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._mend_own(part)
        except (BlockingIOError, FileNotFoundError):
            self._untidy = True

    def _mend_own(self, part: Path) -> None:
        messages = repair(part)
        if not messages:
            part.unlink()
            return
        mended = self._shelf.mended(part)
        part.rename(mended)
        sync_folder(mended.parent)
        self._tell(Level.SAFE, f"repaired {mended.name}: {messages:,} messages", str(mended))

    def _try(self, action: Callable[[], None]) -> None:
        try:
            action()
        except OSError as error:
            self._fail(error)

    def _fail(self, error: OSError) -> None:
        """Give the file up, finished if that still goes; try again after a while."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.cut()
                self._finish()
        self._leave()
        self._ring.end()
        self._continues, self._untidy = False, True
        self._retry_ns = self._clock.now_ns() + _RETRY_NS
        reason = error.strerror or str(error)
        if not self.problem:
            text = f"{self._shelf.folder}: nothing can be recorded: {reason}"
            log.error("%s; free space there, or make the folder writable", text)
            self._tell(Level.WARNING, text, str(self._shelf.folder))
        self.problem = f"{self._shelf.folder}: nothing can be recorded: {reason}"
