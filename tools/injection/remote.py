"""How a running proxy is told what shall go wrong, and when that is refused.

DIR/inject.sock, ZeroMQ REQ to REP, one JSON object each way. Requests: {"do": "set", "topic": "camera",
"kind": "stuck", "for_s": 2.0} (without for_s: until cleared); {"do": "clear"}: everything is ok again;
{"do": "list"}. The answer is always {"run_dir", "now_ns", "topics": {TOPIC: {"kind", "came", "sent"}}}, or
{"error": TEXT}.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import zmq

from tools.injection.kinds import Kind
from vlad.ctl.client import SOCKET_NAME, Client, ControlError
from vlad.safety.ladder import ARMED

_TIMEOUT_S = 2.0


class InjectionError(Exception):
    """What was asked for is refused or impossible; the text says why, and what to do."""


def endpoint_of(listen: Path) -> str:
    return f"ipc://{listen}/inject.sock"


def check_allowed(run_dir: Path) -> None:
    """InjectionError while the daemon of `run_dir` has a real robot armed, or does not say what it has."""
    if not (run_dir / SOCKET_NAME).exists():
        return
    try:
        with Client(run_dir, _TIMEOUT_S) as client:
            status = client.call("status")
    except ControlError as error:
        raise InjectionError(
            f"refused: whether the robot is armed cannot be known: {error.message}. "
            f"End that daemon in order, or delete {run_dir / SOCKET_NAME} if there is none"
        ) from None
    robot, mode = status["robot"], status["mode"]
    if robot.get("simulated") is not True and mode in ARMED:
        raise InjectionError(
            f"refused: {robot['name']} is armed ({mode}) and is no simulated robot. "
            "Disarm it first: vladctl disarm"
        )


class Injector:
    """A client of the proxy in DIR. Each method returns its answer; InjectionError where there is none."""

    def __init__(self, listen: Path) -> None:
        self._listen = listen
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
        self._socket = context.socket(zmq.REQ)
        self._socket.linger = 0
        self._socket.rcvtimeo = round(_TIMEOUT_S * 1000)
        # After a time-out the next request must not be stuck behind the lost answer.
        self._socket.req_relaxed = self._socket.req_correlate = True
        self._socket.connect(endpoint_of(listen))

    def set(self, topic: str, kind: Kind, for_s: float | None = None) -> dict[str, Any]:
        """Let `topic` go wrong, for so long or until cleared, if that is allowed now."""
        check_allowed(Path(self.list()["run_dir"]))
        return self._ask(do="set", topic=topic, kind=kind.value, for_s=for_s)

    def clear(self) -> dict[str, Any]:
        """Nothing goes wrong any more. Never refused."""
        return self._ask(do="clear")

    def list(self) -> dict[str, Any]:
        return self._ask(do="list")

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, **request: Any) -> dict[str, Any]:
        self._socket.send(json.dumps(request).encode())
        try:
            answer: dict[str, Any] = json.loads(self._socket.recv())
        except zmq.Again:
            raise InjectionError(
                f"no answer from {endpoint_of(self._listen)}; is `tools/inject proxy` running there?"
            ) from None
        if "error" in answer:
            raise InjectionError(answer["error"])
        return answer
