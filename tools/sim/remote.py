"""The simulator's control socket: the truth about the robot, and the hands that press its buttons.

DIR/sim.sock, ZeroMQ REQ to REP, one JSON object each way. Requests: {"do": "state"};
{"do": "reset", "seed": 7}; {"do": "press"} and {"do": "release"} the e-stop button;
{"do": "mute", "signal": "camera"} and "unmute".
The answer is always the whole state, or {"error": TEXT}.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import zmq

from tools.sim.world import Pose


class SimulatorError(Exception):
    """The simulator refused a request, or does not answer."""


@dataclass(frozen=True, slots=True)
class State:
    """The truth. `twist` is m/s and rad/s by the wheels; `collided`: touched something since the last reset.

    `collisions` counts touches since the start. `mode` and `reason` are what the motors obey now: the mode of
    the command, and why the receiver made that stop itself (empty: it did not). `targets` are the names of
    the things one can be sent to; where they are, `tools.sim.world.make_world(seed)` tells.
    """

    seed: int
    time_s: float
    pose: Pose
    twist: tuple[float, float]
    collided: bool
    collisions: int
    estop: bool
    muted: tuple[str, ...]
    mode: str
    reason: str
    targets: tuple[str, ...]


def endpoint_of(run_dir: Path) -> str:
    return f"ipc://{run_dir}/sim.sock"


class Simulator:
    """A client: each method returns the state after it. SimulatorError if there is no answer in time."""

    def __init__(self, run_dir: Path, timeout_s: float = 5.0) -> None:
        self._endpoint = endpoint_of(run_dir)
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
        self._socket = context.socket(zmq.REQ)
        self._socket.linger = 0
        self._socket.rcvtimeo = round(timeout_s * 1000)
        # After a time-out the next request must not be stuck behind the lost answer.
        self._socket.req_relaxed = True
        self._socket.req_correlate = True
        self._socket.connect(self._endpoint)

    def state(self) -> State:
        return self._ask(do="state")

    def reset(self, seed: int) -> State:
        """A rover at rest at the start of another world."""
        return self._ask(do="reset", seed=seed)

    def press(self) -> State:
        return self._ask(do="press")

    def release(self) -> State:
        return self._ask(do="release")

    def mute(self, signal: str) -> State:
        """The driver of `signal` publishes nothing any more, as if its sensor were dead."""
        return self._ask(do="mute", signal=signal)

    def unmute(self, signal: str) -> State:
        return self._ask(do="unmute", signal=signal)

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, **request: Any) -> State:
        self._socket.send(json.dumps(request).encode())
        try:
            answer = json.loads(self._socket.recv())
        except zmq.Again:
            raise SimulatorError(
                f"no answer from {self._endpoint}; is `python -m tools.sim` running?"
            ) from None
        if "error" in answer:
            raise SimulatorError(answer["error"])
        lists = {key: tuple(answer[key]) for key in ("pose", "twist", "muted", "targets")}
        return State(**{**answer, **lists})


def answer_with(state: State) -> bytes:
    return json.dumps(asdict(state)).encode()
