"""The daemon's part that runs the web page's process."""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from typing import Any

from vlad.beside import Process
from vlad.config import Settings

_NEEDED = ("starlette", "uvicorn", "websockets")
_NICE = 5
"""It carries an e-stop, so it may not wait behind what has time."""
MISSING = "what it needs is not installed: pip install 'vlad[page]', or set page.listen = \"\""


class Page:
    """`on`: the settings name an address, and what the page needs is installed."""

    def __init__(self, settings: Settings) -> None:
        known = settings.page
        missing = bool(known.listen) and not all(find_spec(name) for name in _NEEDED)
        self.on = bool(known.listen) and not missing
        self._told: dict[str, Any] = {"address": "", "browsers": 0, "problem": MISSING if missing else ""}
        run_dir = settings.paths.run_dir.absolute()
        words = [sys.executable, "-m", "vlad.dashboard", "--run-dir", str(run_dir), "--listen", known.listen]
        if known.token_file is not None:
            words += ["--token-file", str(known.token_file)]
        self._process = Process(words, nice=_NICE)

    async def run(self) -> None:
        """For as long as its process does."""
        try:
            status = await self._process.run(self._on_line)
        finally:
            self._told |= {"address": "", "browsers": 0}
        raise ChildProcessError(f"the page's process ended with status {status}; its reason is in the log")

    def report(self) -> dict[str, Any]:
        """`address` is empty while nothing is served, `browsers` are those that look."""
        return {"on": self.on, **self._told}

    def _on_line(self, line: bytes) -> None:
        self._told |= json.loads(line)
