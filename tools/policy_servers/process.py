"""A policy server in a process of its own, to be killed and frozen."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from tools.policy_servers.identity import Identity

_ROOT = Path(__file__).resolve().parents[2]
_SCHEMES = {
    "openpi": ("ws", "wss"),
    "groot": ("tcp",),
    "groot-n1.5": ("tcp",),
    "kserve-http": ("http", "https"),
    "kserve-grpc": ("grpc", "grpcs"),
}


class ServerProcess:
    """The server of this kind, always on the same port; `backend` is what bundles for it name."""

    def __init__(self, kind: str, tls: Identity | None = None) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self.backend = kind.removesuffix("-http").removesuffix("-grpc")
        self.address = f"{_SCHEMES[kind][-1 if tls else 0]}://127.0.0.1:{self.port}"
        self._words = [sys.executable, "-m", "tools.policy_servers", kind, str(self.port)]
        if tls is not None:
            self._words += ["--certificate", str(tls.certificate), "--key", str(tls.key)]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str) -> None:
        """Start it, and wait until it listens."""
        self.kill()
        self._process = subprocess.Popen([*self._words, *options], stdout=subprocess.PIPE, cwd=_ROOT)
        if self._process.stdout is None or self._process.stdout.readline() != b"listening\n":
            raise SystemExit("the policy server does not start")

    def send(self, number: signal.Signals) -> None:
        """SIGSTOP has stopped all of its threads when this returns."""
        if self._process is None:
            return
        os.kill(self._process.pid, number)
        if number is signal.SIGSTOP:
            os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def __enter__(self) -> ServerProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
