"""vladctl estop: through the daemon; where it does not answer at once, through the guard."""

from __future__ import annotations

import argparse
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from rich.text import Text

from vlad.ctl.client import DEFAULT_RUN_DIR, Client, ControlError
from vlad.ctl.guard import press_guard
from vlad.ctl.output import Output, clean

_PATIENCE_S = 0.1
_UNHEARD = ("not_running", "no_answer", "may_not_connect")
"""Errors that mean that the daemon did not hear it; another is its answer."""


def run(arguments: argparse.Namespace, out: Output) -> int:
    run_dir = arguments.run_dir or DEFAULT_RUN_DIR
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(_ask_daemon, run_dir, " ".join(arguments.reason) or "vladctl")
        answered = bool(wait([asked], _PATIENCE_S).done) and not _unheard(asked.exception())
        guarded = not answered and press_guard(run_dir)
        error = asked.exception()
    if isinstance(error, ControlError) and not guarded:
        error.hint = f"THE ROBOT WAS NOT STOPPED BY THIS COMMAND: press the button on it. {error.hint}"
    if error is not None and not (guarded and _unheard(error)):
        raise error
    confirmed = [who for who, did in (("vlad", error is None), ("guard", guarded)) if did]
    trouble = "" if error is None else str(error)
    if out.json:
        out.data({"ok": True, "confirmed_by": confirmed, "trouble": trouble})
    else:
        out.show(_told(confirmed, trouble))
    return 0


def _ask_daemon(run_dir: Path, reason: str) -> Any:
    with Client(run_dir) as client:
        return client.call("estop", reason=reason)


def _unheard(error: BaseException | None) -> bool:
    return isinstance(error, ControlError) and error.code in _UNHEARD


def _told(confirmed: list[str], trouble: str) -> Text:
    text = Text(f"e-stop: latched until vladctl reset; confirmed by {' and '.join(confirmed)}", "bold red")
    if trouble:
        text.append(f"\nvlad did not confirm it: {clean(trouble)}", style="not bold")
    return text
