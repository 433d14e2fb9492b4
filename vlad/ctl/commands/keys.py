"""vladctl keys: CURVE keys (curvezmq.org), for drivers on other machines that connect over TCP."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import zmq.auth
from rich.text import Text

from vlad.ctl.client import ControlError
from vlad.ctl.output import Output, clean


def run(arguments: argparse.Namespace, out: Output) -> int:
    """Make what is missing; a key that is there is never replaced."""
    folder: Path = arguments.folder
    for name in arguments.drivers:
        if not name.replace("_", "").replace("-", "").isalnum() or name == "server":
            hint = "letters, digits, - and _; not server"
            raise ControlError("bad_name", f"{name!r} cannot name a driver's key", hint)
    try:
        made = _make(folder, arguments.drivers)
    except OSError as error:
        hint = "choose a folder that you may write"
        raise ControlError("not_written", f"{error.filename or folder}: {error.strerror}", hint) from None
    answer = {"server_secret": folder / "server.key_secret", "clients": folder / "clients", "made": made}
    if out.json:
        out.data({key: list(map(str, v)) if isinstance(v, list) else str(v) for key, v in answer.items()})
        return 0
    for path in made:
        out.line(Text(f"made {clean(path)}"))
    out.line(Text(clean(f'curve_server_secret = "{answer["server_secret"]}"')))
    out.line(Text(clean(f'curve_clients = "{answer["clients"]}"')))
    out.line(Text("A driver needs its own .key_secret from drivers/, and server.key.", style="dim"))
    return 0


def _make(folder: Path, drivers: list[str]) -> list[Path]:
    """FOLDER/server.key{,_secret}, FOLDER/drivers/NAME.key_secret and FOLDER/clients/NAME.key."""
    before = os.umask(0o077)
    try:
        for path in (folder, folder / "clients", folder / "drivers"):
            path.mkdir(parents=True, exist_ok=True)
        made = _pair(folder, folder, "server")
        for name in drivers:
            made += _pair(folder / "drivers", folder / "clients", name)
    finally:
        os.umask(before)
    return made


def _pair(secrets: Path, publics: Path, name: str) -> list[Path]:
    secret, public = secrets / f"{name}.key_secret", publics / f"{name}.key"
    if secret.exists():
        return []
    made_public, _ = zmq.auth.create_certificates(secrets, name)
    os.replace(made_public, public)
    return [secret, public]
