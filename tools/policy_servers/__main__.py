"""`python -m tools.policy_servers KIND PORT [--token T] [--fault F] [--slow-s S] [--certificate C --key K]`

One of the servers with SamePolicy, in a process of its own. The first answer takes --slow-s. SIGUSR1 begins
the fault that --fault names, and ends it again: `nan`, `shape` (a step is missing), `error`. "listening" on
the standard output says that it can be connected to.
"""

from __future__ import annotations

import argparse
import signal
from pathlib import Path

from tools.policy_servers.groot import GrootServer
from tools.policy_servers.identity import Identity
from tools.policy_servers.kserve import Served
from tools.policy_servers.kserve_grpc import GrpcServer
from tools.policy_servers.kserve_http import HttpServer
from tools.policy_servers.openpi import OpenpiServer
from tools.policy_servers.same import FAULTS, HORIZON, SamePolicy

KINDS = ("openpi", "groot", "groot-n1.5", "kserve-http", "kserve-grpc")


def start(kind: str, policy: SamePolicy, port: int, token: str = "", tls: Identity | None = None) -> object:
    """A server of this kind that asks the policy."""
    match kind:
        case "openpi":
            return OpenpiServer(lambda seen: {"actions": policy(seen["observation/image"])}, port, token, tls)
        case "groot":
            return GrootServer(lambda seen: {"base": policy(seen["video"]["front"][0, 0])[None]}, port, token)
        case "groot-n1.5":
            return GrootServer(
                lambda seen: {"action.base": policy(seen["video.front"][0, 0])[None]}, port, token, "n1.5"
            )
    served = Served(
        lambda seen: {"actions": policy(seen["camera"][0])[None]},
        {"camera": ("UINT8", [-1, -1, -1, 3])},
        {"actions": ("FP32", [-1, HORIZON, 2])},
        name="bench",
        token=token,
    )
    return (HttpServer if kind == "kserve-http" else GrpcServer)(served, port, tls)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("port", type=int)
    parser.add_argument("--token", default="")
    parser.add_argument("--fault", default="", choices=FAULTS)
    parser.add_argument("--slow-s", type=float, default=0.0)
    parser.add_argument("--certificate", type=Path)
    parser.add_argument("--key", type=Path)
    arguments = parser.parse_args()
    policy = SamePolicy(arguments.fault, arguments.slow_s)

    def turn(*_: object) -> None:
        policy.misbehaves = not policy.misbehaves

    signal.signal(signal.SIGUSR1, turn)
    tls = Identity(arguments.certificate, arguments.key) if arguments.certificate else None
    server = start(arguments.kind, policy, arguments.port, arguments.token, tls)
    print("listening", flush=True)
    while server:
        signal.pause()


if __name__ == "__main__":
    main()
