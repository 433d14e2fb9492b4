"""What a browser may do to the robot, and what for."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from vlad.ctl.client import ControlError
from vlad.dashboard.gate import is_local, same
from vlad.dashboard.link import Line

_ESTOP_TIMEOUT_S, _ACT_TIMEOUT_S = 1.0, 5.0
_WRONG_TOKEN_S = 1.0
_LONGEST_REASON = 200

Answer = dict[str, Any]


class Desk:
    """Takes acts to the daemon: "estop" and "reset". The daemon has them in its event log."""

    def __init__(self, run_dir: Path, token: str) -> None:
        """`token` is what acts need; empty: only the e-stop can be pressed, from this computer."""
        self.token = token
        self._estop = Line(run_dir, _ESTOP_TIMEOUT_S)
        self._acts = Line(run_dir, _ACT_TIMEOUT_S)

    async def be_ready(self) -> None:
        """Have the e-stop's connection open, so that a press is one message; ControlError."""
        await self._estop.open()

    async def act(self, name: str, address: str, token: str, reason: str = "") -> Answer:
        """{"ok": true} and what the daemon answers, or {"ok": false, "error": {code, message, hint}}.

        `address` is the browser's, as its connection says. Whoever gives a wrong token waits for the answer.
        """
        estop = name == "estop"
        if not same(self.token, token) and not (estop and is_local(address)):
            await asyncio.sleep(_WRONG_TOKEN_S if token else 0)
            return self._not_permitted(name, token)
        who = f"page {address}"
        try:
            if estop:
                return dict(await self._estop.call("estop", reason=reason[:_LONGEST_REASON], on_behalf=who))
            if name == "reset":
                return dict(await self._acts.call("reset", on_behalf=who))
        except ControlError as error:
            return _refused(error.code, error.message, error.hint)
        return _refused("unknown_act", f"there is no act {name!r}", "use estop or reset")

    def _not_permitted(self, name: str, token: str) -> Answer:
        if not self.token:
            hint = "name a file with one as page.token_file in the settings; or use vladctl on the robot"
            return _refused("not_permitted", f"{name} needs a token, and this robot has none", hint)
        if token:
            return _refused("not_permitted", "that is not the token", "it is in the file page.token_file")
        return _refused("not_permitted", f"{name} needs the token", "it is in the file page.token_file")


def _refused(code: str, message: str, hint: str) -> Answer:
    return {"ok": False, "error": {"code": code, "message": message, "hint": hint}}
