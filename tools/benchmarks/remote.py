"""Kill and freeze the policy server of a moving robot: how long until the fault, and until it goes on again.

Real processes: the server, the daemon, a camera. A subscriber to the daemon's heartbeats and commands in this
process notes when each came. The server dies at any moment between two frames; a killed one is started anew,
a frozen one goes on, and from then on it is measured until the policy counts as well again, and until the
robot moves. Beside that: what one question costs, against a client that only sends the same bytes and takes
the answer as it is.
"""

from __future__ import annotations

import argparse
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import zmq

from tools.benchmarks.questions import cost
from tools.benchmarks.report import Report, Target, at_least, at_most, machine, percentiles
from tools.benchmarks.rig import rig, write_remote_policy
from tools.policy_servers.process import ServerProcess
from vlad.messages import Command, CommandMode, Heartbeat
from vlad.server_settings import ServerSettings
from vlad.wire import decode_command, decode_heartbeat

KINDS = ("openpi", "groot", "kserve-http", "kserve-grpc")
_FAULT_MS, _BACK_MS, _COST_MS = 150.0, 2_000.0, 0.5
_CAMERA = "camera:image:30:640x480"
_SIZE = (480, 640)
_NS_PER_MS = 1e6
_PATIENCE_S = 20.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--trials", type=int, default=50, help="for each protocol (default: %(default)s)")
    parser.add_argument("--questions", type=int, default=1000, help="each way (default: %(default)s)")


def run(arguments: argparse.Namespace) -> Report:
    results: dict[str, Any] = {}
    targets: list[Target] = []
    for kind in KINDS:
        trials = _trials(kind, arguments.trials)
        results[kind] = _row(trials) | {"question": cost(kind, arguments.questions, _SIZE)}
        targets += [
            at_least(f"{kind}: fault within {_FAULT_MS:g} ms, of {len(trials)} trials",
                     results[kind]["in_time"], len(trials)),
            at_most(f"{kind}: server back to policy well, max [ms]", results[kind]["well"]["max_ms"],
                    _BACK_MS),
            at_most(f"{kind}: server back to moving, max [ms]", results[kind]["moving"]["max_ms"],
                    _BACK_MS),
            at_most(f"{kind}: one question more than its bare bytes, p50 [ms]",
                    results[kind]["question"]["more_p50_ms"], _COST_MS),
        ]  # fmt: skip
    timeout_s = ServerSettings(address="ws://host:1").timeout_s
    return Report("remote", {**machine(), "timeout_s": timeout_s, "camera": _CAMERA}, results, targets)


# the server dies ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of one end of the server [ms]: from it to the fault and to the first command that is no run;
    from the server being back to the policy being well, and to the next run.
    """

    by: str
    fault_ms: float
    stop_ms: float
    well_ms: float
    moving_ms: float


def _row(trials: list[Trial]) -> dict[str, Any]:
    faults = {
        by: percentiles([trial.fault_ms for trial in trials if trial.by == by], "ms")
        for by in sorted({trial.by for trial in trials})
    }
    return {
        "trials": len(trials),
        "in_time": sum(trial.fault_ms <= _FAULT_MS for trial in trials),
        "fault": faults,
        "stop": percentiles([trial.stop_ms for trial in trials], "ms"),
        "well": percentiles([trial.well_ms for trial in trials], "ms"),
        "moving": percentiles([trial.moving_ms for trial in trials], "ms"),
    }


class Listener:
    """Hears what the daemon publishes, and when it came."""

    def __init__(self, endpoint: str) -> None:
        self._socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.SUB)
        self._socket.subscribe(b"command")
        self._socket.subscribe(b"safety")
        self._socket.connect(endpoint)

    def until(self, *found: Callable[[Command | Heartbeat], bool]) -> list[int]:
        """When the first message of each of these kinds came, CLOCK_MONOTONIC [ns]."""
        at_ns = [0] * len(found)
        end_s = time.monotonic() + _PATIENCE_S
        while not all(at_ns):
            if time.monotonic() > end_s:
                raise SystemExit("the daemon does not do what the benchmark waits for")
            if not self._socket.poll(1000):
                continue
            frames = self._socket.recv_multipart()
            now_ns = time.monotonic_ns()
            said = decode_command(frames) if frames[0] == b"command" else decode_heartbeat(frames)
            at_ns = [at or (now_ns if is_it(said) else 0) for at, is_it in zip(at_ns, found, strict=True)]
        return at_ns

    def drain(self) -> None:
        """Forget what waits to be read."""
        while self._socket.poll(0):
            self._socket.recv_multipart()

    def close(self) -> None:
        self._socket.close()


def _lost(said: Command | Heartbeat) -> bool:
    return isinstance(said, Heartbeat) and "policy_lost" in said.faults


def _well(said: Command | Heartbeat) -> bool:
    return isinstance(said, Heartbeat) and "policy_lost" not in said.faults


def _runs(said: Command | Heartbeat) -> bool:
    return isinstance(said, Command) and said.mode is CommandMode.RUN


def _rests(said: Command | Heartbeat) -> bool:
    return isinstance(said, Command) and said.mode is not CommandMode.RUN


def _trials(kind: str, count: int) -> list[Trial]:
    with rig({"camera": {"type": "image", "max_age_s": 0.5}}) as bench, ServerProcess(kind) as server:
        bench.policy |= {
            "bundle": str(
                write_remote_policy(bench.folder / "models" / "bench", server.backend, "camera", _SIZE)
            ),
            "server": {"address": server.address},
        }
        server.start()
        bench.start_daemon("vlad", "--config", bench.write_settings())
        bench.feed([_CAMERA])
        listener = Listener(bench.commands)
        bench.arm()
        trials = [_trial(("SIGKILL", "SIGSTOP")[number % 2], server, listener) for number in range(count)]
        listener.close()
    return trials


def _trial(by: str, server: ServerProcess, listener: Listener) -> Trial:
    """End the server of a robot that moves, and let it come back."""
    listener.drain()
    listener.until(_runs)
    time.sleep(random.uniform(0.5, 0.6))
    listener.drain()
    ended_ns = time.monotonic_ns()
    server.send(signal.Signals[by])
    fault_ns, stop_ns = listener.until(_lost, _rests)
    if by == "SIGKILL":
        server.start()
    else:
        server.send(signal.SIGCONT)
    listener.drain()
    back_ns = time.monotonic_ns()
    well_ns, moving_ns = listener.until(_well, _runs)
    times_ns = (fault_ns - ended_ns, stop_ns - ended_ns, well_ns - back_ns, moving_ns - back_ns)
    return Trial(by, *(value / _NS_PER_MS for value in times_ns))
