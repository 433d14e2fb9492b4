"""Settings, the robot's limits, and the policy bundle."""

from __future__ import annotations

import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from vlad.config import ConfigError, Settings, load_settings
from vlad.ctl.doctor.finding import Finding
from vlad.policy.backends import REMOTE, BackendError
from vlad.policy.backends.remote import read_token
from vlad.policy.backends.tls import tls_of
from vlad.policy.bundle import BundleRefused, load_bundle
from vlad.policy.prefix import without_effect
from vlad.robot import Robot
from vlad.server_settings import ServerSettings

_CONNECT_S = 2.0


def read_settings(path: Path) -> tuple[Settings, Robot] | list[Finding]:
    """The settings, or all that is wrong with them."""
    try:
        return load_settings(path)
    except ConfigError as error:
        mend = "vladctl check-config lists these alone; etc/vlad.toml explains every key"
        return [Finding("problem", "settings", problem, mend) for problem in error.problems]


def check_settings(path: Path, settings: Settings, robot: Robot) -> Iterator[Finding]:
    yield Finding("ok", "settings", f"{path}: {len(settings.signals)} signals, robot {robot.name}")
    secret = settings.wire.curve_server_secret
    for file in filter(None, (path, settings.robot.limits, *sorted(Path(f"{path}.d").glob("*.toml")))):
        yield from _mode(file, stat.S_IWOTH, "everybody may change it", "chmod o-w")
    if secret is not None:
        if not secret.exists():
            yield Finding("problem", "keys", f"{secret}: is missing", f"vladctl keys {secret.parent}")
        else:
            yield from _mode(
                secret, stat.S_IROTH | stat.S_IRGRP, "others may read the secret key", "chmod 600"
            )


def check_bundle(settings: Settings, robot: Robot) -> Iterator[Finding]:
    folder = settings.policy.bundle
    if folder is None:
        yield Finding("warning", "policy", "none is set: the robot only holds", "set policy.bundle")
        return
    try:
        bundle = load_bundle(folder, robot, settings.signals)
    except BundleRefused as refused:
        for reason in refused.reasons:
            yield Finding("problem", "policy", reason, "use a bundle made for this robot, or mend this one")
    else:
        yield Finding("ok", "policy", f"{bundle}: hashes, robot and signals match")
        if reason := without_effect(settings.policy.follow, bundle):
            what, mend = reason.split("; ", 1)
            yield Finding("warning", "policy", what, mend)
        if bundle.manifest.backend in REMOTE:
            yield from check_server(settings.policy.server)


def check_server(server: ServerSettings | None) -> Iterator[Finding]:
    """Can the server of a policy be connected to?"""
    if server is None:
        mend = 'write [policy.server] with address = "SCHEME://HOST:PORT"'
        yield Finding("problem", "policy", "the bundle's model is on a server, which is not set", mend)
        return
    for file, what in ((server.token_file, "the server's key"), (server.key_file, "the robot's key")):
        if file is not None:
            yield from _mode(file, stat.S_IROTH, f"everybody may read {what}", "chmod o-r")
    for read in (read_token, tls_of):
        try:
            read(server)
        except BackendError as error:
            yield Finding("problem", "policy", *str(error).split("; ", 1))
    parts = urlsplit(server.address)
    try:
        socket.create_connection((parts.hostname, parts.port), _CONNECT_S).close()
    except OSError as error:
        why = error.strerror or str(error)
        yield Finding("warning", "policy", f"{server.address}: {why}", "start the policy server there")
    else:
        yield Finding("ok", "policy", f"{server.address}: can be connected to")


def _mode(path: Path, bits: int, what: str, mend: str) -> Iterator[Finding]:
    if path.exists() and path.stat().st_mode & bits:
        yield Finding("problem", "permissions", f"{path}: {what}", f"{mend} {path}")
